"""SwitchBack's product that quantizes its rows in chunks of their depth: _switchback_chunks.cu.

For as many rows as one wave of tiles has: a tile need not wait until all of its rows have been
read, only for their first chunk. A chunk's scale is the largest magnitude of the row so far, so the
int8 rows are not those of quantize_rows(); the product is not less exact, and the last scale is
the row's. Python 3.8 syntax, standard library only at import; torch when called. Loaded by path.
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

UNIT = 256  # numbers of x that a warp takes at a time; as in the CUDA source
SIZE = 2  # bytes of a number of x
WARPS, BATCH, QUANTIZING = 12, 3, 3  # of a block: warps, rows of each at first, warps that go on
TILES = 64  # of rows, at most; as in the CUDA source
MOST_UNITS = 10  # of a chunk: a warp holds BATCH of them in registers
COOPERATIVE = 2
"""CU_LAUNCH_ATTRIBUTE_COOPERATIVE"""
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
loaded: Any = _beside("_loaded")


class Way(NamedTuple):
    """How it is cut and fed.

    m64: pieces of 64 rows that each of the two groups multiplies; n: columns of a tile; stages:
    tiles in flight; chunks: of the depth; slots: rows that land for each warp that quantizes beside
    the product; extra: rows of which a multiplying warp does the second chunk before it multiplies.
    """

    m64: int
    n: int
    stages: int
    chunks: int
    slots: int
    extra: int

    @property
    def cut(self) -> Any:
        """The product's cut: both groups share a tile, two blocks share B."""
        return hopper.Cut(self.m64, self.n, self.stages, False, 2, True)  # noqa: FBT003 - its fields

    def units(self, depth: int) -> int:
        """How many UNITs a chunk has."""
        return depth // (self.chunks * UNIT)

    def padded(self, rows: int) -> int:
        """Rows in whole pairs of tiles: of so many there are magnitudes for each chunk."""
        pair = 2 * self.cut.m
        return int(-(-rows // pair) * pair)


def takes(way: Way, shape: Shape, processors: int, dtype: str, bias: Optional[str]) -> bool:
    """Say whether it serves so many rows, depth and columns on so many multiprocessors.

    dtype (of x and the result) and bias by torch's names; bias may be None.
    """
    rows, depth, columns = shape
    if dtype not in INPUTS or not hopper.takes(depth, columns, dtype, bias):
        return False
    chunk = way.chunks * UNIT
    deep = depth // way.chunks // hopper.DEPTH
    whole = depth % chunk == 0 and way.units(depth) <= MOST_UNITS and deep >= way.stages
    few = rows <= WARPS * BATCH * _blocks(processors) and rows <= TILES * way.cut.m
    return bool(whole and few and _fits(way, depth))


def _blocks(processors: int) -> int:
    """Count the blocks of a launch: one a multiprocessor, in pairs."""
    return processors // 2 * 2


def panels(way: Way) -> int:
    """How many panels of C a warp gets; 0: there is no room."""
    fitting = [count for count in (4, 3, 2, 1) if shared(way, count) <= hopper.MOST_SHARED]
    return fitting[0] if fitting else 0


def shared(way: Way, count: int) -> int:
    """Bytes of shared memory: with so many panels, magnitudes of rows, and rows' barriers.

    The groups share the scales and bias of columns, of which the product's own have one each.
    """
    return int(way.cut.shared(SIZE, count) - way.n * 8 + way.cut.m * 4 + WARPS * way.slots * 8)


def _fits(way: Way, depth: int) -> bool:
    """Say whether rows find room where C's panels will be."""
    cut = way.cut
    room = 8 * panels(way) * hopper.ROWS_OF_PANEL * cut.panel(SIZE) * SIZE
    return bool(QUANTIZING * way.slots * way.units(depth) * UNIT * SIZE <= room)


def proven(
    way: Way, dtype: str, bias: Optional[str], depth: int, device: int, arch: str
) -> "Kernel":
    """Compile, load, and compare one result with the exact one. Raises hopper's NotHereError."""
    kernel: Kernel = hopper.exact(lambda: Kernel(way, dtype, bias, depth, device, arch))
    return kernel


class _Given(ctypes.Structure):
    """Given of the CUDA source."""

    _fields_ = [
        ("x", ctypes.c_void_p), ("pitch", ctypes.c_longlong), ("q", ctypes.c_void_p),
        ("most", ctypes.c_void_p), ("c", ctypes.c_void_p), ("steps", ctypes.c_float),
        ("padded", ctypes.c_int),
    ]  # fmt: skip


_TOGETHER = loaded.Attribute(COOPERATIVE, 0, (ctypes.c_int * 16)(1))


class Kernel(hopper.Kernel):  # type: ignore[misc]
    """One way compiled for one dtype of x and result, one of bias, and one depth."""

    def __init__(
        self, way: Way, dtype: str, bias: Optional[str], depth: int, device: int, arch: str
    ) -> None:
        """Compile, and load on that device. Raises NotCompiledError, DriverError, NotHereError."""
        self._way, self._depth = way, depth
        code = _beside("_nvrtc").machine_code(
            source(way), arch, definitions(way, dtype, bias, depth)
        )
        self._load(code, way.cut, (dtype, bias), device, shared(way, panels(way)))

    def __call__(
        self, x: Any, steps: float, w: Any, scale_w: Any, bias: Optional[Any], stream: int
    ) -> Any:
        """Launch, and return c of x's dtype (M x N).

        Rows are quantized with scales max |row| / steps; w is int8 (N x K), scale_w (float32) has
        N numbers, or one for all. What takes() says must hold, rows of x start at multiples of 16
        bytes, w is contiguous, the device is current, stream is its current one.
        """
        torch = sys.modules["torch"]
        (rows, depth), columns = x.shape, w.shape[0]
        q = torch.empty(rows, depth, dtype=torch.int8, device=x.device)
        most = torch.empty(
            self._way.chunks * self._way.padded(rows), dtype=torch.float32, device=x.device
        )
        c = torch.empty(rows, columns, dtype=x.dtype, device=x.device)
        operands, made = (
            (x.data_ptr(), w.data_ptr(), c.data_ptr()),
            (q.data_ptr(), most.data_ptr()),
        )
        scale = (scale_w.data_ptr(), int(scale_w.shape[0] == columns))
        plus = None if bias is None else bias.data_ptr()
        self.start((rows, depth, columns), operands, made, x.stride(0), steps, scale, plus, stream)
        return c

    def start(
        self, shape: Shape, operands: Shape, made: Pair, stride: int, steps: float, scale: Pair,
        bias: Optional[int], stream: int,
    ) -> None:  # fmt: skip
        """Launch by addresses: of x, w and c; of int8 rows and float32 magnitudes, which are made.

        shape: rows, depth, columns; made: room for M x K bytes, and for chunks * padded(M) numbers;
        stride: numbers from one row of x to the next; scale: the address of w's scales, with the
        step from one to the next. Raises ValueError for another depth.
        """
        (rows, depth, _), (at_x, at_w, at_c), (at_q, at_most) = shape, operands, made
        if depth != self._depth:
            text = "it is for a depth of {}, not {}".format(self._depth, depth)
            raise ValueError(text)
        padded = self._way.padded(rows)
        given = _Given(at_x, stride * SIZE, at_q, at_most, at_c, steps, padded)
        at = ctypes.addressof(given)
        super().start(shape, (at_q, at_w, at_c), (at_most, *scale), bias, stream, at)

    def _plan(self, rows: int, depth: int, columns: int) -> Any:
        """Make what a launch of this shape needs: all blocks run at once, or none does."""
        plan = super()._plan(rows, depth, columns)
        plan.launch.grid = _blocks(self._processors)
        plan.launch.attributes, plan.launch.count = ctypes.addressof(_TOGETHER), 1
        return plan

    def differing(self) -> int:
        """Count the results that are not those of exact sums; some sums pass 2**24.

        A third of the rows have scales that double with each chunk, a third nothing in the first.
        """
        torch = importlib.import_module("torch")
        way, depth = self._way, self._depth
        out, bias = (getattr(torch, name) if name else None for name in self._dtypes)
        at = {"device": torch.device("cuda", torch.cuda.current_device())}
        rows, columns = 30 * _blocks(self._processors) + 41, way.n + 16
        # Whole numbers up to 127 times a power of two: they are their own int8. Those of w are
        # multiples of what sums are halved by: nothing is rounded.
        a = (torch.arange(depth, **at) % 28 + 100).to(torch.int16)
        a[:: depth // way.chunks // 2] = 127
        chunk = torch.arange(depth, **at) // (depth // way.chunks)
        b = (torch.arange(columns * depth, **at) % 3 + 13).view(columns, depth) * 8
        b[::3] *= -1
        kind = torch.arange(rows, **at) % 3
        last = way.chunks - 1
        grown = torch.stack(
            [torch.ones_like(chunk) / 1.0, 2.0 ** (chunk - last), (chunk > 0) / 1.0]
        )
        power = 2.0 ** (torch.arange(rows, **at) % 4 - 9)
        scale_b = torch.tensor([2.0 ** -(15 + column % 5) for column in range(columns)], **at)
        plus = None if bias is None else (torch.arange(columns, **at) % 7 - 3).to(bias)
        x = (a * grown).to(out)[kind] * power[:, None].to(out)
        stream = torch.cuda.current_stream().cuda_stream
        c = self(x, 1.0, b.to(torch.int8), scale_b, plus, stream)
        sums = ((a * grown).double() @ b.double().t()).float()[kind]
        exact = sums * (127.0 * power)[:, None] * scale_b
        exact = (exact + (0.0 if plus is None else plus.float())).to(out)
        return int((c != exact).sum())


def source(way: Way) -> str:
    """Write the CUDA source: the instruction that a cut needs, and the files beside this one."""
    names = ("pieces", "cut", "chunk_rows", "chunks")
    texts = hopper.texts(*("_switchback_{}.cu".format(name) for name in names))
    return str(hopper.multiply(way.n) + texts)


def definitions(way: Way, dtype: str, bias: Optional[str], depth: int) -> List[str]:
    """Give NVRTC's options for a way, dtypes of x and bias, and a depth."""
    words = hopper.definitions(way.cut, dtype, bias)
    names = {
        "FUSED": 1, "IN": INPUTS[dtype], "CHUNKS": way.chunks, "UNITS": way.units(depth),
        "SLOTS": way.slots, "EXTRA": way.extra, "PANELS": panels(way),
    }  # fmt: skip
    kept = [word for word in words if not word.startswith(("-DPANELS=", "-DFUSED="))]
    return kept + ["-D{}={}".format(name, value) for name, value in names.items()]
