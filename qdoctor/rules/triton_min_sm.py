"""This GPU is older than what triton compiles for.

## What it finds
A GPU below the oldest SM that the installed triton serves.

## Why it hurts
`torch.compile` refuses the GPU, and Triton kernels fail while they are compiled.

## How we know
The floor of each triton release is in the data, the GPU's SM from the driver or from its name.

## Fix
Leave torch.compile off, or use kernels that are not written in Triton: eager torch and the 4-bit
layers of bitsandbytes run on this GPU.

## When to ignore
If nothing here uses Triton or `torch.compile`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import triton_int8_on_sm, triton_supports_sm
from qdoctor.model import Finding
from qdoctor.released import cited, parsed
from qdoctor.rules.affected import running
from qdoctor.rules.case import quoted, rule
from qdoctor.rules.of_layer import of_layers
from qdoctor.rules.remedies import by_hand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Fix
    from qdoctor.rules.case import Case

NAME = "triton-min-sm"


def _title(case: Case) -> str:
    gpu = case.machine.gpu
    named = (gpu.name if gpu else None) or "this GPU"
    sm = case.machine.sm.value or "?"
    return f"{named} (SM {sm}) is older than what triton compiles for"


def _fixes(case: Case) -> list[Fix]:
    off = by_hand("disable", "without torch.compile torch's own kernels run", verify=NAME)
    return [off, *running(case, "it needs no Triton kernel", "bnb-nf4", "half")]


def find(case: Case) -> Iterator[Finding]:
    """Report the GPU where the layers say so; with a text also where triton is not known."""
    found = list(_OF_LAYERS.find(case))
    sure = [one for one in found if one.undecided is None]
    yield from sure or _of_text(case) or found


def _of_text(case: Case) -> list[Finding]:
    """Decide a text by the SM alone, where every release has the same floor."""
    rows = case.matrix.table("triton_gpus")["rows"]
    own, floors = parsed(case.machine.sm.value), {row["minimum_sm"] for row in rows}
    texts = case.signals_of(NAME)
    floor = parsed(next(iter(floors))) if len(floors) == 1 else None
    if not texts or own is None or floor is None or own >= floor:
        return []
    text = f"every triton serves SM {floor} and newer, this is SM {own}"
    return [
        Finding(
            rule=NAME,
            severity="note",
            title=_title(case),
            because=[cited(case.matrix.table("triton_gpus"), rows[0], text), *map(quoted, texts)],
            fixes=_fixes(case),
        )
    ]


_OF_LAYERS = of_layers(
    NAME,
    __doc__,
    (triton_supports_sm, triton_int8_on_sm),
    severity="note",
    title=_title,
    fixes=_fixes,
)

RULE = rule(NAME, __doc__, find)
