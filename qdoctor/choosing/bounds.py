"""What each objective wants, and what it bears unless the caller says. Data, with reasons. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from qdoctor.model import Asked, Objective


class Aim(NamedTuple):
    """``wants`` says what the winner has; ``error`` is relative, ``slowdown`` in times half's time.

    ``slowdown`` None: ``why_time`` says what bounds the time instead.
    """

    wants: str
    error: float
    why_error: str
    slowdown: float | None
    why_time: str


AIMS: dict[Objective, Aim] = {
    "accuracy": Aim(
        "the smallest error among what is quantized and not slower than half",
        0.02, "int8 is near 0.012; fp8, at 0.037, is not what who asks for accuracy means",
        None, "what is slower than half is not taken at all",
    ),
    "balanced": Aim(
        "the least time x memory",
        0.05, "int8 and fp8, which models bear without being trained for it",
        None, "time x memory bounds it: twice half's time for half its bytes",
    ),
    "latency": Aim(
        "the least time",
        0.05, "as balanced: it takes more bits than four to be faster and as good",
        None, "what is slower than half is not taken at all",
    ),
    "memory": Aim(
        "the fewest bytes a weight",
        0.15, "nf4 is near 0.09, fp4 0.12: four bits is what a model is made to fit with",
        4.0, "four bits save a factor of four at most: who may take more than four times as long "
        "is served as well by half on four devices, or one layer after the other",
    ),
}  # fmt: skip
ALIKE_BYTES = 1.1
"""Up to a tenth more bytes a weight are as few: what a model takes beside its quantized weights
(embeddings, activations, the cache of keys and values) differs by more from one use to the next."""


def error_bound(asked: Asked) -> float:
    """Return the relative error that is borne."""
    return AIMS[asked.objective].error if asked.max_error is None else asked.max_error


def asked_slowdown(asked: Asked) -> float:
    """Return how many times half's time the caller bears; infinity where nothing was said."""
    return math.inf if asked.max_slowdown is None else asked.max_slowdown


def usual_slowdown(asked: Asked) -> float:
    """Return how many times half's time the objective bears while something else will do."""
    usual = AIMS[asked.objective].slowdown
    return math.inf if usual is None or asked.max_slowdown is not None else usual
