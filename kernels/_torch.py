"""What the kernels ask of torch: its halves and the time of an action on the GPU.

Python 3.8 syntax, standard library only; torch comes as an argument.
"""

# ruff: noqa: ANN401 - torch comes as an argument, without its types

from __future__ import annotations

from typing import Any, Callable

FLUSHED_MIB = 256
"""More than any L2 cache holds, and at 3 TB/s some 0.1 ms in which launches queue up."""


def has_bf16(torch: Any) -> bool:
    """Ask torch whether the current GPU has bfloat16 in hardware; emulation does not count."""
    try:
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    except TypeError:  # releases that do not emulate do not know the argument
        return bool(torch.cuda.is_bf16_supported())


def milliseconds(torch: Any, action: Callable[[], Any], repeats: int = 20) -> float:
    """Time an action on the current device: the median of ``repeats`` after 3 warm-ups.

    Measured by events on the stream. Before each, a buffer larger than the caches is cleared: the
    operands come from memory, and the launches wait in the queue rather than being timed.
    """
    flushed = torch.empty(FLUSHED_MIB << 20, dtype=torch.uint8, device="cuda")
    times = []
    for _ in range(3 + repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        flushed.zero_()
        flushed.zero_()
        begin.record()
        action()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return float(sorted(times[3:])[repeats // 2])
