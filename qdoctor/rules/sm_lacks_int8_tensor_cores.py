"""This GPU has no int8 matrix units, and a library needs them.

## What it finds
A GPU without int8 tensor cores (before SM 7.5, and the GTX 16 cards) beside a library whose int8
product calls for them.

## Why it hurts
The int8 product fails (`igemmlt not available`, `Your GPU does not support Int8 Matmul`) where a
library has no other path; loading a model may work while merging or training fails. Where it has
one, int8 is slower than half precision here.

## How we know
NVIDIA's tables say which SM has which matrix units; what a bitsandbytes release calls on a GPU
without them is read from its wheel.

## Fix
Install a bitsandbytes that has another path, or use 4-bit weights or half precision: both run here.

## When to ignore
If int8 is not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import Answer, bnb_int8_on_this_sm, int8_tensor_cores
from qdoctor.layers.int8 import bnb_int8_in_half
from qdoctor.model import Finding, Fix
from qdoctor.released import parsed
from qdoctor.rules.affected import needing, stands_up
from qdoctor.rules.bnb_releases import serving
from qdoctor.rules.case import rule, suspect
from qdoctor.rules.remedies import by_hand, use

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "sm-lacks-int8-tensor-cores"
_NOTHING = "nothing is broken: where int8 layers are to run, 4-bit or half is faster here"


def find(case: Case) -> Iterator[Finding]:
    """Report a GPU without the int8 matrix units that a library wants."""
    hardware, library = case.ask(int8_tensor_cores), case.ask(bnb_int8_on_this_sm)
    suspicion = suspect(case, NAME, _weighed(case, hardware, library))
    if suspicion is None:
        return
    gpu = case.machine.gpu
    named = (gpu.name if gpu else None) or "this GPU"
    yield Finding(
        rule=NAME,
        severity="note",
        title=f"{named} (SM {case.machine.sm.value or '?'}) has no int8 matrix units",
        because=suspicion.because,
        fixes=_fixes(case),
        affects=_affects(case, library),
        undecided=suspicion.undecided or _elsewhere(case),
    )


def _weighed(case: Case, hardware: Answer, library: Answer) -> Answer:
    """The library decides where it is known to fail; else the hardware, if it is asked for."""
    if hardware.value == "yes" or hardware.rule not in {None, NAME}:
        return Answer("yes", hardware.reason)
    if library.value == "no" and library.rule == NAME:
        return library
    wanted = bool(case.signals_of(NAME)) or bool(needing(case, "int8_tensor_cores"))
    if hardware.value == "no" and wanted:
        return hardware
    return Answer("unknown", hardware.reason or library.reason)


def _elsewhere(case: Case) -> str | None:
    """Say what is open about a text that others print too, where no bitsandbytes is installed."""
    signals, stated = case.signals_of(NAME), case.machine.facts.packages
    if not signals or not stated or case.machine.bitsandbytes.value is not None:
        return None
    others = all(NAME in one.confirmed for one in signals)
    return "whether an int8 layer computed it" if others else None


def _affects(case: Case, library: Answer) -> list[str]:
    direct = needing(case, "bnb_int8_on_this_sm") if library.value == "no" else []
    return list(dict.fromkeys([*direct, *needing(case, "int8_tensor_cores")]))


def _fixes(case: Case) -> list[Fix]:
    newer = _newer(case)
    choices = {
        "bnb-nf4": "4-bit weights are multiplied in half precision, which this GPU has",
        "half": "half precision runs on this GPU, and faster than emulated int8",
    }
    others = [use(name, why, verify=name) for name, why in choices.items() if stands_up(case, name)]
    asked = case.signals_of(NAME) or case.machine.bitsandbytes.value
    nothing = [] if asked else [Fix(action="none", why=_NOTHING)]
    hardware = by_hand("change-hardware", "int8 matrix units come with SM 7.5")
    return [*nothing, *newer, *others, hardware]


def _newer(case: Case) -> list[Fix]:
    """Offer the next release whose int8 layers work here, slowly; none where they do already."""
    installed = parsed(case.machine.bitsandbytes.value)
    if installed is None or bnb_int8_in_half(case.machine, case.matrix):
        return []
    why = "its int8 layers multiply in half precision on GPUs without int8 matrix units"
    offered = serving(
        case, [], why, verify="bnb-int8", also=lambda one: bnb_int8_in_half(one, case.matrix)
    )
    return [fix for fix in offered if fix.action == "upgrade"]


RULE = rule(NAME, __doc__, find)
