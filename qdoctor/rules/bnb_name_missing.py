"""Code asks for a name that this bitsandbytes does not have.

## What it finds
A text that misses a name of bitsandbytes (`module 'bitsandbytes.nn' has no attribute
'Linear4bit'`) which other releases have, or none.

## Why it hurts
The package that asks cannot be imported, or its first call fails.

## How we know
The public names of every release are read from its wheel.

## Fix
Where the name came later: a bitsandbytes that has it. Where it is gone: a newer release of the
package that asks, which the traceback names, or an older bitsandbytes. Where bitsandbytes itself
asks for what it does not have, its files are of two releases: install it anew.

## When to ignore
If what asks for the name is not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import bnb_accepts_torch, bnb_fits_libc, bnb_fits_python, bnb_ships_here
from qdoctor.model import Because, Finding, Fix
from qdoctor.released import has, parsed
from qdoctor.rules.bnb_releases import BNB, serving
from qdoctor.rules.case import quoted, rule
from qdoctor.rules.packages_in_text import asker, blamed, newer
from qdoctor.rules.remedies import by_hand, pip
from qdoctor.rules.triton_name_in_text import name_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packaging.version import Version

    from qdoctor.rules.case import Case, Signal

NAME = "bnb-name-missing"
_INSTALLABLE = (bnb_accepts_torch, bnb_fits_libc, bnb_fits_python, bnb_ships_here)


def find(case: Case) -> Iterator[Finding]:
    """Report each name of bitsandbytes that a text misses, and that some known release lacks."""
    for signal in case.signals_of(NAME):
        name = name_in(signal)
        known = case.matrix.versions(BNB)
        having = [one for one in known if has(case.matrix, BNB, str(one), name or "") == "yes"]
        if name and len(having) < len(known):
            yield _finding(case, signal, name, having)


def _finding(case: Case, signal: Signal, name: str, having: list[Version]) -> Finding:
    version = case.machine.bitsandbytes.value or ""
    there = bool(version) and has(case.matrix, BNB, version, name) == "yes"
    title = f"bitsandbytes {version} does not have {name}".replace("  ", " ")
    return Finding(
        rule=NAME,
        severity="note",
        title=f"bitsandbytes {version} has {name}: another copy of it runs" if there else title,
        because=[quoted(signal), _history(case, name, having)],
        fixes=_restarted() if there else list(_fixes(case, signal, name, having)),
        undecided="which copy of bitsandbytes is imported" if there else None,
    )


def _history(case: Case, name: str, having: list[Version]) -> Because:
    known = case.matrix.versions(BNB)
    source = f"the names of bitsandbytes {known[0]} to {known[-1]}, read from the wheels"
    if not having:
        return Because(f"no release from {known[0]} on has {name}", source, "mined")
    until = f"to {having[-1]}" if having[-1] != known[-1] else "on"
    return Because(f"{name} is there from {having[0]} {until}", source, "mined")


def _fixes(case: Case, signal: Signal, name: str, having: list[Version]) -> Iterator[Fix]:
    own = parsed(case.machine.bitsandbytes.value)
    if asker(signal, "") == BNB:
        why = "its own code misses the name: its files are not all of one release"
        yield pip("reinstall", BNB, f"=={own.public}" if own else "", why, verify=NAME)
    elif _is_later(case, having, own):
        why = "it has the name"
        yield from serving(
            case,
            [],
            why,
            verify=NAME,
            guards=_INSTALLABLE,
            also=lambda one: has(case.matrix, BNB, one.bitsandbytes.value or "", name) == "yes",
        )
    else:
        yield from _for_removed(case, signal, name, having)


def _restarted() -> list[Fix]:
    why = "the process began before bitsandbytes was changed, or imports another copy of it"
    return [Fix(action="restart-kernel", why=why)]


def _is_later(case: Case, having: list[Version], own: Version | None) -> bool:
    """Say whether a newer release has the name; of an unknown one, whether the newest has."""
    if own is None:
        return bool(having) and having[-1] == case.matrix.versions(BNB)[-1]
    return any(one > own for one in having)


def _for_removed(case: Case, signal: Signal, name: str, having: list[Version]) -> Iterator[Fix]:
    asks = f"it asks for {name}"
    yield from newer(case, blamed(case, signal, BNB), asks, verify=NAME)
    yield by_hand("change-code", f"{name} is not in this bitsandbytes", verify=NAME)
    after = next((one for one in case.matrix.versions(BNB) if having and one > having[-1]), None)
    if after is not None:
        why = f"{name} is there until {having[-1]}"
        yield pip("downgrade", BNB, f"<{after}", why, verify=NAME, applicability="unsafe")


RULE = rule(NAME, __doc__, find)
