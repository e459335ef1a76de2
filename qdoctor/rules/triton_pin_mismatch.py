"""The installed triton is not the one that torch requires.

## What it finds
A triton outside of torch's own requirement, which names exactly one release.

## Why it hurts
torch's compiler calls triton's internals, which move with every release: `torch.compile` fails
with missing names (`triton_key`, `AttrsDescriptor`, `launch_enter_hook`). Eager code keeps working.

## How we know
The requirement is read from torch's METADATA, installed or released.

## Fix
Install the triton that this torch requires; downgrade where a newer one made torch fail. To get
another triton, change torch: each torch release requires its own. Where no version is known, the
name that torch misses says from which triton on it is gone, and which torch asks for it no more.

## When to ignore
If nothing here uses `torch.compile`, and another package needs just this triton.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from qdoctor.implied_text import possible, wordings
from qdoctor.layers import Answer, triton_matches_pin
from qdoctor.model import Finding, Fix
from qdoctor.released import called, has, parsed, release
from qdoctor.rules.case import rule, suspect
from qdoctor.rules.of_text import of_texts
from qdoctor.rules.packages_in_text import without_asking
from qdoctor.rules.remedies import by_hand, pip
from qdoctor.rules.torch_index import moved_torch
from qdoctor.rules.triton_name_in_text import named, pin_is_broken
from qdoctor.rules.triton_releases import (
    WINDOWS,
    distribution,
    has_before,
    history,
    of_windows,
    pinned,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Action
    from qdoctor.rules.case import Case

NAME = "triton-pin-mismatch"
_OF_TEXTS = of_texts(NAME, __doc__, severity="warning")
_ABSENT = "triton-not-installed"
_TRITON = "triton"
_DISTRIBUTIONS = ("triton", "pytorch-triton", "triton-windows")


def find(case: Case) -> Iterator[Finding]:
    """Report a triton that torch's own requirement excludes, and one that lies over another's."""
    told = list(_OF_TEXTS.find(case))
    if told:
        yield from told
        return
    dated = _by_its_wording(case)
    suspicion = suspect(case, NAME, dated or _matches(case))
    if suspicion is None:
        return
    torch = called("torch", case.machine.torch.value)
    triton = "this triton" if dated else called("triton", case.machine.triton.value)
    yield Finding(
        rule=NAME,
        severity="warning",
        title=f"{triton} is not the one {torch} is made for",
        because=suspicion.because,
        fixes=_fixes(case),
        affects=["torch.compile"],
        undecided=suspicion.undecided,
    )


def _by_its_wording(case: Case) -> Answer | None:
    """Ask a text that only some triton print whether torch is made for one of these."""
    texts = case.signals_of(NAME)
    if not texts or not all(NAME in one.confirmed and _TRITON in one.printed_by for one in texts):
        return None
    spec, wanted = texts[0].printed_by[_TRITON], pinned(_wanted(case)[0])
    if wanted is None or wanted in SpecifierSet(spec):
        return Answer("yes", "the text speaks of no other triton than torch's own")
    torch, because = case.machine.torch.value, case.machine.torch.because
    text = f"only triton{spec} prints this, and torch {torch} is made for triton {wanted}"
    return Answer("no", text, (because,) if because else (), NAME)


def _matches(case: Case) -> Answer:
    """Ask the layer; a triton that is only implied, or is not required, refutes no error text."""
    answer = case.ask(triton_matches_pin)
    if answer.value != "no" and (other := _of_windows(case)):
        return other
    stated = any(name in (case.machine.facts.packages or {}) for name in _DISTRIBUTIONS)
    if answer.value == "yes" and not (stated and case.machine.triton_pin.value):
        return Answer("unknown", "which triton is installed, and which torch needs, is not stated")
    return answer


def _of_windows(case: Case) -> Answer | None:
    """Hold to the pin of the same torch elsewhere: on Windows it has none.

    A text that is about something else is not answered with it.
    """
    torch, triton = case.machine.torch, case.machine.triton
    if case.machine.os.value != "windows" or not pin_is_broken(case):
        return None
    if case.signals and not case.signals_of(NAME) and not _torch_misses_a_name(case):
        return None
    text = f"triton {triton.value} is not of the release that torch {torch.value} is made for"
    known = tuple(one for one in (torch.because, triton.because) if one)
    return Answer("no", text, known, NAME)


def _torch_misses_a_name(case: Case) -> bool:
    """Say whether this torch asks for a name that this triton has under none of its paths."""
    torch, triton = parsed(case.machine.torch.value), case.machine.triton.value
    if torch is None or not triton:
        return False
    table, asked = case.matrix.table("name_askers"), dict[str, list[str]]()
    for row in table["rows"]:
        if row["package"] == "torch" and torch < Version(row["without"]):
            asked.setdefault(row["name"].rpartition(".")[2], []).append(row["name"])
    return any(
        all(has(case.matrix, "triton", triton, one) == "no" for one in asked.get(last, ["?"]))
        for last in table["always_asked"]
    )


def _fixes(case: Case) -> list[Fix]:
    pin, why = _wanted(case)
    if pin is None:
        return (
            [*_newer_triton(case), *_matching_torch(case)]
            or _by_the_name(case)
            or [_pinned_one(case)]
        )
    package, action = distribution(case.machine), _action(case, pin)
    if package == WINDOWS and (wanted := pinned(pin)):
        own, pin = parsed(case.machine.triton.value), of_windows(wanted)
        older = own is not None and own < wanted
        if _by_its_wording(case):
            action = "upgrade"
        elif action == "install-matching" and not older:
            action = "downgrade"
    return [*_of_ones_own(case), pip(action, package, pin, why, verify=NAME)]


def _of_ones_own(case: Case) -> list[Fix]:
    """Say how a triton of no release stays (its version is all zeros): built for a reason."""
    own = parsed(case.machine.triton.value)
    if own is None or any(own.release):
        return []
    why = f"triton {own} is a build of your own: install torch first, then this one with --no-deps"
    return [by_hand("reorder", f"{why}; what pip says of it then stays a notice", verify=NAME)]


def _action(case: Case, pin: str) -> Action:
    """Say which way triton goes, where torch failed for it; what nobody ran is just installed."""
    own, wanted = parsed(case.machine.triton.value), pinned(pin)
    failed = any("pin" not in signal.said for signal in case.signals_of(NAME))
    newer = own is not None and wanted is not None and Version(own.public) > Version(wanted.public)
    return "downgrade" if failed and newer else "install-matching"


def _newer_triton(case: Case) -> list[Fix]:
    """Offer the triton that has what torch misses, where the installed one is too old for it."""
    name, own = named(case, NAME), parsed(case.machine.triton.value)
    came = history(case, name).came_after(own) if name and own else None
    if came is None or own is None or any(one <= own for one in history(case, name or "").having):
        return []
    why = f"torch asks for {name}, which is there from triton {came} on"
    return [pip("upgrade", distribution(case.machine), f">={came}", why, verify=NAME)]


def _by_the_name(case: Case) -> list[Fix]:
    """Without known versions: go by where the name is that torch misses, and which torch asks."""
    name = named(case, NAME)
    if name is None:
        return _by_the_member(case)
    known = history(case, name)
    if not known.having:
        return []
    fixes = []
    if known.went and has_before(case, known.went):
        package, spec = distribution(case.machine), f"<{known.went}"
        fixes.append(pip("downgrade", package, spec, known.because.text, verify=NAME))
    if without := without_asking(case, "torch", known.name):
        why = f"from this release on torch does not need {known.name}"
        fixes.append(moved_torch(case, "upgrade", f">={without}", why, verify=NAME))
    return fixes


def _by_the_member(case: Case) -> list[Fix]:
    """Go by where a member of triton's classes went, which torch misses (table)."""
    table, member = case.matrix.table("name_askers"), case.said(NAME, "member")
    texts = {one.signature for one in case.signals_of(NAME)}
    rows = table["members"]["rows"]
    row = next((r for r in rows if r["member"] == member or texts & set(r.get("texts", ()))), None)
    if row is None:
        return []
    package, went = distribution(case.machine), row["went"]
    why = f"triton {went} has no {row['member']} any more"
    newer = f"from this release on torch does not need {row['member']}"
    return [
        pip("downgrade", package, f"<{went}", why, verify=NAME),
        moved_torch(case, "upgrade", f">={row['without']}", newer, verify=NAME),
    ]


