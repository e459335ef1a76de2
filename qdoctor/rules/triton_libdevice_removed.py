"""Kernels call `triton.language.libdevice`, which the installed triton does not have.

## What it finds
A bitsandbytes whose SwitchBack kernels use `triton.language.libdevice`, beside a triton without it;
or any other installed package whose code does.

## Why it hurts
The kernels fail when they are first compiled, in the middle of a forward pass:
`module 'triton.language' has no attribute 'libdevice'`.

## How we know
The names that bitsandbytes' kernels use, and the names that each triton release has, are read from
the released files; what other packages use from their installed files. Code that looks first
(`try`, `hasattr`, a version test) is not accused.

## Fix
A newer triton never helps, and torch requires its own triton: use `Linear8bitLt`, or qdoctor's
SwitchBack, which runs on current triton. Only a torch release that requires an old enough triton
can run bitsandbytes' own.

## When to ignore
If nothing here uses SwitchBack layers: the rest of bitsandbytes does not need the name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import switchback_triton_names_resolve
from qdoctor.layers.bnb_binaries import PACKAGE as BNB
from qdoctor.model import Finding
from qdoctor.released import called, fact
from qdoctor.rules.case import rule, suspect
from qdoctor.rules.packages_asking import with_packages
from qdoctor.rules.packages_in_text import asker
from qdoctor.rules.remedies import by_hand
from qdoctor.rules.switchback import instead, older_torch, working
from qdoctor.rules.triton_name_in_text import change_code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Fix
    from qdoctor.rules.case import Case

NAME = "triton-libdevice-removed"
_OF_BNB = ("switchback-assertion", "switchback-named-assertion")
"""Texts that bitsandbytes' own layers print."""
_IMPORTED = "triton-libdevice-import"
_MISSED = "triton.language.libdevice"


def find(case: Case) -> Iterator[Finding]:
    """Report SwitchBack kernels whose triton names are gone."""
    suspicion = suspect(case, NAME, case.ask(switchback_triton_names_resolve))
    if suspicion is None:
        return
    triton, known = case.machine.triton.value, working(case)
    asks = "bitsandbytes' SwitchBack" if _of_bnb(case) else "some code"
    of_code = _of_code(case)
    offered = [*instead(case), *older_torch(case, known, verify=NAME)]
    yield Finding(
        rule=NAME,
        severity="note",
        title=f"{asks} needs a name that {called('triton', triton)} does not have",
        because=[*suspicion.because, *([known.because] if known else [])],
        fixes=[*offered, *of_code] if _of_bnb(case) else [*of_code, *offered],
        affects=["bnb-switchback"],
        undecided=suspicion.undecided,
    )


def _of_bnb(case: Case) -> bool:
    """Say whether bitsandbytes asks: not where its release is known to have no such layers.

    Its files say ``tl.libdevice``: what imports the name is other code.
    """
    if case.signals_of(NAME) and all(one.signature == _IMPORTED for one in case.signals_of(NAME)):
        return False
    if any(
        one.signature in _OF_BNB or asker(one, "triton") == BNB for one in case.signals_of(NAME)
    ):
        return True
    version = case.machine.bitsandbytes.value or ""
    return fact(case.matrix, BNB, version, "switchback").value is not False


def _of_code(case: Case) -> list[Fix]:
    """Say what the function is called now, where it is not known that bitsandbytes asks for it."""
    texts = case.signals_of(NAME)
    shown = any(asker(one, "triton") for one in texts)
    if not texts or shown or (case.machine.bitsandbytes.value and _of_bnb(case)):
        return []
    where = ": where code of your own asks for it, without bitsandbytes"
    return change_code(case, _MISSED, where=where, verify=NAME) or _by_function(case)


def _by_function(case: Case) -> list[Fix]:
    """Say where libdevice's functions are in a triton that has no module of that name."""
    version = case.machine.triton.value or ""
    paths = fact(case.matrix, "triton", version, "libdevice_paths").value or []
    scopes = [path.rpartition(".")[0] for path in paths[:1]]
    why = "in triton {} the functions of libdevice are in {}"
    return [by_hand("change-code", why.format(version, one), verify=NAME) for one in scopes]


def find_all(case: Case) -> Iterator[Finding]:
    """Report bitsandbytes, and every other package whose files ask for such names."""
    yield from with_packages(find(case), case, NAME)


RULE = rule(NAME, __doc__, find_all)
