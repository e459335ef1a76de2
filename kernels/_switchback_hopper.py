"""SwitchBack's product by tensor cores that the tensor copy engine feeds: _switchback_hopper.cu.

NVRTC compiles it when a choice of tiles is first used; it is launched through the CUDA driver.
Values of enumerations: cuda.h, CUDA 12 and 13. Python 3.8 syntax, standard library only at import;
torch when called. Loaded by path.
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
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

DEPTH = 128  # bytes of a tile's rows: the width of the widest swizzle
GROUP = 8  # rows of tiles that are walked together
THREADS = 384  # a warp group that copies, two that multiply
ROWS_OF_PANEL = 16  # what a warp has of C at a time
MOST_SHARED = 227 * 1024  # bytes that a block of SM 9.0 may take (CUDA C++ Programming Guide)
REMEMBERED = 4096
ALIGNED = 16  # bytes of which rows and addresses are multiples
INT8, SWIZZLE_64, SWIZZLE_128, PROMOTE_128 = 0, 2, 3, 2  # CUtensorMap: data type, swizzle, L2
Shape = Tuple[int, int, int]
KINDS = {"bfloat16": 1, "float16": 2, "float32": 3}  # as the CUDA source numbers them
MAP_TYPES = {"bfloat16": 9, "float16": 6, "float32": 7}  # CUtensorMapDataType
SIZES = {"bfloat16": 2, "float16": 2, "float32": 4}


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


loaded: Any = _beside("_loaded")


class NotHereError(RuntimeError):
    """This product does not serve here: it could not be compiled or loaded, or is not exact."""


class Cut(NamedTuple):
    """One way to cut the product.

    m64: 64-row pieces that a warp group multiplies; n: columns of a tile; stages: tiles in flight;
    pingpong: each group has a tile of its own; cluster: blocks that share an operand, which is B
    if share_b. split: blocks of a cluster that share the depth of one tile and add up their sums,
    with cluster 1; one group multiplies then, if pingpong.
    """

    m64: int
    n: int
    stages: int
    pingpong: bool
    cluster: int
    share_b: bool
    split: int = 1

    @property
    def m(self) -> int:
        """Rows of a tile."""
        return 64 * self.m64 * (1 if self.pingpong else 2)

    def panel(self, size: int) -> int:
        """Columns of C, of ``size`` bytes each, that are written at a time."""
        return 32 if size == SIZES["float32"] or self.n % 64 else 64

    def panels(self, size: int) -> int:
        """How many panels a warp has: more let it write on while others are copied out."""
        fitting = [count for count in (4, 3, 2) if self.shared(size, count) <= MOST_SHARED]
        return fitting[0] if fitting else 1

    def shared(self, size: int, panels: int) -> int:
        """Bytes of shared memory: stages and their barriers, panels of 16 rows, scales and bias.

        Where the depth is split, a barrier for each warp, and the sums that other blocks send.
        """
        stages = self.stages * ((self.m + self.n) * DEPTH + 16)
        own = stages + 8 * panels * ROWS_OF_PANEL * self.panel(size) * size + 2 * self.n * 8
        adders = -(-(4 if self.pingpong else 8) // self.split)
        sums = adders * (self.split - 1) * self.m64 * ROWS_OF_PANEL * self.n * 4
        return own + (8 * 8 + sums if self.split > 1 else 0)

    def blocks(self, rows: int, columns: int, processors: int) -> int:
        """How many blocks to launch: whole clusters, at most one block a multiprocessor.

        Of a split depth all there are: a cluster has one tile.
        """
        high, wide = -(-rows // self.m), -(-columns // self.n)
        if self.split > 1:
            return self.split * high * wide
        if self.share_b:
            high = -(-high // self.cluster)
        else:
            wide = -(-wide // self.cluster)
        return self.cluster * min(high * wide, processors // self.cluster)


def takes(depth: int, columns: int, out: str, bias: Optional[str]) -> bool:
    """Say whether the copy engine takes rows of that depth and so many columns: whole 16 bytes.

    out and bias are dtypes of the result and the bias, by torch's names; bias may be None.
    """
    if out not in KINDS or (bias and bias not in KINDS):
        return False
    return not (depth % ALIGNED or columns * SIZES[out] % ALIGNED)


def proven(cut: "Cut", out: str, bias: Optional[str], device: int, arch: str) -> Any:
    """Compile, load, and compare one result with the exact one. Raises NotHereError."""
    return exact(lambda: Kernel(cut, out, bias, device, arch))


def exact(make: Callable[[], Any]) -> Any:
    """Make a kernel and count its ``differing()`` results. Raises NotHereError."""
    try:
        kernel = make()
        differing = kernel.differing()
    except (
        OSError, AttributeError, loaded.DriverError, _beside("_nvrtc").NotCompiledError
    ) as error:  # fmt: skip
        # An older driver lacks functions: ctypes raises AttributeError.
        text = "{}: {}".format(type(error).__name__, error)
        raise NotHereError(text) from error
    if differing:
        text = "{} of its results are not exact".format(differing)
        raise NotHereError(text)
    return kernel


class Kernel:
    """One cut compiled for one dtype of result and of bias, on one device."""

    def __init__(self, cut: Cut, out: str, bias: Optional[str], device: int, arch: str) -> None:
        """Compile, and load on that device. Raises NotCompiledError, DriverError.

        out and bias are dtypes by torch's names for them; bias may be None.
        """
        shared = cut.shared(SIZES[out], cut.panels(SIZES[out]))
        code = _beside("_nvrtc").machine_code(source(cut), arch, definitions(cut, out, bias))
        self._load(code, cut, (out, bias), device, shared)

    def _load(
        self, code: bytes, cut: Cut, dtypes: Tuple[str, Optional[str]], device: int, shared: int
    ) -> None:
        """Load a cubin with so many bytes of shared memory for blocks."""
        torch = importlib.import_module("torch")
        self._processors = torch.cuda.get_device_properties(device).multi_processor_count
        self._driver = loaded.Driver(device)
        self._cut, self._dtypes, self._shared = cut, dtypes, shared
        self._size, self._type = SIZES[dtypes[0]], MAP_TYPES[dtypes[0]]
        self._function = self._driver.function(code, "product", shared)
        self._own = _Own()

    def __call__(
        self, a: Any, scale_a: Any, b: Any, scale_b: Any, bias: Optional[Any], c: Any, stream: int
    ) -> None:
        """Launch c (M x N) = a (M x K) times b (N x K) transposed, rescaled, plus the bias.

        scale_b (float32) has N numbers, or one for all. What takes() says must hold, pointers are
        multiples of 16, everything is contiguous, the device is current.
        """
        rows, depth = a.shape
        columns = b.shape[0]
        operands = (a.data_ptr(), b.data_ptr(), c.data_ptr())
        plus = None if bias is None else bias.data_ptr()
        scales = (scale_a.data_ptr(), scale_b.data_ptr(), int(scale_b.shape[0] == columns))
        self.start((rows, depth, columns), operands, scales, plus, stream)

    def start(
        self, shape: Shape, operands: Shape, scales: Shape, bias: Optional[int], stream: int,
        given: Optional[int] = None,
    ) -> None:  # fmt: skip
        """Launch by addresses: of a, b and c; of both scales, with the step from one of b's on.

        shape: rows, depth, columns. given: of a last argument, where the source takes one.
        """
        own = self._own
        if len(own.kept) > REMEMBERED:  # shapes or addresses are ever new
            own.forget()
        plan = own.plans.get(shape) or self._plan(*shape)
        rows, depth, columns = shape
        at_a, at_b, at_c = operands
        maps = own.maps
        parameters = plan.parameters
        parameters[0] = maps.get((0, at_a, rows, depth)) or self._map(0, at_a, rows, depth)
        parameters[1] = maps.get((1, at_b, columns, depth)) or self._map(1, at_b, columns, depth)
        parameters[2] = maps.get((2, at_c, rows, columns)) or self._map(2, at_c, rows, columns)
        plan.scale_a.value, plan.scale_b.value, plan.step_b.value = scales
        plan.bias.value = bias
        parameters[10] = given
        plan.launch.stream = stream
        status = self._driver.launch(plan.at, self._function, parameters, None)
        if status:
            self._driver.launch_again(status, plan.at, self._function, parameters, None)

    def differing(self) -> int:
        """Count the results that are not those of exact sums; some sums pass 2**24."""
        torch = importlib.import_module("torch")
        out, bias = (getattr(torch, name) if name else None for name in self._dtypes)
        at = {"device": torch.device("cuda", torch.cuda.current_device())}
        rows, columns, depth = self._cut.m + 40, self._cut.n + 16, 2048 + 16
        a = (torch.arange(rows * depth, **at) % 28 + 100).to(torch.int8).view(rows, depth)
        b = (torch.arange(columns * depth, **at) % 9 + 119).to(torch.int8).view(columns, depth)
        b[::3] *= -1
        # Powers of two: rescaling rounds nothing, and what is small enough for 16 bits results.
        scale_a = torch.tensor([2.0 ** -(10 + row % 3) for row in range(rows)], **at)
        scale_b = torch.tensor([2.0 ** -(5 + column % 5) for column in range(columns)], **at)
        plus = None if bias is None else (torch.arange(columns, **at) % 7 - 3).to(bias)
        c = torch.full((rows, columns), float("nan"), dtype=out, **at)
        self(a, scale_a, b, scale_b, plus, c, torch.cuda.current_stream().cuda_stream)
        exact = (a.double() @ b.double().t()) * scale_a.double()[:, None] * scale_b.double()
        exact = exact.float() + (0.0 if plus is None else plus.float())
        return int((c != exact.to(out)).sum())

    def _plan(self, rows: int, depth: int, columns: int) -> "_Plan":
        """Make what a launch of this shape needs, once a thread."""
        cut, own = self._cut, self._own
        blocks = cut.blocks(rows, columns, self._processors)
        launch = loaded.early(blocks, THREADS, self._shared)
        values = (ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p())
        sizes = tuple(ctypes.c_int(size) for size in (rows, columns, depth))
        step_b = ctypes.c_int()
        parameters = (ctypes.c_void_p * 11)(
            None, None, None, *(ctypes.addressof(one) for one in (*values, *sizes, step_b))
        )
        plan = _Plan(launch, ctypes.byref(launch), parameters, *values, step_b)
        own.plans[rows, depth, columns] = plan
        own.kept.append(sizes)
        return plan

    def _map(self, operand: int, pointer: int, rows: int, columns: int) -> int:
        """Describe a matrix to the copy engine: the address of its tensor map, for this thread."""
        cut, own = self._cut, self._own
        wide, high, size, kind, swizzle = DEPTH, ROWS_OF_PANEL, 1, INT8, SWIZZLE_128
        if operand == 0:
            high = cut.m // (1 if cut.share_b else cut.cluster)
        elif operand == 1:
            high = cut.n // (cut.cluster if cut.share_b else 1)
        else:
            wide, size, kind = cut.panel(self._size), self._size, self._type
            swizzle = SWIZZLE_128 if wide * size == DEPTH else SWIZZLE_64
        room = ctypes.create_string_buffer(128 + 63)  # a map is 128 bytes, aligned to 64
        at = (ctypes.addressof(room) + 63) & ~63
        self._driver.ask(
            "cuTensorMapEncodeTiled", ctypes.c_void_p(at), kind, 2, ctypes.c_void_p(pointer),
            (ctypes.c_uint64 * 2)(columns, rows), (ctypes.c_uint64 * 1)(columns * size),
            (ctypes.c_uint32 * 2)(wide, high), (ctypes.c_uint32 * 2)(1, 1),
            0, swizzle, PROMOTE_128, 0,
        )  # fmt: skip
        own.maps[operand, pointer, rows, columns] = at
        own.kept.append(room)
        return at


class _Plan(NamedTuple):
    launch: Any
    at: Any
    parameters: Any
    scale_a: Any
    scale_b: Any
    bias: Any
    step_b: Any


class _Own(threading.local):
    """What launches write into and the driver reads: a thread's own."""

    def __init__(self) -> None:
        self.plans: Dict[Tuple[int, int, int], _Plan] = {}
        self.maps: Dict[Tuple[int, int, int, int], int] = {}
        self.kept: List[Any] = []  # what plans and maps point to

    def forget(self) -> None:
        """Start anew."""
        self.plans.clear()
        self.maps.clear()
        self.kept.clear()


