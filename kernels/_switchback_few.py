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
WIDE = 64  # columns of a cluster; as in the CUDA source
THREADS = 256
PITCH = WIDE + 4
TOKENS = (8, 16, 32, 64)
MOST_SPLIT = 8  # blocks of a cluster that every SM 9.0 takes (CUDA C++ Programming Guide)
MOST_NUMBERS = 65536  # of x that a block holds in registers: half of them
SIZE = 2
INPUTS = {"bfloat16": 1, "float16": 2}
Shape = Tuple[int, int, int]


class Way(NamedTuple):
    """How it is cut: rows that it takes at most, blocks that share the depth, steps of each."""

    tokens: int
    split: int
    steps: int

    def shared(self) -> int:
        """Bytes of shared memory: W, x, sums of two groups, magnitudes, scales, barriers."""
        tiles = self.steps * (WIDE + self.tokens) * hopper.DEPTH
        sums = 2 * self.tokens * PITCH * 4
        return int(tiles + sums + (self.split + 1) * self.tokens * 4 + self.steps * 8)


def way(rows: int, depth: int, split: int) -> Optional[Way]:
    """Cut so many rows and so much depth for a cluster of that size; None: it does not fit."""
    tokens = next((one for one in TOKENS if one >= rows), None)
    if tokens is None or not 1 <= split <= MOST_SPLIT:
        return None
    made = Way(tokens, split, -(-depth // (split * hopper.DEPTH)))
    fits = made.shared() <= hopper.MOST_SHARED
    return made if fits and made.steps * hopper.DEPTH * tokens <= MOST_NUMBERS else None


def ways(rows: int, depth: int) -> List[Way]:
    """All ways, without those that only have more idle blocks than another."""
    made = [way(rows, depth, split) for split in range(1, MOST_SPLIT + 1)]
    steps: Dict[int, Way] = {}
    for one in made:
        if one is not None:
            steps.setdefault(one.steps, one)
    return list(steps.values())


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
        self.way, self._dtypes = one, (dtype, bias)
        self._driver = loaded.Driver(device)
        words = definitions(one, dtype, bias)
        code = _beside("_nvrtc").machine_code(source(one), arch, words)
        self._function = self._driver.function(code, "product", one.shared())
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
        own = self._own
        if len(own.maps) + len(own.plans) > hopper.REMEMBERED:  # shapes or addresses are ever new
            own.forget()
        plan = own.plans.get(shape) or self._plan(*shape)
        at_x, at_w, at_c = operands
        known = own.maps.get((at_w, shape[2], shape[1])) or self._map(at_w, shape[2], shape[1])
        plan.parameters[0] = known[0]
        plan.x.value, plan.c.value, plan.bias.value = at_x, at_c, bias
        plan.scale.value, plan.step.value = scale
        plan.pitch.value, plan.steps.value = stride * SIZE, steps
        plan.launch.stream = stream
        status = self._driver.launch(plan.at, self._function, plan.parameters, None)
        if status:
            self._driver.launch_again(status, plan.at, self._function, plan.parameters, None)

    def differing(self) -> int:
        """Count the results that are not those of exact sums; some sums pass 2**24."""
        torch = importlib.import_module("torch")
        out, bias = (getattr(torch, name) if name else None for name in self._dtypes)
        at = {"device": torch.device("cuda", torch.cuda.current_device())}
        rows, columns = self.way.tokens - 1, 2 * WIDE + 16
        depth = self.way.split * self.way.steps * hopper.DEPTH - 16
        a = torch.arange(rows * depth, **at) % 28 + 100
        a = torch.where(torch.arange(depth, **at) == depth // 2, 127, a.view(rows, depth))
        b = (torch.arange(columns * depth, **at) % 9 + 119).to(torch.int8).view(columns, depth)
        b[::3] *= -1
        power = torch.tensor([2.0 ** (row % 3 - 9) for row in range(rows)], **at)
        scale_b = torch.tensor([2.0 ** -(15 + column % 5) for column in range(columns)], **at)
        plus = None if bias is None else (torch.arange(columns, **at) % 7 - 3).to(bias)
        stream = torch.cuda.current_stream().cuda_stream
        c = self((a * power[:, None]).to(out), 1.0, b, scale_b, plus, stream)
        exact = (a.double() @ b.double().t()).float() * (127.0 * power)[:, None] * scale_b
        return int((c != (exact + (0.0 if plus is None else plus.float())).to(out)).sum())

    def _plan(self, rows: int, depth: int, columns: int) -> "_Plan":
        """Make what a launch of this shape needs, once a thread."""
        launch = loaded.early(-(-columns // WIDE) * self.way.split, THREADS, self.way.shared())
        x, c, scale, bias = (ctypes.c_void_p() for _ in range(4))
        pitch, steps, step = ctypes.c_longlong(), ctypes.c_float(), ctypes.c_int()
        sizes = tuple(ctypes.c_int(size) for size in (rows, columns, depth))
        values = (x, pitch, steps, c, scale, bias, *sizes, step)  # as the CUDA source takes them
        at = (None, *map(ctypes.addressof, values))
        parameters = (ctypes.c_void_p * len(at))(*at)
        plan = _Plan(
            launch, ctypes.byref(launch), parameters, x, c, scale, bias, pitch, steps, step, sizes
        )
        self._own.plans[rows, depth, columns] = plan
        return plan

    def _map(self, pointer: int, rows: int, columns: int) -> Tuple[int, Any]:
        """Describe the weight to the copy engine: the address of its map, and what holds it."""
        room = ctypes.create_string_buffer(128 + 63)  # a map is 128 bytes, aligned to 64
        at = (ctypes.addressof(room) + 63) & ~63
        self._driver.ask(
            "cuTensorMapEncodeTiled", ctypes.c_void_p(at), hopper.INT8, 2, ctypes.c_void_p(pointer),
            (ctypes.c_uint64 * 2)(columns, rows), (ctypes.c_uint64 * 1)(columns),
            (ctypes.c_uint32 * 2)(hopper.DEPTH, WIDE), (ctypes.c_uint32 * 2)(1, 1),
            0, hopper.SWIZZLE_128, hopper.PROMOTE_128, 0,
        )  # fmt: skip
        self._own.maps[pointer, rows, columns] = at, room
        return at, room


class _Plan(NamedTuple):
    launch: Any
    at: Any
    parameters: Any
    x: Any
    c: Any
    scale: Any
    bias: Any
    pitch: Any
    steps: Any
    step: Any
    sizes: Any


class _Own(threading.local):
    """What launches write into and the driver reads: a thread's own."""

    def __init__(self) -> None:
        self.plans: Dict[Shape, _Plan] = {}
        self.maps: Dict[Shape, Tuple[int, Any]] = {}

    def forget(self) -> None:
        """Start anew."""
        self.plans.clear()
        self.maps.clear()


def source(one: Way) -> str:
    """Write the CUDA source: the instruction that a way needs, and the files beside this one."""
    return str(
        hopper.multiply(one.tokens) + hopper.texts("_switchback_pieces.cu", "_switchback_few.cu")
    )


def definitions(one: Way, dtype: str, bias: Optional[str]) -> List[str]:
    """Give NVRTC's options for a way and dtypes of x and bias (as the sources number them)."""
    names = {
        "TOKENS": one.tokens, "SPLIT": one.split, "STEPS": one.steps, "IN": INPUTS[dtype],
        "OUT": hopper.KINDS[dtype], "BIAS": hopper.KINDS[bias] if bias else 0,
    }  # fmt: skip
    return ["-std=c++17", *("-D{}={}".format(name, value) for name, value in names.items())]
