"""SwitchBack's product that quantizes its rows itself, in one launch: _switchback_rows.cu.

Warps that are idle in _switchback_hopper.cu quantize rows ahead of the tiles that need them, so
that reading the activations costs no time of its own. Python 3.8 syntax, standard library only at
import; torch when called. Loaded by path.
"""

# ruff: noqa: ANN401, PLR0913, PLR0917 - torch's tensors and ctypes libraries have no types, and a
# launch takes what it takes

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any, List, NamedTuple, Optional, Tuple

UNIT = 8  # numbers of x that a lane takes at a time; as in the CUDA source
WARP = 32 * UNIT
COUNTER = 8  # 32-bit words from one counter to the next; as in the CUDA source
SIZE = 2  # bytes of a number of x
INPUTS = {"bfloat16": 1, "float16": 2}  # as the CUDA source numbers them
Shape = Tuple[int, int, int]
Pair = Tuple[int, int]


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


class Way(NamedTuple):
    """How it is cut and fed.

    cut: the fields of _switchback_hopper.Cut; group: rows of tiles that are walked together;
    scalers: warps of a block that quantize, 1 to 3; lead: how many rows they may be ahead; slots:
    rows of each that are under way; held: of a row, how many units a lane keeps in registers (the
    rest is read twice), at most.
    """

    cut: Tuple[Any, ...]
    group: int
    scalers: int
    lead: int
    slots: int = 2
    held: int = 16


class _Given(ctypes.Structure):
    """Given of the CUDA source."""

    _fields_ = [
        ("x", ctypes.c_void_p), ("pitch", ctypes.c_longlong), ("q", ctypes.c_void_p),
        ("scale", ctypes.c_void_p), ("counters", ctypes.c_void_p), ("steps", ctypes.c_float),
        ("lead", ctypes.c_int), ("times", ctypes.c_void_p),
    ]  # fmt: skip


def takes(depth: int, columns: int, dtype: str, bias: Optional[str]) -> bool:
    """Say whether x and the result may be of that dtype, and rows of that depth and columns.

    dtype and bias by torch's names; bias may be None.
    """
    return dtype in INPUTS and bool(hopper.takes(depth, columns, dtype, bias))