def source(cut: Cut) -> str:
    """Write the CUDA source for a cut: the files beside this one, and the instruction it needs."""
    names = ("_switchback_pieces.cu", "_switchback_cut.cu", "_switchback_hopper.cu")
    return multiply(cut.n) + texts(*names)


def texts(*names: str) -> str:
    """Read files beside this one, one after the other."""
    folder = Path(__file__).resolve().parent
    return "".join((folder / name).read_text(encoding="utf-8") for name in names)


def definitions(cut: Cut, out: str, bias: Optional[str]) -> List[str]:
    """Give NVRTC's options for a cut, a dtype of result and one of bias (as the source numbers)."""
    names = {
        "MT": cut.m64, "BN": cut.n, "STAGES": cut.stages, "PINGPONG": int(cut.pingpong),
        "CLUSTER": cut.cluster, "SHARE_B": int(cut.share_b), "SPLIT": cut.split,
        "GROUP": GROUP,
        "PANELS": cut.panels(SIZES[out]), "OUT": KINDS[out], "BIAS": KINDS[bias] if bias else 0,
        "FUSED": 0,
    }  # fmt: skip
    return ["-std=c++17", *("-D{}={}".format(name, value) for name, value in names.items())]


def multiply(columns: int) -> str:
    """Write the function multiply: 64 x 32 of A, columns x 32 of B, added to d unless keep is 0."""
    count = columns // 2  # registers of a thread
    registers = ", ".join("%{}".format(number) for number in range(count))
    operands = ", ".join('"+r"(d[{}])'.format(number) for number in range(count))
    return TYPES + MULTIPLY % {
        "count": count, "columns": columns, "registers": registers, "operands": operands,
        "a": count, "b": count + 1, "keep": count + 2,
    }  # fmt: skip


TYPES = """
typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned short u16;
"""
MULTIPLY = """
__device__ __forceinline__ void multiply(int (&d)[%(count)d], u64 a, u64 b, int keep) {
  asm volatile("{.reg .pred p; setp.ne.b32 p, %%%(keep)d, 0; wgmma.mma_async.sync.aligned"
               ".m64n%(columns)dk32.s32.s8.s8 {%(registers)s}, %%%(a)d, %%%(b)d, p;}"
               : %(operands)s : "l"(a), "l"(b), "r"(keep));
}
"""