def _pinned_one(case: Case) -> Fix:
    """Offer what torch itself requires, where no version is known."""
    package = distribution(case.machine)
    why = "every torch requires exactly one triton: installing torch anew brings it along"
    own = "every torch is made for one minor release of triton: take that of triton-windows"
    return Fix(
        action="install-matching",
        package=package,
        why=own if package == WINDOWS else why,
        command=None if package == WINDOWS else "python -m pip install --force-reinstall torch",
        applicability="unsafe",
        verify=NAME,
    )


def _wanted(case: Case) -> tuple[str | None, str]:
    """Return the triton that this torch is made for, and who says so."""
    torch = case.machine.torch.value or ""
    if pin := case.machine.triton_pin.value:
        return pin, f"torch {torch} requires triton{pin}"
    if said := case.said(NAME, "pin"):
        return f"=={said}", f"the error text says that torch requires triton {said}"
    version = parsed(torch)
    found = release(case.matrix, "torch", version.base_version) if version else None
    if version and found and (pin := found.facts.get("triton_pin")):
        return (
            pin,
            f"torch {version.base_version}, which this is a build of, is made for triton{pin}",
        )
    return None, ""


def _matching_torch(case: Case) -> list[Fix]:
    """Without a known torch: name the torch releases that are made for the installed triton.

    Where the text is of newer ones: what the oldest of those requires.
    """
    if any(_ABSENT in one.rules for one in case.signals_of(NAME)):
        return []  # torch finds none that is new enough: it is triton that is moved
    triton = case.machine.triton.value
    pins = [str(one) for one in case.matrix.versions("torch") if _pins(case, str(one), triton)]
    dated = possible("torch", wordings(case.signals_of(NAME)), case.matrix)
    if dated and not set(dated) & set(pins):
        return _for_the_oldest(case, dated[0])
    if not pins:
        return []
    spec = f"=={pins[0]}" if len(pins) == 1 else f">={pins[0]},<={pins[-1]}"
    why = f"triton {triton} is the one that these releases of torch are made for"
    return [pip("upgrade", "torch", spec, why, verify=NAME, applicability="unsafe")]


def _for_the_oldest(case: Case, torch: str) -> list[Fix]:
    """Offer the triton that a release of torch requires, where the installed one is older."""
    found, own = release(case.matrix, "torch", torch), parsed(case.machine.triton.value)
    pin = pinned(found.facts.get("triton_pin")) if found else None
    if pin is None or own is None or own >= pin:
        return []
    why = f"only torch {torch} and newer print this, and {torch} requires triton {pin}"
    return [pip("upgrade", distribution(case.machine), f">={pin}", why, verify=NAME)]


def _pins(case: Case, torch: str, triton: str | None) -> bool:
    found = release(case.matrix, "torch", torch)
    pin = found.facts.get("triton_pin") if found else None
    return bool(triton and pin and parsed(triton) and triton in SpecifierSet(pin))


RULE = rule(NAME, __doc__, find)
