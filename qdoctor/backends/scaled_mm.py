"""Quantizing to e4m3 and multiplying by ``torch._scaled_mm``, and what of it a device does."""

# ruff: noqa: ANN401 - torch is untyped here
# mypy: disable-error-code="misc, untyped-decorator"

from __future__ import annotations

from typing import Any, NamedTuple

import torch  # noqa: TID253 - runs in the user's process, on demand
from torch.autograd.function import once_differentiable  # noqa: TID253

from qdoctor.nn.products import is_shortage, kernel

UNIT = 16
"""What torch asks the inner and the outer size of the weight to be a multiple of."""
LARGEST = 448.0
"""The largest e4m3 number (OFP8, revision 1.0)."""
_LEAST = 2.0**-117
"""Magnitudes below it are scaled as it is: of a smaller one the scale is subnormal, and its inverse
infinite."""


def quantize(x: Any, *, rowwise: bool = True, width: int = 0) -> tuple[Any, Any]:
    """Quantize x (M x K, floating) to e4m3: (values M x K, float32 scales, M x 1 or a scalar).

    The largest magnitude, of each row or of all, becomes 448; zeros stay zeros. With a width larger
    than K the values are filled up to it by zeros. What is not finite makes all that shares its
    scale not finite.
    """
    if rowwise and x.numel() and not _compiling() and _fused_on(x):
        return kernel("_fp8_quantize").quantize_rows(x, max(width, x.shape[1]))  # type: ignore[no-any-return]
    dims = {"dim": 1, "keepdim": True} if rowwise else {}
    most = torch.linalg.vector_norm(x, ord=float("inf"), **dims).float()
    inverse = LARGEST / torch.where(most > 0.0, most.clamp(min=_LEAST), LARGEST)
    if x.dtype == torch.bfloat16:  # its range holds any inverse; the rounding goes into the scale
        inverse = inverse.bfloat16()
    values = padded(x, width - x.shape[1]) * inverse
    return values.to(torch.float8_e4m3fn), inverse.float().reciprocal()


def padded(x: Any, columns: int) -> Any:
    """Append zeros to the last axis; without any, x itself (torch's own would copy it)."""
    return torch.nn.functional.pad(x, (0, columns)) if columns > 0 else x


class NoFp8ProductError(RuntimeError):
    """No fp8 product works on a device; the text is what it said."""


class Way(NamedTuple):
    """How a device multiplies: with a scale for each row of both, and in which dtype it answers."""

    rowwise: bool
    dtype: Any


def multiply(x: Any, weight: tuple[Any, Any], bias: Any, way: Way) -> Any:
    """Multiply x (M x K, floating) by a quantized weight (N x K) transposed and add the bias (N).

    Returns M x N of ``way.dtype``. The weight has a scale a row, and may be wider than K. Where
    the product takes one scale a side only, the weight's come in afterwards.
    """
    q, scale = weight
    a, scale_a = quantize(x, rowwise=way.rowwise, width=q.shape[1])
    if way.rowwise:
        return _product(a, q, scale_a, scale.t(), bias, way.dtype)
    y = _product(a, q, scale_a, torch.ones_like(scale_a), None, way.dtype) * scale.t()
    return (y if bias is None else y + bias).to(way.dtype)


def _product(a: Any, b: Any, scale_a: Any, scale_b: Any, bias: Any, dtype: Any) -> Any:  # noqa: PLR0913, PLR0917
    inside = None if bias is None or dtype == torch.float32 else bias.to(dtype)
    # Not fast accumulation: it is an eighth faster on an H100, but sums in so few bits that
    # operands of one sign lose 0.07 over 4096 products and 0.25 over 16384; 0.001 without.
    y = torch._scaled_mm(  # noqa: SLF001 - torch offers its fp8 product under this name
        a, b.t(), scale_a=scale_a, scale_b=scale_b, bias=inside, out_dtype=dtype,
        use_fast_accum=False,
    )  # fmt: skip
    y = y[0] if isinstance(y, tuple) else y  # older releases give (result, largest)
    return y + bias if bias is not None and inside is None else y


