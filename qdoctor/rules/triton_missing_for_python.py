"""There is no triton for this Python.

## What it finds
A triton release without a wheel for this Python version; or, where a text says that triton is
missing, a torch that requires triton for other Python versions only.

## Why it hurts
An installer leaves triton out or refuses: `torch.compile` and Triton kernels are not there.

## How we know
The Python versions of each release are read from the tags of its wheels, for which Pythons torch
requires triton from its METADATA.

## Fix
Install a torch that brings a triton along for this Python, or use a Python that this torch and its
triton have wheels for.

## When to ignore
If nothing here uses Triton or `torch.compile`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qdoctor.layers import torch_fits_python, triton_fits_python
from qdoctor.machine import complete
from qdoctor.model import Because, Finding
from qdoctor.released import parsed
from qdoctor.rules.case import quoted, rule
from qdoctor.rules.of_layer import of_layers
from qdoctor.rules.remedies import by_hand
from qdoctor.rules.torch_index import moved_torch
from qdoctor.rules.what_if import with_package

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.machine import Machine
    from qdoctor.model import Fix
    from qdoctor.rules.case import Case, Signal

NAME = "triton-missing-for-python"
TO_INSTALL = "no-triton-to-install"
"""The row of signatures that says that an installer found none."""


def find(case: Case) -> Iterator[Finding]:
    """Report a triton without a wheel, or a torch that brings none along for this Python."""
    yield from (one for one in _OF_WHEELS.find(case) if one.undecided is None)
    texts = case.signals_of(NAME)
    stated = (case.machine.facts.packages or {}).get("triton") == ""
    if (texts or stated) and left_out(case):
        torch, python = case.machine.torch, case.machine.python.value
        text = f"torch {torch.value} requires triton for other Python versions than {python}"
        yield Finding(
            rule=NAME,
            severity="note",
            title=text,
            because=[
                Because(text, "the requirements in torch's METADATA", "mined"),
                *map(quoted, texts),
            ],
            fixes=[*_newer_torch(case), _other_python(case)],
        )
        return
    for signal in texts:
        yield from _not_compiled_for(case, signal)
        yield from _not_to_be_had(case, signal)


def _not_compiled_for(case: Case, signal: Signal) -> Iterator[Finding]:
    """Report a torch whose compiler refuses this Python, as its text says (table)."""
    since = signal.said.get("python_from") or signal.said.get("python_from2")
    python = case.machine.python.value or since
    if since is None or python is None:
        return
    short = ".".join(python.split(".")[:2])
    served: dict[str, str] = case.matrix.table("torch_compiler")["pythons"]["since"]
    torch = served.get(short)
    why = f"its compiler serves Python {short}"
    newer = [moved_torch(case, "upgrade", f">={torch}", why, verify=NAME)] if torch else []
    yield Finding(
        rule=NAME,
        severity="note",
        title=f"torch.compile of this torch is not made for Python {since} or newer",
        because=[quoted(signal)],
        fixes=[*newer, by_hand("use-python", f"a Python before {since} is served")],
    )


def _not_to_be_had(case: Case, signal: Signal) -> Iterator[Finding]:
    """Report a triton that an installer does not find for this Python."""
    wanted = signal.said.get("wanted")
    if signal.signature != TO_INSTALL or case.machine.os.value not in {None, "linux"}:
        return
    version = (wanted or "").removeprefix("==")
    machine = with_package(case.machine, case.matrix, "triton", version) if version else None
    answer = triton_fits_python(machine, case.matrix).value if machine else "unknown"
    if answer == "yes" and case.machine.python.value is not None:
        return
    yield Finding(
        rule=NAME,
        severity="note",
        title=f"there is no triton {version} for this Python".replace("  ", " "),
        because=[quoted(signal)],
        fixes=[*_newer_torch(case), by_hand("use-python", "triton has wheels for other Pythons")],
        undecided=None if answer == "no" else case.machine.python.reason or "the Python version",
    )


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


def _newer_torch(case: Case) -> list[Fix]:
    """Offer the next torch that brings a triton along for this Python."""
    own = parsed(case.machine.torch.value)
    for torch in case.matrix.versions("torch"):
        if own is None or torch <= own:
            continue
        machine = with_package(case.machine, case.matrix, "torch", str(torch))
        fits = torch_fits_python(machine, case.matrix).value != "no"
        if machine.triton.value and fits and triton_fits_python(machine, case.matrix).value != "no":
            why = f"it brings triton {machine.triton.value} along for this Python"
            return [moved_torch(case, "upgrade", f">={torch}", why, verify=NAME)]
    return []


def _other_python(case: Case) -> Fix:
    return by_hand("use-python", f"torch {case.machine.torch.value} has a triton for others")


def _title(case: Case) -> str:
    triton, python = case.machine.triton.value, case.machine.python.value
    return f"triton {triton or '?'} has no wheel for Python {python or '?'}"


def _fixes(case: Case) -> list[Fix]:
    why = f"triton {case.machine.triton.value or ''} has wheels for other Python versions"
    return [by_hand("use-python", why.replace("  ", " "), verify=NAME)]


_OF_WHEELS = of_layers(
    NAME, __doc__, (triton_fits_python,), severity="note", title=_title, fixes=_fixes
)

RULE = rule(NAME, __doc__, find)
