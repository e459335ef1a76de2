"""An int8 layer works here, but takes longer than the same layer in half precision.

## What it finds
A quantization backend that multiplies in int8, passed its probe, and was slower by more than a
tenth than the half-precision product of the same shape on the same device.

## Why it hurts
int8 doubles what matrix units can do, so it is often chosen for speed. Quantizing the activations
and rescaling the sums may cost more than that saves, most of all in small layers.

## How we know
Both products were timed here, on the same shape: the two probes' milliseconds are compared.

## Fix
For speed, use what was measured to be faster here, half precision if nothing was. For memory,
nothing needs to change.

## When to ignore
If the size of the stored weights is what int8 is for, or the layers are much larger than the one
that was timed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdoctor.model import Because, Finding
from qdoctor.rules.affected import resting_on
from qdoctor.rules.case import rule
from qdoctor.rules.observed import named
from qdoctor.rules.remedies import use
from qdoctor.speed import speedup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Fix, Observation
    from qdoctor.rules.case import Case

NAME = "int8-slower-than-half"
BASELINE = "half"
SLOWER = 0.9
"""Two timings of the same kernel differ by a few percent; a tenth is more than that."""


def find(case: Case) -> Iterator[Finding]:
    """Compare the probe that shows each int8 backend with half precision on the same device."""
    rows: dict[str, Any] = case.matrix.table("backends")["rows"]
    for backend in (name for name, row in rows.items() if row["product"] == "int8"):
        for timed in _timed(case, backend).values():
            half = _half(case, timed[0])
            ratio = speedup(timed[0], half)
            if half is not None and ratio is not None and ratio < SLOWER:
                yield _slower(case, backend, ratio, [*timed, half])


def _timed(case: Case, backend: str) -> dict[str | None, list[Observation]]:
    """Return the timed passes of a backend by device; the first is the layer in its plain form."""
    found: dict[str | None, list[Observation]] = {}
    for seen in _passed(case):
        if backend in resting_on(case, seen) and "milliseconds" in seen.numbers:
            found.setdefault(seen.device, []).append(seen)
    return found


def _slower(case: Case, backend: str, ratio: float, timed: list[Observation]) -> Finding:
    seen = timed[0]
    sizes = " x ".join(f"{seen.numbers[key]:.0f}" for key in ("rows", "depth", "columns"))
    title = (
        f"{backend} takes {1 / ratio:.1f} times as long as half on {seen.device} ({sizes}): "
        "it saves memory, not time"
    )
    return Finding(
        rule=NAME,
        severity="note",
        title=title,
        because=[_took(one) for one in timed],
        fixes=list(_faster(case, seen)),
    )


def _took(seen: Observation) -> Because:
    text = f"{named(seen)} took {seen.numbers['milliseconds']:.3g} ms"
    return Because(text=text, source=f"probe {seen.probe}", strength="observed")


def _passed(case: Case) -> list[Observation]:
    return [one for one in case.observations if one.outcome == "passed" and one.ran]


def _half(case: Case, seen: Observation) -> Observation | None:
    """Return the half-precision product that was timed on the same device."""
    there = [one for one in _passed(case) if one.device == seen.device]
    return next((one for one in there if BASELINE in resting_on(case, one)), None)


def _faster(case: Case, slow: Observation) -> Iterator[Fix]:
    """Offer the backends that were measured to be faster than half there, then half itself."""
    half = _half(case, slow)
    timed = [(speedup(one, half) or 0.0, one) for one in _passed(case)]
    for ratio, one in sorted(timed, key=lambda pair: -pair[0]):
        if ratio > 1.0:
            why = f"it ran at {ratio:.1f} times the speed of half here"
            yield from (use(name, why, verify=one.probe) for name in resting_on(case, one))
    yield use(BASELINE, "it was faster here than this int8 layer", verify="half_gemm")


RULE = rule(NAME, __doc__, find)
