"""What the kernels ask of torch: its halves, the time of an action and the memory it took.

Python 3.8 syntax, standard library only; torch comes as an argument.
"""

# ruff: noqa: ANN401 - torch comes as an argument, without its types

from __future__ import annotations

import contextlib
import gc
import importlib.util
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

TIMED = (1024, 1024, 4096)
"""Rows, depth, columns of the one product that everything is timed on, so that milliseconds
compare: the first feed-forward layer of ViT-L-14 over 1024 tokens. No probe may take more than
64 MiB of GPU memory, and 32-bit sums with their rescaled copies are ten times what a result is."""
TIMED_ON_CPU = (64, 1024, 512)
ROOM_MIB = 54
"""What a kernel may take, first taken as one block that torch cuts everything from: left alone, it
takes 20 MiB for each few that are asked for. Small tensors take up to 8 MiB beside it."""
CLEARED_MIB, PIECE_MIB = 32, 4
"""What is cleared before each timed call, in pieces that fit between what lives. With the operands
that is more than an A100's L2 cache (40 MiB) and most of an H100's (50); a GPU with more (RTX 4090:
72, B200: 126) may keep operands there, as it keeps those of a layer whose input was just made."""
WARM_UPS = 5
SPUN = 1000000
"""Clock cycles, half a millisecond, in which the timed launches queue up."""
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
    """Time an action on the current device: the median of ``repeats`` after 5 warm-ups.

    Measured by events on the stream. Before each, memory the size of the caches is cleared, so that
    operands come from memory, and the GPU is kept busy for a moment, so that launches wait in the
    queue rather than being timed: what is measured is the GPU's time, unless the action itself
    waits for the GPU or takes longer to launch than that moment.
    """
    times = []
    for _ in range(WARM_UPS):
        _timed_once(torch, action)
    with _undisturbed():
        for _ in range(repeats):
            times.append(_timed_once(torch, action))  # noqa: PERF401 - one by one, as they are made
    return float(sorted(times)[repeats // 2])


def _timed_once(torch: Any, action: Callable[[], Any]) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    _clear(torch)
    spin = getattr(torch.cuda, "_sleep", None)
    if spin is not None:
        spin(SPUN)
    begin.record()
    action()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end))


def _clear(torch: Any) -> None:
    """Write to as much memory as caches hold, and give it back: the action's results take it."""
    count, size = CLEARED_MIB // PIECE_MIB, PIECE_MIB << 20
    pieces = [torch.empty(size, dtype=torch.uint8, device="cuda") for _ in range(count)]
    for piece in pieces:
        piece.zero_()


def milliseconds_on_cpu(action: Callable[[], Any], repeats: int = 9) -> float:
    """Time an action by the wall clock: the fastest of ``repeats`` after one warm-up.

    Whatever else runs on a CPU makes an action slower by any factor, and never faster.
    """
    action()
    times = []
    with _undisturbed():
        for _ in range(repeats):
            started = time.perf_counter()
            action()
            times.append((time.perf_counter() - started) * 1000)
    return min(times)


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


def start_afresh(torch: Any) -> None:
    """Give back the GPU memory that a variant left: it would add to what the next one takes.

    cuBLAS' workspace is given back as well, where torch tells how: it would lie in the midst of the
    next one's room.
    """
    if not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return
    gc.collect()
    getattr(torch._C, "_cuda_clearCublasWorkspaces", int)()  # noqa: SLF001 - it has no other name
    torch.cuda.empty_cache()


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
    """Name the device to use, and why it is not a GPU where it is none.

    Raises _outcomes.Skipped where there are GPUs, and not that one.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if torch.cuda.is_available():
            if index >= torch.cuda.device_count():
                text = "no CUDA device {}: torch sees {}".format(index, torch.cuda.device_count())
                raise _beside("_outcomes").Skipped("no-gpu", text)
            name = torch.cuda.get_device_name(index)
            return "cuda:{}".format(index), ["{}, torch {}".format(name, torch.__version__)]
    build = torch.version.cuda or "no CUDA"
    why = "torch {} (built with {}) sees no usable GPU".format(torch.__version__, build)
    return "cpu", [why, *[" ".join(str(one.message).split()) for one in caught]]


@contextlib.contextmanager
def current(torch: Any, device: str) -> Iterator[None]:
    """Make a GPU current for a ``with`` block, with room taken at first; on the CPU do nothing."""
    if device == "cpu":
        yield
        return
    with torch.cuda.device(device):
        _take_room(torch)
        yield


def _take_room(torch: Any) -> None:
    """Let torch hold one free block; where there is no room for it, it asks as it goes."""
    if torch.cuda.memory_reserved() > PIECE_MIB << 20:
        return
    with contextlib.suppress(RuntimeError):  # out of memory, under its names since torch 1.8
        torch.empty(ROOM_MIB << 20, dtype=torch.uint8, device="cuda")


def _beside(name: str) -> Any:
    module = sys.modules.get("qdoctor_kernel_" + name)
    if module is None:
        path = Path(__file__).resolve().with_name(name + ".py")
        spec = importlib.util.spec_from_file_location("qdoctor_kernel_" + name, str(path))
        module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        sys.modules[spec.name] = module  # type: ignore[union-attr]
        spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module
