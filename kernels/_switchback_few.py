"""SwitchBack's product for few rows, quantization included, in one launch: _switchback_few.cu.

Python 3.8 syntax, standard library only at import; torch when called. Loaded by path.
"""

# ruff: noqa: ANN401, PLR0913, PLR0917 - torch's tensors and ctypes libraries have no types, and a
# launch takes what it takes

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import sys
import threading
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple


def _beside(name: str) -> Any:
    """Load the kernel file of that name in this folder, once."""
    module = sys.modules.get("qdoctor_kernel_" + name)
    if module is None:
        path = Path(__file__).resolve().with_name(name + ".py")
        spec = importlib.util.spec_from_file_location("qdoctor_kernel_" + name, str(path))
        module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        spec.loader.exec_module(module)  # type: ignore[union-attr]
        # Not before: another thread would find it half made. If both make it, the first is it.
        module = sys.modules.setdefault(module.__name__, module)
    return module


hopper: Any = _beside("_switchback_hopper")
loaded: Any = _beside("_loaded")
HIGH = 16  # columns of a tile; this and what follows as in the CUDA source
WARPS = 8  # that multiply
THREADS = 32 * (WARPS + 1)
MOST_STAGES = 32
UNIT = 64  # bytes of depth that a warp takes at a time
BARRIERS = 2 * 8 * MOST_STAGES
TOKENS = (8, 16, 32)
MOST_SPLIT = 8  # blocks of a cluster that every SM 9.0 takes (CUDA C++ Programming Guide)
MOST_PIECE = 2048  # bytes of depth of a stage
MOST_NUMBERS = 65536  # of x that a block holds in registers: half of them
SIZE = 2
INPUTS = {"bfloat16": 1, "float16": 2}
Shape = Tuple[int, int, int]