class Product(torch.autograd.Function):
    """``apply(x, weight_fp8, weight_scale, bias, way)`` -> multiply's result, differentiable."""

    @staticmethod
    def forward(  # noqa: PLR0913, PLR0917 - autograd takes plain arguments
        ctx: Any, x: Any, q: Any, scale: Any, bias: Any, way: Way
    ) -> Any:
        """Return what multiply does; x is M x K."""
        ctx.save_for_backward(q, scale)
        ctx.given = (x.shape[1], x.dtype, None if bias is None else bias.dtype)
        return multiply(x, (q, scale), bias, way)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Any) -> tuple[Any, ...]:
        """Return the gradients of x, by the weight as it is kept, and of the bias."""
        q, scale = ctx.saved_tensors
        depth, dtype, bias_dtype = ctx.given
        grad_x = grad_bias = None
        if ctx.needs_input_grad[0]:
            weight = (q.to(grad.dtype) * scale.to(grad.dtype))[:, :depth]
            grad_x = (grad @ weight).to(dtype)
        if ctx.needs_input_grad[3]:
            grad_bias = grad.sum(0).to(bias_dtype)
        return grad_x, None, None, grad_bias, None


# What a device does: tried once, then known

_ways: dict[tuple[Any, Any], Way | str] = {}
"""By device and dtype: how it multiplies, or why it does not."""
_fused: dict[Any, bool] = {}
"""By device: whether the Triton kernel quantizes there."""
_EXACT = 0.01
"""What rounding the trial's product to 16 bits may lose, and no more."""
_NEAR = 0.03
"""What e4m3 loses of Gaussian data (0.026), and a little."""


def way_on(device: Any, dtype: Any) -> Way:
    """Return how the device (a torch.device) multiplies for inputs of a dtype.

    Raises NoFp8ProductError with the words of the device where it does not at all; an error of a
    full or busy device as it is.
    """
    found = _ways.get((device, dtype))
    if found is None:
        found = _ways[device, dtype] = _first_way(device, dtype)
    if isinstance(found, Way):
        return found
    raise NoFp8ProductError(f"torch-fp8 does not work on {device}: {found}")


def _first_way(device: Any, dtype: Any) -> Way | str:
    dtype = dtype if dtype in {torch.float16, torch.bfloat16} else torch.float32
    reasons: list[str] = []
    # Without the weight's scales a sum reaches 448 times its size: past float16.
    for way in (
        Way(rowwise=True, dtype=dtype),
        Way(rowwise=True, dtype=torch.bfloat16),
        Way(rowwise=False, dtype=torch.bfloat16),
    ):
        reason = _trial(device, way)
        if not reason:
            return way
        reasons.append(reason)
    return reasons[-1]


@torch.no_grad()
def _trial(device: Any, way: Way) -> str:
    """Multiply once with a bias; the operands are e4m3 numbers, so that the product is exact."""
    a = torch.eye(32, 64, device=device)
    b = (torch.arange(48 * 64, device=device) % 15 - 7.0).view(48, 64)
    bias = torch.ones(48, device=device)
    try:
        got = multiply(a, quantize(b), bias, way).float().cpu()
    except Exception as error:
        if is_shortage(error, device):
            raise  # says nothing about the way
        first = (str(error).strip() or "no message").splitlines()[0][:300]
        return f"{type(error).__name__}: {first}"
    wanted = (a @ b.t() + bias).cpu()
    lost = float((got - wanted).norm() / wanted.norm())
    return "" if lost <= _EXACT else f"a product was wrong by {lost:.2g}"


def _fused_on(x: Any) -> bool:
    if x.device.type != "cuda" or x.shape[1] > kernel("_fp8_quantize").WIDEST:
        return False
    if x.device not in _fused:
        _fused[x.device] = _quantizes(x.device)
    return _fused[x.device]


@torch.no_grad()
def _quantizes(device: Any) -> bool:
    """Say whether the Triton kernel compiles for the device and is right there."""
    x = torch.sin(torch.arange(33.0 * 77, device=device)).view(33, 77)
    try:
        q, scale = kernel("_fp8_quantize").quantize_rows(x, 80)
        lost = float((q.float()[:, :77] * scale - x).norm() / x.norm())
    except Exception as error:
        if is_shortage(error, device):
            raise  # says nothing about the kernel
        return False  # torch's own operations do it
    return lost <= _NEAR and not q[:, 77:].float().any()


def _compiling() -> bool:
    """Whether torch.compile is tracing: it makes one kernel of torch's operations by itself."""
    return bool(getattr(torch.compiler, "is_compiling", lambda: False)())