def units(depth: int) -> int:
    """Count the units that a lane has of a row of so many numbers, the last one perhaps empty."""
    return -(-depth // WARP)


def panels(way: Way, count: int) -> int:
    """How many panels of C a warp gets beside rows of so many units; 0: there is no room."""
    fitting = [panel for panel in (4, 3, 2, 1) if shared(way, count, panel) <= hopper.MOST_SHARED]
    return fitting[0] if fitting else 0


def shared(way: Way, count: int, panel: int) -> int:
    """Bytes of shared memory: the product's own with so many panels, then barriers and rows."""
    cut, rows = hopper.Cut(*way.cut), way.scalers * way.slots
    own = (cut.shared(SIZE, panel) + 127) // 128 * 128
    return int(own + (8 + 8 * rows + 15) // 16 * 16 + rows * count * WARP * SIZE)


def proven(
    way: Way, dtype: str, bias: Optional[str], depth: int, device: int, arch: str
) -> "Kernel":
    """Compile, load, and compare one result with the exact one. Raises hopper's NotHereError."""
    kernel: Kernel = hopper.exact(lambda: Kernel(way, dtype, bias, depth, device, arch))
    return kernel


class Kernel(hopper.Kernel):  # type: ignore[misc]
    """One way compiled for one dtype of x and result, one of bias, and depths of as many units."""

    def __init__(
        self, way: Way, dtype: str, bias: Optional[str], depth: int, device: int, arch: str,
        *, traced: bool = False,
    ) -> None:  # fmt: skip
        """Compile, and load on that device. Raises NotCompiledError, DriverError, NotHereError.

        traced: each launch writes to ``times`` (int64, 16 a block) when what happened, in ns: the
        copying starts, waited for the first and for the last tile's rows, ends; a row is there,
        the first is announced, none is left; all is multiplied. Then the clocks that the first
        warp spent on waiting for rows, reading, the next row, announcing, writing; how many rows.
        """
        self.times: Any = None
        self._way, self._units, self._device = way, units(depth), device
        cut, panel = hopper.Cut(*way.cut), panels(way, self._units)
        if not panel:
            text = "rows of {} numbers do not fit beside {}".format(depth, way)
            raise hopper.NotHereError(text)
        words = definitions(way, dtype, bias, self._units) + (["-DTRACE"] if traced else [])
        code = _beside("_nvrtc").machine_code(source(cut), arch, words)
        self._load(code, cut, (dtype, bias), device, shared(way, self._units, panel))

    def __call__(
        self, x: Any, steps: float, w: Any, scale_w: Any, bias: Optional[Any], stream: int
    ) -> Tuple[Any, Any, Any]:
        """Launch: (c of x's dtype M x N, int8 rows M x K, float32 scales M).

        scale = max |row| / steps; w is int8 (N x K), scale_w (float32) has N numbers, or one for
        all. What takes() says must hold, rows of x start at multiples of 16 bytes, w is
        contiguous, the device is current, stream is its current one.
        """
        torch = sys.modules["torch"]
        (rows, depth), columns = x.shape, w.shape[0]
        q = torch.empty(rows, depth, dtype=torch.int8, device=x.device)
        scale = torch.empty(rows, dtype=torch.float32, device=x.device)
        c = torch.empty(rows, columns, dtype=x.dtype, device=x.device)
        given = (scale_w.data_ptr(), int(scale_w.shape[0] == columns))
        operands, made = (
            (x.data_ptr(), w.data_ptr(), c.data_ptr()),
            (q.data_ptr(), scale.data_ptr()),
        )
        plus = None if bias is None else bias.data_ptr()
        shape = (rows, depth, columns)
        self.start(shape, operands, made, x.stride(0), steps, given, plus, stream)
        return c, q, scale

    def start(
        self, shape: Shape, operands: Shape, made: Pair, stride: int, steps: float, scale: Pair,
        bias: Optional[int], stream: int,
    ) -> None:  # fmt: skip
        """Launch by addresses: of x, w and c; of x's int8 rows and their scales, which are made.

        shape: rows, depth, columns; stride: numbers from one row of x to the next; scale: the
        address of w's scales, with the step from one to the next. Raises ValueError for a depth of
        another number of units.
        """
        (rows, depth, _), (at_x, at_w, at_c), (at_q, at_scale) = shape, operands, made
        if units(depth) != self._units:
            text = "it is for rows of {} units, not {}".format(self._units, units(depth))
            raise ValueError(text)
        counters = self._counters(rows)
        times = None if self.times is None else self.times.data_ptr()
        given = _Given(
            at_x, stride * SIZE, at_q, at_scale, counters.data_ptr(), steps, self._way.lead, times
        )
        at = ctypes.addressof(given)
        super().start(shape, (at_q, at_w, at_c), (at_scale, *scale), bias, stream, at)

    def differing(self) -> int:
        """Count the results that are not those of exact sums; some sums pass 2**24."""
        torch = importlib.import_module("torch")
        out, bias = (getattr(torch, name) if name else None for name in self._dtypes)
        at = {"device": torch.device("cuda", torch.cuda.current_device())}
        rows, columns = 2 * self._cut.m + 41, self._cut.n + 16
        depth = self._units * WARP - 16
        # Whole numbers up to 127 times a power of two: they are their own int8.
        a = torch.arange(rows * depth, **at) % 28 + 100
        a = torch.where(torch.arange(depth, **at) == depth // 2, 127, a.view(rows, depth))
        b = (torch.arange(columns * depth, **at) % 9 + 119).to(torch.int8).view(columns, depth)
        b[::3] *= -1
        power = torch.tensor([2.0 ** (row % 3 - 9) for row in range(rows)], **at)
        scale_b = torch.tensor([2.0 ** -(15 + column % 5) for column in range(columns)], **at)
        plus = None if bias is None else (torch.arange(columns, **at) % 7 - 3).to(bias)
        stream = torch.cuda.current_stream().cuda_stream
        c, q, scale = self((a * power[:, None]).to(out), 1.0, b, scale_b, plus, stream)
        exact = (a.double() @ b.double().t()).float() * (127.0 * power)[:, None] * scale_b
        exact = (exact + (0.0 if plus is None else plus.float())).to(out)
        return int((c != exact).sum()) + int((q != a).sum()) + int((scale != 127.0 * power).sum())

    def _counters(self, rows: int) -> Any:
        """Return a launch's counters, zeros. Nothing of them is kept from one to the next.

        What a process keeps must not come from a graph's own memory, and nothing tells whether
        memory does: torch.compile takes it from there a first time before it captures.
        """
        torch = sys.modules["torch"]
        words = (2 + -(-rows // self._cut.m)) * COUNTER
        device = torch.device("cuda", self._device)
        return torch.zeros(words, dtype=torch.int32, device=device)


def source(cut: Any) -> str:
    """Write the CUDA source: the instruction that a cut needs, and the files beside this one."""
    names = ("pieces", "rows", "cut", "hopper")
    return str(
        hopper.multiply(cut.n) + hopper.texts(*("_switchback_{}.cu".format(one) for one in names))
    )


def definitions(way: Way, dtype: str, bias: Optional[str], count: int) -> List[str]:
    """Give NVRTC's options for a way, dtypes of x and bias, and so many units of a row."""
    words = hopper.definitions(hopper.Cut(*way.cut), dtype, bias)
    drop = ("-DGROUP=", "-DPANELS=", "-DFUSED=")
    names = {
        "FUSED": 1, "IN": INPUTS[dtype], "SCALERS": way.scalers, "GROUP": way.group,
        "PANELS": panels(way, count), "SLOTS": way.slots, "UNITS": count,
        "HELD": min(way.held, count),
    }  # fmt: skip
    kept = [word for word in words if not word.startswith(drop)]
    return kept + ["-D{}={}".format(name, value) for name, value in names.items()]