class Way(NamedTuple):
    """How it is cut: rows that it takes at most, blocks that share the depth.

    piece: bytes of depth of a stage; pieces: how many a block has.
    """

    tokens: int
    split: int
    piece: int
    pieces: int

    @property
    def stage(self) -> int:
        """Bytes of a stage: rows of W, one after the other in other banks."""
        return HIGH * (self.piece + (96 if self.piece % 128 else 32))

    def beside(self, wide: int) -> int:
        """Bytes of shared memory beside the stages, for so many columns of a cluster at most.

        Barriers, scales and magnitudes of rows; sums, scales and bias of columns.
        """
        rows = self.tokens * 4 * (1 + self.split * WARPS)
        return BARRIERS + rows + self.tokens * (wide + 4) * 4 + 2 * wide * 4

    def stages(self, wide: int) -> int:
        """How many stages serve: as many as fit, no more than are filled."""
        room = (int(hopper.MOST_SHARED) - self.beside(wide)) // self.stage
        return min(room, MOST_STAGES, wide // HIGH * self.pieces)

    def shared(self, wide: int, stages: int) -> int:
        """Bytes of shared memory."""
        return self.beside(wide) + stages * self.stage

    def clusters(self, columns: int, most: int) -> int:
        """How many clusters to launch: at most so many, unless their sums leave no room for W."""
        tiles = -(-columns // HIGH)
        count = min(tiles, max(most, 1))
        while self.stages(width(columns, count)) < 1:
            count = min(tiles, 2 * count)
        return count


def width(columns: int, clusters: int) -> int:
    """Return how many columns a cluster has at most: whole tiles."""
    return -(-columns // (HIGH * clusters)) * HIGH


def way(rows: int, depth: int, split: int) -> Optional[Way]:
    """Cut so many rows and so much depth for a cluster of that size; None: it does not fit."""
    tokens = next((one for one in TOKENS if one >= rows), None)
    if tokens is None or not 1 <= split <= MOST_SPLIT:
        return None
    part = -(-depth // split)
    pieces = -(-part // MOST_PIECE)
    piece = -(-part // (pieces * UNIT)) * UNIT
    held = -(-piece // (WARPS * UNIT)) * WARPS * UNIT * pieces * tokens
    return Way(tokens, split, piece, pieces) if held <= MOST_NUMBERS else None


def ways(rows: int, depth: int) -> List[Way]:
    """All ways, without those that only have more idle blocks than another."""
    made = [way(rows, depth, split) for split in range(1, MOST_SPLIT + 1)]
    found: Dict[Tuple[int, int], Way] = {}
    for one in made:
        if one is not None:
            found.setdefault((one.piece, one.pieces), one)
    return list(found.values())


def takes(depth: int, columns: int, dtype: str, bias: Optional[str]) -> bool:
    """Say whether x and the result may be of that dtype, and rows of that depth and columns.

    dtype and bias by torch's names; bias may be None.
    """
    return dtype in INPUTS and bool(hopper.takes(depth, columns, dtype, bias))


def proven(one: Way, dtype: str, bias: Optional[str], device: int, arch: str) -> Any:
    """Compile, load, and compare one result with the exact one. Raises hopper's NotHereError."""
    return hopper.exact(lambda: Kernel(one, dtype, bias, device, arch))


class Kernel:
    """One way compiled for one dtype of x and result and one of bias, on one device."""

    def __init__(self, one: Way, dtype: str, bias: Optional[str], device: int, arch: str) -> None:
        """Compile, and load on that device. Raises NotCompiledError, DriverError."""
        torch = importlib.import_module("torch")
        self.way, self._dtypes = one, (dtype, bias)
        self._processors = torch.cuda.get_device_properties(device).multi_processor_count
        self._driver = loaded.Driver(device)
        code = _beside("_nvrtc").machine_code(source(), arch, definitions(one, dtype, bias))
        self._function = self._driver.function(code, "product", hopper.MOST_SHARED)
        self._own = _Own()

    def __call__(
        self, x: Any, steps: float, w: Any, scale_w: Any, bias: Optional[Any], stream: int
    ) -> Any:
        """Launch: x (M x K) times w (int8 N x K) transposed, rescaled, plus the bias: M x N.

        x's scales are max |row| / steps; scale_w (float32) has N numbers, or one for all. What
        takes() says must hold, rows of x start at multiples of 16 bytes, w is contiguous, the
        device is current.
        """
        (rows, depth), columns = x.shape, w.shape[0]
        c = sys.modules["torch"].empty(rows, columns, dtype=x.dtype, device=x.device)
        scale = (scale_w.data_ptr(), int(scale_w.shape[0] == columns))
        plus = None if bias is None else bias.data_ptr()
        operands = (x.data_ptr(), w.data_ptr(), c.data_ptr())
        self.start((rows, depth, columns), operands, x.stride(0), steps, scale, plus, stream)
        return c

    def start(
        self, shape: Shape, operands: Shape, stride: int, steps: float, scale: Tuple[int, int],
        bias: Optional[int], stream: int,
    ) -> None:  # fmt: skip
        """Launch by addresses: of x, w and c; of w's scales, with the step from one to the next.

        shape: rows, depth, columns; stride: numbers from one row of x to the next.
        """
        plans = self._own.plans
        if len(plans) > hopper.REMEMBERED:  # shapes are ever new
            plans.clear()
        plan = plans.get(shape) or self._planned(*shape)
        plan.x.value, plan.w.value, plan.c.value = operands
        plan.bias.value = bias
        plan.scale.value, plan.step.value = scale
        plan.pitch.value, plan.steps.value = stride * SIZE, steps
        plan.launch.stream = stream
        status = self._driver.launch(plan.at, self._function, plan.parameters, None)
        if status:
            self._driver.launch_again(status, plan.at, self._function, plan.parameters, None)

    def differing(self) -> int:
        """Count the results that are not those of exact sums; some sums pass 2**24.

        Each of three clusters has some tiles, and only two stages, which are filled again.
        """
        torch = importlib.import_module("torch")
        out, bias = (getattr(torch, name) if name else None for name in self._dtypes)
        at = {"device": torch.device("cuda", torch.cuda.current_device())}
        rows, columns = self.way.tokens - 1, 11 * HIGH + 8
        depth = self.way.split * self.way.piece * self.way.pieces - 16
        a = torch.arange(rows * depth, **at) % 28 + 100
        a = torch.where(torch.arange(depth, **at) == depth // 2, 127, a.view(rows, depth))
        b = (torch.arange(columns * depth, **at) % 9 + 119).to(torch.int8).view(columns, depth)
        b[::3] *= -1
        power = torch.tensor([2.0 ** (row % 3 - 9) for row in range(rows)], **at)
        scale_b = torch.tensor([2.0 ** -(15 + column % 5) for column in range(columns)], **at)
        plus = None if bias is None else (torch.arange(columns, **at) % 7 - 3).to(bias)
        stream = torch.cuda.current_stream().cuda_stream
        self._plan(rows, depth, columns, 3, 2)
        c = self((a * power[:, None]).to(out), 1.0, b, scale_b, plus, stream)
        self._own.plans.clear()
        exact = (a.double() @ b.double().t()).float() * (127.0 * power)[:, None] * scale_b
        return int((c != (exact + (0.0 if plus is None else plus.float())).to(out)).sum())

    def _planned(self, rows: int, depth: int, columns: int) -> "_Plan":
        """Plan as many clusters as the GPU holds at once, and as many stages as they have room."""
        one = self.way
        most = self._processors // one.split
        wide = width(columns, one.clusters(columns, most))
        stages, count = one.stages(wide), ctypes.c_int()
        # A part of the GPU may have more multiprocessors than whole clusters take up.
        launch = loaded.Launch(
            most * one.split, 1, 1, THREADS, 1, 1, one.shared(wide, stages), None, None, 0
        )
        self._driver.make_current()
        at = ctypes.byref(launch)
        self._driver.ask("cuOccupancyMaxActiveClusters", ctypes.byref(count), self._function, at)
        clusters = one.clusters(columns, min(most, count.value))
        return self._plan(rows, depth, columns, clusters, one.stages(width(columns, clusters)))

    def _plan(self, rows: int, depth: int, columns: int, clusters: int, stages: int) -> "_Plan":
        """Make what a launch of this shape needs, once a thread."""
        shared = self.way.shared(width(columns, clusters), stages)
        launch = loaded.early(clusters * self.way.split, THREADS, shared)
        w, x, c, scale, bias = (ctypes.c_void_p() for _ in range(5))
        pitch, steps, step = ctypes.c_longlong(), ctypes.c_float(), ctypes.c_int()
        sizes = tuple(ctypes.c_int(size) for size in (rows, columns, depth))
        shares = map(ctypes.c_int, (stages, *divmod(-(-columns // HIGH), clusters)))
        values = (w, x, pitch, steps, c, scale, bias, *sizes, step, *shares)  # as the source takes
        parameters = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
        plan = _Plan(
            launch, ctypes.byref(launch), parameters, w, x, c, scale, bias, pitch, steps, step,
            values,
        )  # fmt: skip
        self._own.plans[rows, depth, columns] = plan
        return plan


class _Plan(NamedTuple):
    launch: Any
    at: Any
    parameters: Any
    w: Any
    x: Any
    c: Any
    scale: Any
    bias: Any
    pitch: Any
    steps: Any
    step: Any
    values: Any


class _Own(threading.local):
    """What launches write into and the driver reads: a thread's own."""

    def __init__(self) -> None:
        self.plans: Dict[Shape, _Plan] = {}


def source() -> str:
    """Write the CUDA source: the files beside this one."""
    return str(hopper.TYPES + hopper.texts("_switchback_pieces.cu", "_switchback_few.cu"))


def definitions(one: Way, dtype: str, bias: Optional[str]) -> List[str]:
    """Give NVRTC's options for a way and dtypes of x and bias (as the sources number them)."""
    names = {
        "TOKENS": one.tokens, "SPLIT": one.split, "PIECE": one.piece, "PIECES": one.pieces,
        "IN": INPUTS[dtype], "OUT": hopper.KINDS[dtype], "BIAS": hopper.KINDS[bias] if bias else 0,
    }  # fmt: skip
    return ["-std=c++17", *("-D{}={}".format(name, value) for name, value in names.items())]
