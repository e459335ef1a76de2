"""A text says that there is no triton: whether torch brings one along here, and what to install."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from qdoctor.machine import complete
from qdoctor.model import Finding, Fix
from qdoctor.released import called, fact, parsed
from qdoctor.rules.case import quoted
from qdoctor.rules.of_text import answer_to
from qdoctor.rules.remedies import by_hand, pip
from qdoctor.rules.torch_index import moved_torch
from qdoctor.rules.triton_releases import (
    WINDOWS,
    distribution,
    first_torch_with,
    of_windows,
    pinned,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.machine import Machine
    from qdoctor.rules.case import Case, Signal

TO_INSTALL = "no-triton-to-install"
"""The row of signatures that says that an installer found none."""
_NOTED = "triton-noted"
"""The row of signatures for a message whose exception was caught: it is an answer of its own."""
_STATED = ("triton", "pytorch-triton", WINDOWS)
_HARMLESS = "harmless-warning"
_LINUX = "linux"
_OPEN = "whether torch brings a triton along for this system and Python is not known"


def absent(case: Case, name: str) -> Iterator[Finding]:
    """Report under a rule's name that triton is missing, where a text says so."""
    texts = list(_texts(case, name))
    if not texts or left_out(case):
        return
    asked = any(one.signature == TO_INSTALL for one in texts)
    yield Finding(
        rule=name,
        severity="note",
        title=_title(case),
        because=[quoted(one) for one in case.signals_of(name)],
        fixes=_fixes(case, name, asked=asked),
        undecided=_undecided(case),
    )


def brought_along(case: Case) -> bool:
    """Say whether a triton is there, or should be: torch is known to require one on this machine.

    Where nothing is known of the machine, torch most likely left it out: it does so without a word.
    """
    machine = case.machine
    known = machine.os.value == _LINUX and machine.python.value is not None
    return _stated(case) or (known and bool(machine.triton_pin.value))


def left_out(case: Case) -> bool:
    """Say whether torch requires a triton here, but not for this Python."""
    machine = case.machine
    if (machine.facts.packages or {}).get("triton") == "":  # stated: would torch bring one along?
        machine = _unstated(case)
    wanted = bool(machine.triton_pin.value) and machine.python.value is not None
    return wanted and machine.triton.value == "" and "triton" not in (machine.facts.packages or {})


def _unstated(case: Case) -> Machine:
    facts = case.machine.facts
    packages = {name: one for name, one in (facts.packages or {}).items() if name != "triton"}
    told = msgspec.structs.replace(facts, packages=packages)
    return complete(told, case.matrix, assume_driver=case.machine.driver_assumed)


def _texts(case: Case, name: str) -> Iterator[Signal]:
    elsewhere = case.machine.os.value in {None, _LINUX}  # there an installer's refusal has reasons
    for one in case.signals_of(name):
        harmless = one.signature == _NOTED and answer_to(case, _HARMLESS, one)
        if not harmless and not (elsewhere and one.signature == TO_INSTALL):
            yield one


def _stated(case: Case) -> bool:
    return any((case.machine.facts.packages or {}).get(name) for name in _STATED)


def _title(case: Case) -> str:
    if _stated(case):
        return "triton is installed, and the program does not find one that works"
    if case.machine.os.value in {None, _LINUX}:
        return "triton is not installed"
    torch = called("torch", case.machine.torch.value)
    return f"triton is not installed: {torch} brings none along on {case.machine.os.value}"


def _undecided(case: Case) -> str | None:
    if _stated(case):
        return "which triton the program finds is not known"
    machine = case.machine
    open_ = machine.os.value is None or (
        machine.os.value == _LINUX and None in {machine.python.value, machine.triton_pin.value}
    )
    return _OPEN if open_ else None


def _fixes(case: Case, name: str, *, asked: bool) -> list[Fix]:
    off = by_hand("disable", "without torch.compile torch's own kernels run", verify=name)
    if case.machine.os.value in case.matrix.table("systems")["rows"]:
        why = "leave triton out of what is installed: no release has a wheel for this system"
        return [by_hand("change-code", why, verify=name), off] if asked else [off]
    there = _stated(case)
    why = "torch.compile needs it" + (" in the release that torch is made for" if there else "")
    package = distribution(case.machine)
    spec = _spec(case, package)
    if package == WINDOWS and not _released(case, spec):
        return [*_beside_another_torch(case, name), off]
    return [pip("install", package, spec, why, verify=name), off]


def _released(case: Case, spec: str) -> list[Version]:
    return [one for one in case.matrix.versions(WINDOWS) if SpecifierSet(spec).contains(one)]


def _beside_another_torch(case: Case, name: str) -> list[Fix]:
    """Offer what there is for Windows: no release of it goes with this torch."""
    first, *_, last = case.matrix.versions(WINDOWS)
    torch = first_torch_with(case.matrix, Version(first.base_version))
    why = f"its releases ({first} to {last}) are for other torches than {case.machine.torch.value}"
    fixes = [Fix("install", why, package=WINDOWS, verify=name)]
    own = parsed(case.machine.torch.value)
    if torch is None or own is None or own >= Version(torch):
        return fixes
    newer = f"the first that {WINDOWS} has a release for"
    return [*fixes, moved_torch(case, "upgrade", f">={torch}", newer, verify=name)]


def _spec(case: Case, package: str) -> str:
    """Return the triton that this torch is made for; "" where torch is not known."""
    version = parsed(case.machine.torch.value)
    known = fact(case.matrix, "torch", version.base_version, "triton_pin") if version else None
    pin = pinned(known.value) if known else None
    if package == WINDOWS and pin:
        return of_windows(pin)
    return str(known.value) if known and pin else ""
