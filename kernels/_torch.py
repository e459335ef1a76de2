"""What the kernels ask of torch: its halves, the time of an action and the memory it took.

Python 3.8 syntax, standard library only; torch comes as an argument.
"""

# ruff: noqa: ANN401 - torch comes as an argument, without its types

from __future__ import annotations

import contextlib
import os
import sys
import time
import warnings
from typing import Any, Callable, Dict, List, Tuple

TIMED = (1024, 1024, 4096)
"""Rows, depth, columns of the one product that everything is timed on, so that milliseconds
compare: the first feed-forward layer of ViT-L-14 over 1024 tokens. No probe may take more than
64 MiB of GPU memory, and 32-bit sums with their rescaled copies are ten times what a result is."""
TIMED_ON_CPU = (64, 1024, 512)
CLEARED_MIB = 40
"""What is cleared before each timed call. With the operands that is the 50 MiB of an H100's L2
cache, and all of an A100's; a GPU with more (RTX 4090: 72, B200: 126) may keep them there."""
CLEARED_TIMES = 16
"""A memory that clears 3 TB/s is busy for 0.2 ms then: the timed launches queue up behind."""
WORKSPACE = ":4096:1:16:8"
"""4 MiB for cuBLAS, as much as its manual recommends before Hopper (cublasSetWorkspace); by itself
torch takes 8 MiB, and 32 on Hopper."""
CORNER = (256, 512)
"""Rows and columns of a large result that are compared: float64 copies of all would not fit."""


def keep_small() -> None:
    """Bound cuBLAS' workspace to 4 MiB, where nobody asked for another; before its first use."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", WORKSPACE)


def has_bf16(torch: Any) -> bool:
    """Ask torch whether the current GPU has bfloat16 in hardware; emulation does not count."""
    try:
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    except TypeError:  # releases that do not emulate do not know the argument
        return bool(torch.cuda.is_bf16_supported())


def milliseconds(torch: Any, action: Callable[[], Any], repeats: int = 20) -> float:
    """Time an action on the current device: the median of ``repeats`` after 3 warm-ups.

    Measured by events on the stream. Before each, memory the size of the caches is cleared: the
    operands come from memory, and the launches wait in the queue rather than being timed. What is
    cleared is given back at once: the action's own results take its place.
    """
    with _undisturbed():
        return _milliseconds(torch, action, repeats)


def _milliseconds(torch: Any, action: Callable[[], Any], repeats: int) -> float:
    torch.cuda.empty_cache()
    times = []
    for _ in range(3 + repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        cleared = torch.empty(CLEARED_MIB << 20, dtype=torch.uint8, device="cuda")
        for _ in range(CLEARED_TIMES):
            cleared.zero_()
        del cleared
        begin.record()
        action()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return float(sorted(times[3:])[repeats // 2])


def milliseconds_on_cpu(action: Callable[[], Any], repeats: int = 5) -> float:
    """Time an action by the wall clock: the median of ``repeats`` after one warm-up."""
    action()
    times = []
    with _undisturbed():
        for _ in range(repeats):
            started = time.perf_counter()
            action()
            times.append((time.perf_counter() - started) * 1000)
    return sorted(times)[repeats // 2]


def _undisturbed() -> Any:
    """Keep the other probes waiting meanwhile; the harness brings what does that."""
    harness_brought = sys.modules.get("qdoctor_kernel__alone")
    return contextlib.nullcontext() if harness_brought is None else harness_brought.alone()


def timed_on(torch: Any, device: str, action: Callable[[], Any]) -> float:
    """Time an action on the device it runs on, in milliseconds."""
    return milliseconds_on_cpu(action) if device == "cpu" else milliseconds(torch, action)


def timed_shape(device: str) -> Tuple[int, int, int]:
    """Rows, depth and columns of the product that is timed on a device."""
    return TIMED_ON_CPU if device == "cpu" else TIMED


def gpu_mib(torch: Any) -> float:
    """Return the most GPU memory that torch has held in this process, in MiB; 0 without a GPU."""
    if not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return 0.0
    return float(torch.cuda.max_memory_reserved()) / (1 << 20)


def shape_numbers(shape: Tuple[int, int, int]) -> Dict[str, int]:
    """Name the product that was timed, as verdicts compare it."""
    return dict(zip(("rows", "depth", "columns"), shape))  # noqa: B905 - Python 3.8


def corner_error(got: Any, reference: Callable[[Any, Any], Any], a: Any, b: Any) -> float:
    """Relative Frobenius error of the first rows and columns of a product of a and b.

    ``reference(a, b)`` multiplies rows of a by rows of b in float64.
    """
    rows, columns = CORNER
    wanted = reference(a[:rows], b[:columns])
    return float((got[:rows, :columns].double() - wanted).norm() / wanted.norm())


def device(torch: Any, index: int) -> Tuple[str, List[str]]:
    """Name the device to use, and why it is not a GPU where it is none."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if torch.cuda.is_available():
            name = torch.cuda.get_device_name(index)
            return "cuda:{}".format(index), ["{}, torch {}".format(name, torch.__version__)]
    build = torch.version.cuda or "no CUDA"
    why = "torch {} (built with {}) sees no usable GPU".format(torch.__version__, build)
    return "cpu", [why, *[" ".join(str(one.message).split()) for one in caught]]


def current(torch: Any, device: str) -> Any:
    """Make a GPU current for a ``with`` block; on the CPU do nothing."""
    return contextlib.nullcontext() if device == "cpu" else torch.cuda.device(device)
