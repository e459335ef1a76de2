"""There is no triton for this Python, or this system.

## What it finds
A triton release without a wheel for this Python version; or, where a text says that triton is
missing, one without a wheel for this processor, a torch that requires triton for other Python
versions only, and a system for which torch requires none.

## Why it hurts
An installer leaves triton out or refuses: `torch.compile` and Triton kernels are not there.

## How we know
The Python versions of each release are read from the tags of its wheels, for which Pythons and
systems torch requires triton from its METADATA: Linux alone.

## Fix
Install a torch that brings a triton along for this Python, or use a Python that this torch and its
triton have wheels for. On Windows install the build triton-windows of the same release; on other
systems there is none: leave `torch.compile` out.

## When to ignore
If nothing here uses Triton or `torch.compile`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import torch_fits_python, triton_fits_python
from qdoctor.model import Because, Finding
from qdoctor.released import called, parsed
from qdoctor.rules.case import quoted, rule
from qdoctor.rules.of_layer import of_layers
from qdoctor.rules.remedies import by_hand, pip
from qdoctor.rules.torch_index import moved_torch
from qdoctor.rules.triton_absent import TO_INSTALL, absent, brought_along, left_out
from qdoctor.rules.triton_releases import WINDOWS
from qdoctor.rules.what_if import with_package
from qdoctor.rules.wheels_here import (
    asked_for,
    libc_refuses,
    listed,
    nearest_here,
    never_released,
    refusal,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Fix
    from qdoctor.rules.case import Case, Signal
    from qdoctor.rules.wheels_here import Refusal

NAME = "triton-missing-for-python"
_TRITON = "triton"


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
    told = [one for signal in texts for one in _not_compiled_for(case, signal)]
    told += _not_to_be_had(case, [one for one in texts if one.signature == TO_INSTALL])
    yield from told
    if not told and not brought_along(case):
        yield from absent(case, NAME)


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


def _not_to_be_had(case: Case, texts: list[Signal]) -> Iterator[Finding]:
    """Report a triton that an installer does not find for this Python or processor."""
    if not texts or case.machine.os.value not in {None, "linux"}:
        return
    wanted = max((one.said.get("wanted", "") for one in texts), key=len)
    why = refusal(case, _TRITON, wanted)
    if libc_refuses(case, _TRITON, wanted):
        return
    if why is None and never_released(case, _TRITON, wanted, texts):
        return
    place = "processor" if why and why.platform else "Python"
    stated = None not in {case.machine.python.value, case.machine.arch.value}
    if why is None and stated and asked_for(case, _TRITON, wanted) and wanted:
        return
    yield Finding(
        rule=NAME,
        severity="note",
        title=f"there is no triton {wanted.removeprefix('==')} for this {place}".replace("  ", " "),
        because=[*map(quoted, texts), *(why.answer.because if why else ())],
        fixes=[
            *_newer_torch(case),
            *_found_here(case, wanted, why),
            *_on_windows(case, wanted, texts),
            *_by_python(why),
        ],
        undecided=None if why else case.machine.python.reason or "the processor is not known",
    )


def _found_here(case: Case, wanted: str, why: Refusal | None) -> list[Fix]:
    """Offer the nearest triton with a wheel here; unsafe where torch pins its triton."""
    span = nearest_here(case, _TRITON, wanted) if why else None
    if span is None:
        return []
    text = f"triton {span} has a wheel here"
    return [pip("install", _TRITON, span.spec, text, verify=NAME, applicability="unsafe")]


def _on_windows(case: Case, wanted: str, texts: list[Signal]) -> list[Fix]:
    """Offer the other distribution where any triton would do, none is found, and no system is told.

    On Linux each Python that is in use has had some release; on Windows none ever had.
    """
    if case.machine.os.value is not None or wanted or listed(texts):
        return []
    why = "on Windows, which no triton has a wheel for, it is called so"
    return [pip("install", WINDOWS, "", why, verify=NAME)]


def _by_python(why: Refusal | None) -> list[Fix]:
    """Offer another Python, and the processor's own way where no Python helps."""
    if why is not None and why.platform:
        return [by_hand("rebuild", "built from source it serves this processor", verify=NAME)]
    return [by_hand("use-python", "triton has wheels for other Pythons")]


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
    return f"{called('triton', triton)} has no wheel for {called('Python', python)}"


def _fixes(case: Case) -> list[Fix]:
    why = f"triton {case.machine.triton.value or ''} has wheels for other Python versions"
    return [by_hand("use-python", why.replace("  ", " "), verify=NAME)]


_OF_WHEELS = of_layers(
    NAME, __doc__, (triton_fits_python,), severity="note", title=_title, fixes=_fixes
)

RULE = rule(NAME, __doc__, find)
