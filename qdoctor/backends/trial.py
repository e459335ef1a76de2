"""Whether a backend's layer works on a device: a small one is made there and run, once.

No release and no GPU is known by name here: what the installed library does decides.
"""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 - runs in the user's process, on demand

if TYPE_CHECKING:
    from qdoctor.backends.kind import Kind

BOUND = 0.18
"""Relative error that the output may have: half as much again as 4 bits lose on Gaussian data
(0.12)."""
ROWS = 48
COLUMNS = 128
_known: dict[tuple[str, str, str, int], str] = {}
"""By backend, device, dtype and depth: why it fails there, or ``""``."""


def failure(kind: Kind, linear: Any) -> str:
    """Say how the backend fails on this layer's device, dtype and depth; ``""`` if it works.

    The depth counts: bitsandbytes 0.50.2 unpacks 4-bit weights wrongly on CPUs with AVX512 where
    in_features is a multiple of 16 and not of 64 (by 0.24, and says nothing). Running out of memory
    says nothing about the backend and is raised as it is.
    """
    weight = linear.weight
    key = (kind.name, str(weight.device), str(weight.dtype), linear.in_features)
    if key not in _known:
        _known[key] = _tried(kind, linear)
    return _known[key]


def _tried(kind: Kind, like: Any) -> str:
    device = like.weight.device
    try:
        lost = _error(kind, like)
    except (MemoryError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever a library raises is its answer
        first = (str(error).strip() or "no message").splitlines()[0][:300]
        return f"{kind.name} does not work on {device}: {type(error).__name__}: {first}"
    if lost <= BOUND:  # False for NaN
        return ""
    return (
        f"{kind.name} computes wrongly on {device}: relative error {lost:.2g} in a trial with "
        f"{like.in_features} inputs"
    )


@torch.no_grad()  # type: ignore[untyped-decorator]
def _error(kind: Kind, like: Any) -> float:
    """Compare a layer of the backend with the linear layer that it replaces."""
    depth, device, dtype = like.in_features, like.weight.device, like.weight.dtype
    draw = torch.Generator().manual_seed(7)  # the caller's random numbers stay as they are

    def gaussian(*size: int) -> Any:
        return torch.randn(size, generator=draw).to(device=device, dtype=dtype)

    linear = torch.nn.Linear(depth, COLUMNS, device="meta", dtype=dtype)
    linear.weight = torch.nn.Parameter(gaussian(COLUMNS, depth))
    linear.bias = torch.nn.Parameter(gaussian(COLUMNS))
    x = gaussian(ROWS, depth)
    wanted = torch.nn.functional.linear(x.double(), linear.weight.double(), linear.bias.double())
    got = kind.replaced(linear.eval())(x)
    return float((got.double() - wanted).norm() / wanted.norm())
