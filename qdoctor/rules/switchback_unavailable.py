"""bitsandbytes' SwitchBack is there but cannot run: triton is missing.

## What it finds
A bitsandbytes with SwitchBack layers in an environment without triton, such as on Windows, or where
torch brought none along for this Python. Or a text of SwitchBackLinearBnb, which calls a function
(`matmul_mixed`) that no release has.

## Why it hurts
Without triton its kernels become functions that return None. Nothing complains when a layer is
made; the forward pass fails later with an unrelated text about None.

## How we know
bitsandbytes' own fallback is read from its wheel; that triton is absent from the packages.

## Fix
Install the triton that torch requires, where its platform has one; else use another layer.

## When to ignore
If nothing here uses SwitchBack layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import Answer, bnb_has_switchback, triton_installed
from qdoctor.model import Finding
from qdoctor.rules.case import quoted, rule, suspect
from qdoctor.rules.remedies import by_hand, pip
from qdoctor.rules.switchback import instead

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Fix
    from qdoctor.rules.case import Case, Signal

NAME = "switchback-unavailable"
_PRODUCT = "bnb-mixed-product"
"""The signature of a text that misses what SwitchBackLinearBnb multiplies with."""


def find(case: Case) -> Iterator[Finding]:
    """Report SwitchBack layers whose kernels are empty shells, or whose product does not exist."""
    for signal in case.signals_of(NAME):
        if signal.signature == _PRODUCT:
            yield _without_product(case, signal)
            return
    has, triton = case.ask(bnb_has_switchback), case.ask(triton_installed)
    if has.value == "no" or triton.value == "yes":
        return
    both = Answer(
        value="no" if has.value == "yes" and triton.value == "no" else "unknown",
        reason=triton.reason if triton.value == "unknown" else has.reason,
        because=(*has.because, *triton.because),
    )
    suspicion = suspect(case, NAME, both)
    if suspicion is None:
        return
    yield Finding(
        rule=NAME,
        severity="note",
        title="bitsandbytes' SwitchBack cannot run: triton is not installed",
        because=suspicion.because,
        fixes=[*_triton(case), *instead(case)],
        affects=["bnb-switchback"],
        undecided=suspicion.undecided,
    )


def _without_product(case: Case, signal: Signal) -> Finding:
    """Report the layer that calls a function of bitsandbytes which no release has."""
    why = "SwitchBackLinear has kernels of its own; SwitchBackLinearBnb never worked"
    return Finding(
        rule=NAME,
        severity="note",
        title="bitsandbytes' SwitchBackLinearBnb cannot run: no release has the product it calls",
        because=[quoted(signal)],
        fixes=[*instead(case), by_hand("change-code", why, verify=NAME)],
        affects=["bnb-switchback"],
    )


def _triton(case: Case) -> list[Fix]:
    """Offer the triton that torch requires, where it requires one."""
    pin = case.machine.triton_pin.value
    if not pin:
        return []
    return [pip("install-matching", "triton", pin, "torch requires this triton", verify=NAME)]


RULE = rule(NAME, __doc__, find)
