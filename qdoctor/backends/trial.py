"""Whether a backend's layer works on a device: a small one is made there and run, once.

No release and no GPU is known by name here: what the installed library does decides.
"""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 - runs in the user's process, on demand

from qdoctor.nn.products import is_shortage

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdoctor.backends.kind import Kind

BOUND = 0.18
"""Relative error that the output may have: half as much again as 4 bits lose on Gaussian data
(0.12)."""
ROWS = 48
COLUMNS = 128
BLOCK = 64
"""Weights that 4-bit backends quantize together."""
ORDINARY = range(-11, 10)
"""Of a weight's largest magnitude the powers of two (2**-12 to 2**9) at which every format is the
same but for its scales."""
WORSE = 2.0
"""Times the error at ordinary magnitudes that others may cost."""
_known: dict[tuple[Any, ...], str] = {}
"""By backend, device, dtype, depth, columns and training or magnitude: why it fails, or ``""``."""


def failure(kind: Kind, linear: Any, *, training: bool = False) -> str:
    """Say how the backend fails on this layer's device, dtype and depth; ``""`` if it works.

    The depth counts: bitsandbytes 0.50.2 unpacks 4-bit weights wrongly on CPUs with AVX512 where
    in_features is a multiple of 16 and not of 64 (by 0.24, and says nothing). A full or busy GPU
    says nothing about the backend: that is raised as it is.
    """
    weight = linear.weight
    key = (
        kind.name,
        str(weight.device),
        str(weight.dtype),
        linear.in_features,
        _columns(linear),
        training,
    )
    if key not in _known:
        _known[key] = _tried(kind, linear, _weight_gradient if training else _output)
    return _known[key]


def out_of_range(kind: Kind, linear: Any) -> str:
    """Say how the backend loses weights as small or large as this layer's; ``""`` if it does not.

    Libraries quantize by way of float16 (bitsandbytes' int8: 1e-7 is a subnormal number there, 1e5
    infinite) or bound their scales from below (torchao). Ordinary weights are not tried. A few rows
    that are far smaller than the others may be lost: the layer's output hardly shows it.
    """
    weight = linear.weight.detach()
    most = float(torch.linalg.vector_norm(weight, ord=float("inf")))
    exponent = math.frexp(most)[1] if math.isfinite(most) else 0
    if exponent in ORDINARY:  # as is a weight of zeros
        return ""
    columns = _columns(linear)
    key = (kind.name, str(weight.device), str(weight.dtype), linear.in_features, columns, exponent)
    if key not in _known:
        _known[key] = _tried_at(kind, linear, exponent)
    return f"{_known[key]} (the largest is {most:.1g})" if _known[key] else ""


def _tried_at(kind: Kind, like: Any, exponent: int) -> str:
    small = "small" if exponent < ORDINARY.start else "large"
    try:
        usual, lost = (_lost(kind, *_gaussian(like, at), _output) for at in (0, exponent - 3))
    except Exception as error:
        if is_shortage(error, like.weight.device):
            raise
        return f"{kind.name} does not take weights as {small} as these: {_first_line(error)}"
    if lost <= WORSE * usual:  # False for NaN
        return ""
    return (
        f"{kind.name} loses weights as {small} as these: its output has the relative error "
        f"{lost:.2g} in a trial, {usual:.2g} with ordinary ones"
    )


def _tried(kind: Kind, like: Any, what: Callable[[Kind, Any, Any], tuple[Any, Any]]) -> str:
    device = like.weight.device
    try:
        lost = _lost(kind, *_gaussian(like), what)
    except Exception as error:
        if is_shortage(error, device):
            raise
        return f"{kind.name} does not work on {device}: {_first_line(error)}"
    if lost <= BOUND:  # False for NaN
        return ""
    asked = what.__name__.strip("_").replace("_", " ")
    return (
        f"{kind.name} computes wrongly on {device}: its {asked} has the relative error {lost:.2g} "
        f"in a trial with {like.in_features} inputs"
    )


def _lost(kind: Kind, linear: Any, x: Any, what: Callable[[Kind, Any, Any], Any]) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a trial nobody needs to hear, nor to raise
        got, wanted = what(kind, linear, x)
    return float((got.double() - wanted).norm() / wanted.norm())


def _first_line(error: Exception) -> str:
    text = (str(error).strip() or "no message").splitlines()[0][:300]
    return f"{type(error).__name__}: {text}"


def _columns(like: Any) -> int:
    """Give few columns that leave the same rest as the layer's: some releases want whole blocks."""
    return COLUMNS + int(like.out_features) % BLOCK


def _gaussian(like: Any, power: int = 0) -> tuple[Any, Any]:
    """Make a linear layer of the same depth, device and dtype, and an input.

    Its weights and bias are normal numbers times 2**power.
    """
    draw = torch.Generator().manual_seed(7)  # the caller's random numbers stay as they are

    def gaussian(*size: int, power: int = 0) -> Any:
        drawn = torch.randn(size, generator=draw, device="cpu")  # whatever the default device is
        return drawn.mul_(2.0**power).to(like.weight.device, like.weight.dtype)

    columns = _columns(like)
    linear = torch.nn.Linear(like.in_features, columns, device="meta", dtype=like.weight.dtype)
    linear.weight = torch.nn.Parameter(gaussian(columns, like.in_features, power=power))
    linear.bias = torch.nn.Parameter(gaussian(columns, power=power))
    return linear, gaussian(ROWS, like.in_features)


@torch.no_grad()  # type: ignore[untyped-decorator]
def _output(kind: Kind, linear: Any, x: Any) -> tuple[Any, Any]:
    """Compare with the linear layer that is replaced: (got, exact)."""
    exact = (one.double() for one in (x, linear.weight, linear.bias))
    return kind.replaced(linear.eval())(x), torch.nn.functional.linear(*exact)


@torch.enable_grad()  # type: ignore[untyped-decorator]
def _weight_gradient(kind: Kind, linear: Any, x: Any) -> tuple[Any, Any]:
    """Train for one step: (the weight's gradient, the exact one)."""
    layer = kind.replaced(linear.train(), training=True)
    grad = torch.cos(torch.arange(layer.weight.shape[0] * ROWS, device=x.device))
    grad = grad.view(ROWS, -1).to(x.dtype)
    layer(x).backward(grad)
    return layer.weight.grad, grad.double().t() @ x.double()
