"""Which products the candidates are measured at: a stated set, a model's own, or those given.

A shape is (rows of activations, in_features, out_features). Prefill and training multiply thousands
of rows and are bound by the matrix units; decoding multiplies as many rows as there are sequences,
and is bound by reading the weights and by launching.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from qdoctor.choosing.request import LARGEST
from qdoctor.model import BadInput, Shape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_WORD = re.compile(r"([0-9]{1,18})x([0-9]{1,18})x([0-9]{1,18})", re.IGNORECASE)
MOST = 64
"""Shapes at once: more fit no budget."""


class Stated(NamedTuple):
    """A shape that is measured unasked, and why."""

    shape: Shape
    reason: str


ON_GPU = (
    Stated((4096, 1024, 4096), "prefill: the first feed-forward layer of ViT-L, 16 images"),
    Stated((16, 4096, 4096), "decode: an attention projection of a 7-8 B model, 16 sequences"),
    Stated((4096, 4096, 4096), "prefill: the same projection, 4096 tokens"),
    Stated((1, 4096, 14336), "decode: the up projection of an 8 B model, one sequence"),
    Stated((2048, 4096, 14336), "prefill: the same, 2048 tokens"),
    Stated((16, 1024, 4096), "decode: a small model's feed-forward layer, 16 sequences"),
)
"""As many for prefill as for decode; half, the largest takes 117 MB of weights, three times that
with its activations. Alternating, so that a budget that ends early has seen both."""
ON_CPU = (
    Stated((128, 1024, 4096), "prefill: the first feed-forward layer of a large encoder"),
    Stated((1, 1024, 4096), "decode: the same layer, one sequence"),
    Stated((64, 2048, 2048), "prefill: an attention projection of a 1-2 B model"),
    Stated((4, 2048, 2048), "decode: the same projection, four sequences"),
)
"""Smaller: a CPU takes a hundred times as long, and its memory is shared."""
MODEL_ROWS = (2048, 16)
"""Rows that a model's layers are measured with: prefill, and decode of 16 sequences."""
MODEL_ROWS_ON_CPU = (128, 1)
"""The same there: a short text, and one sequence."""


class Workload(NamedTuple):
    """Shapes, and how often each occurs (None: they stand for nothing in particular)."""

    shapes: list[Shape]
    counts: list[int] | None = None


def stated(device: str) -> list[Shape]:
    """Return the shapes that are measured where none are given; ``device`` is cuda:N or cpu."""
    return [one.shape for one in (ON_CPU if device == "cpu" else ON_GPU)]


def parse(words: Iterable[str]) -> list[Shape]:
    """Read shapes as the command line has them, ``4096x1024x4096``. Raises ``BadInput``."""
    found = []
    for word in words:
        match = _WORD.fullmatch(word.strip())
        if match is None:
            raise BadInput(
                f"{word!r} is no shape: give ROWSxIN_FEATURESxOUT_FEATURES, such as 4096x1024x4096"
            )
        rows, depth, columns = (int(number) for number in match.groups())
        found.append((rows, depth, columns))
    return checked(found)


def checked(shapes: Iterable[Sequence[int]]) -> list[Shape]:
    """Return shapes once each, in their order. Raises ``BadInput`` for what is none."""
    found: list[Shape] = []
    for one in shapes:
        sizes = tuple(one)
        whole = len(sizes) == 3 and all(  # noqa: PLR2004 - rows, depth, columns
            isinstance(size, int) and not isinstance(size, bool) for size in sizes
        )
        if not whole or not all(1 <= size <= LARGEST for size in sizes):
            raise BadInput(
                f"{sizes!r} is no shape: give (rows, in_features, out_features), each a whole "
                f"number from 1 to {LARGEST}"
            )
        if sizes not in found:
            found.append((sizes[0], sizes[1], sizes[2]))
    if not found:
        raise BadInput("no shapes are given: leave them out for the stated set")
    if len(found) > MOST:
        raise BadInput(f"{len(found)} shapes are more than a budget serves: give up to {MOST}")
    return found


def of_model(model: Any, rows: Sequence[int] = MODEL_ROWS) -> Workload:  # noqa: ANN401 - torch's
    """Return the products of a model's ``torch.nn.Linear`` layers, equal ones once, with counts.

    ``model`` is a ``torch.nn.Module``; nothing is computed with it, and it may be on the meta
    device. The layers that make up most of the weights come first. Those that no backend replaces
    are left out: subclasses of Linear, and, unless there are no others, output layers, tied and
    tiny ones. Raises ``BadInput`` for anything else, or a model without any.
    """
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(model, torch.nn.Module):
        raise BadInput(
            f"shapes are a list of (rows, in_features, out_features) or a torch model, not "
            f"{type(model).__name__}"
        )
    plain = [layer for layer in model.modules() if type(layer) is torch.nn.Linear]
    if not plain:
        raise BadInput(f"{type(model).__name__} has no torch.nn.Linear: nothing to select for")
    layers = Counter((one.in_features, one.out_features) for one in _replaceable(model, plain))
    heaviest = sorted(layers, key=lambda size: (-layers[size] * size[0] * size[1], size))
    kept = heaviest[: MOST // len(rows)]
    shapes: list[Shape] = [(count, *size) for size in kept for count in rows]
    return Workload(shapes, [layers[size] for size in kept for _ in rows])


def rows_for(device: int | str | None) -> tuple[int, ...]:
    """Return the rows for a model that is to run on a GPU's number, ``cpu``, or what comes first.

    Then the build of torch tells: one without CUDA has the CPU alone.
    """
    build = getattr(sys.modules.get("torch"), "version", None)
    gpus = any(getattr(build, name, None) for name in ("cuda", "hip"))
    on_cpu = device == "cpu" or (device is None and not gpus)
    return MODEL_ROWS_ON_CPU if on_cpu else MODEL_ROWS


def _replaceable(model: Any, plain: Sequence[Any]) -> Sequence[Any]:  # noqa: ANN401
    """Keep those of a model's linear layers that ``quantize_`` would offer to a backend."""
    from qdoctor.backends.layers_of import places  # noqa: PLC0415 - it imports torch
    from qdoctor.backends.left_alone import LeftAlone  # noqa: PLC0415 - likewise

    left = LeftAlone(model)
    spared = {id(one.layer) for one in places(model) if left.is_spared(one)}
    return [layer for layer in plain if id(layer) not in spared] or plain
