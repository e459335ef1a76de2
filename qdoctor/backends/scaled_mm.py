"""Quantizing to e4m3 and multiplying by ``torch._scaled_mm``, and what of it a device does."""

# ruff: noqa: ANN401 - torch is untyped here
# mypy: disable-error-code="misc, untyped-decorator"

from __future__ import annotations

from typing import Any

import torch  # noqa: TID253 - runs in the user's process, on demand
from torch.autograd.function import once_differentiable  # noqa: TID253

UNIT = 16
"""What torch asks the inner and the outer size of the weight to be a multiple of."""
LARGEST = 448.0
"""The largest e4m3 number (OFP8, revision 1.0)."""


def quantize(x: Any, *, rowwise: bool) -> tuple[Any, Any]:
    """Quantize x (M x K, floating) to e4m3: (values, float32 scales, M x 1 or a scalar).

    The largest magnitude, of each row or of all, becomes 448; zeros stay zeros. What is not finite
    makes all that shares its scale not finite.
    """
    dims = {"dim": 1, "keepdim": True} if rowwise else {}
    most = torch.linalg.vector_norm(x, ord=float("inf"), **dims).float()
    inverse = LARGEST / torch.where(most > 0.0, most, LARGEST)
    if x.dtype == torch.bfloat16:  # its range holds any inverse; the rounding goes into the scale
        inverse = inverse.bfloat16()
    return (x * inverse).to(torch.float8_e4m3fn), inverse.float().reciprocal()


def padded(x: Any, columns: int) -> Any:
    """Append zeros to the last axis; without any, x itself (torch's own would copy it)."""
    return torch.nn.functional.pad(x, (0, columns)) if columns else x


def multiply(a: tuple[Any, Any], b: tuple[Any, Any], bias: Any, dtype: Any) -> Any:
    """Multiply a (M x K) by b (N x K) transposed, add the bias: M x N of ``dtype``."""
    scale_b = b[1].t() if b[1].dim() else b[1]
    inside = None if bias is None or dtype == torch.float32 else bias.to(dtype)
    # fast accumulation sums in fewer bits than float32: far below what e4m3 loses already
    y = torch._scaled_mm(  # noqa: SLF001 - torch offers its fp8 product under this name
        a[0], b[0].t(), scale_a=a[1], scale_b=scale_b, bias=inside, out_dtype=dtype,
        use_fast_accum=True,
    )  # fmt: skip
    y = y[0] if isinstance(y, tuple) else y  # older releases give (result, largest)
    return y + bias if bias is not None and inside is None else y


class Product(torch.autograd.Function):
    """``apply(x, weight_fp8, weight_scale, bias, columns, dtype)`` -> x times weight, plus bias.

    x is M x K; the weight is filled up to whole 16s, ``columns`` is what counts of its rows.
    """

    @staticmethod
    def forward(  # noqa: PLR0913, PLR0917 - autograd takes plain arguments
        ctx: Any, x: Any, q: Any, scale: Any, bias: Any, columns: int, dtype: Any
    ) -> Any:
        """Quantize x, multiply; M x columns of ``dtype``."""
        ctx.save_for_backward(q, scale)
        ctx.given = (x.shape[1], x.dtype, None if bias is None else bias.dtype)
        if bias is not None:
            bias = padded(bias, q.shape[0] - columns)
        quantized = quantize(padded(x, q.shape[1] - x.shape[1]), rowwise=bool(scale.dim()))
        return multiply(quantized, (q, scale), bias, dtype)[:, :columns]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Any) -> tuple[Any, ...]:
        """Return the gradients of x, by the weight as it is kept, and of the bias."""
        q, scale = ctx.saved_tensors
        depth, dtype, bias_dtype = ctx.given
        grad_x = grad_bias = None
        if ctx.needs_input_grad[0]:
            weight = (q.to(grad.dtype) * scale.to(grad.dtype))[: grad.shape[1], :depth]
            grad_x = (grad @ weight).to(dtype)
        if ctx.needs_input_grad[3]:
            grad_bias = grad.sum(0).to(bias_dtype)
        return grad_x, None, None, grad_bias, None, None


# What a device does

_tried: dict[tuple[str, bool, str], str] = {}
"""By device, whether by row, and output dtype: why it does not serve, or ``""``."""


def by_row(device: Any) -> bool:
    """Say whether the device multiplies with a scale a row."""
    return not _why_not(device, rowwise=True, dtype=torch.bfloat16)


def why_none(device: Any) -> str:
    """Say why the device (a torch.device) has no fp8 product at all; ``""`` if it has one."""
    if by_row(device):
        return ""
    why = _why_not(device, rowwise=False, dtype=torch.bfloat16)
    return f"torch-fp8 does not work on {device}: {why}" if why else ""


def outputs(device: Any, *, rowwise: bool) -> tuple[Any, ...]:
    """Name the dtypes that the product comes out in on the device without being cast."""
    asked = (torch.bfloat16, torch.float16, torch.float32)
    return tuple(one for one in asked if not _why_not(device, rowwise=rowwise, dtype=one))


def _why_not(device: Any, *, rowwise: bool, dtype: Any) -> str:
    key = (str(device), rowwise, str(dtype))
    if key not in _tried:
        _tried[key] = _trial(device, rowwise=rowwise, dtype=dtype)
    return _tried[key]


@torch.no_grad()
def _trial(device: Any, *, rowwise: bool, dtype: Any) -> str:
    """Multiply once with a bias; the operands are e4m3 numbers, so that the product is exact."""
    a = torch.eye(32, 64, device=device)
    b = (torch.arange(48 * 64, device=device) % 15 - 7.0).view(48, 64)
    bias = torch.ones(48, device=device)
    try:
        left, right = (quantize(one, rowwise=rowwise) for one in (a, b))
        got = multiply(left, right, bias, dtype)
    except (MemoryError, torch.cuda.OutOfMemoryError):
        raise  # says nothing about the device
    except Exception as error:  # noqa: BLE001 - whatever torch raises is its answer
        first = (str(error).strip() or "no message").splitlines()[0][:300]
        return f"{type(error).__name__}: {first}"
    wanted = (a @ b.t() + bias).cpu()
    lost = float((got.float().cpu() - wanted).norm() / wanted.norm())
    return "" if lost <= _EXACT else f"a product was wrong by {lost:.2g}"


_EXACT = 0.01
"""What rounding the trial's product to 16 bits may lose, and no more."""
