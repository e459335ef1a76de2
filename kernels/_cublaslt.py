"""The CUDA driver and cuBLASLt through ctypes: no torch, no headers, a live handle in 0.3 s.

Values of the enumerations: cublasLt.h and library_types.h, the same from CUDA 11 to 13.
Python 3.8 syntax, standard library only.
"""

# ruff: noqa: ANN401 - ctypes libraries have no types

from __future__ import annotations

import ctypes
import os
import re
import sys
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

R_32F, R_8I, R_32I = 0, 3, 10  # cudaDataType
COMPUTE_32I = 72  # cublasComputeType_t
OP_N, OP_T = 0, 1  # cublasOperation_t
DESC_TRANSA, DESC_TRANSB = 3, 4  # cublasLtMatmulDescAttributes_t
LAYOUT_ORDER = 1  # cublasLtMatrixLayoutAttribute_t
PREF_WORKSPACE = 1  # cublasLtMatmulPreferenceAttributes_t
CAP_IMPLEMENTATION = 15  # cublasLtMatmulAlgoCapAttributes_t
NOT_SUPPORTED, ALLOC_FAILED = 15, 3  # cublasStatus_t
ORDER = {"col": 0, "row": 1, "col32": 2, "col4_4r2_8c": 3, "col32_2r_4r4": 4}  # cublasLtOrder_t
INSTRUCTIONS = {1: "FMA", 2: "HMMA", 4: "IMMA", 8: "DMMA"}  # cublasLtNumericalImplFlags_t, bits 0-7
ACCUMULATORS = {1: "fp16", 2: "fp32", 4: "fp64", 8: "int32"}  # the same, bits 8-15
STATUS = {
    1: "NOT_INITIALIZED", 3: "ALLOC_FAILED", 7: "INVALID_VALUE", 8: "ARCH_MISMATCH",
    11: "MAPPING_ERROR", 13: "EXECUTION_FAILED", 14: "INTERNAL_ERROR", 15: "NOT_SUPPORTED",
    16: "LICENSE_ERROR",
}  # fmt: skip
OUT_OF_MEMORY, NO_DEVICE, INVALID_DEVICE = 2, 100, 101  # CUresult
SM_MAJOR, SM_MINOR = 75, 76  # CUdevice_attribute


class Found(NamedTuple):
    """One libcublasLt: where it lies (a path, or the name the loader resolved) and its major."""

    place: str
    major: Optional[int]


class Algorithm(ctypes.Structure):
    """The result of cublasLtMatmulAlgoGetHeuristic; ``algo`` is opaque."""

    _fields_ = [
        ("algo", ctypes.c_uint64 * 8),
        ("workspace", ctypes.c_size_t),
        ("state", ctypes.c_int),
        ("waves", ctypes.c_float),
        ("reserved", ctypes.c_int * 4),
    ]


class DriverError(RuntimeError):
    """A CUDA driver call failed; ``status`` is the CUresult."""

    def __init__(self, call: str, status: int, name: str) -> None:
        super().__init__("{} answered {} ({})".format(call, name, status))
        self.status = status


class LibraryError(RuntimeError):
    """A cuBLASLt call failed; ``status`` is the cublasStatus_t."""

    def __init__(self, call: str, status: int) -> None:
        super().__init__("{} answered {}".format(call, STATUS.get(status, "status %d" % status)))
        self.status = status


def in_packages(folders: Sequence[str]) -> List[Found]:
    """List the libcublasLt that wheels put below these folders, in the order torch looks.

    nvidia-cublas-cu11/cu12 unpack to nvidia/cublas/lib, CUDA 13's wheels to nvidia/cu13/lib, and
    wheels of torch that carry their own CUDA to torch/lib.
    """
    found: List[Found] = []
    for folder in folders:
        for place in ("nvidia/cublas", "nvidia/cu[0-9]*", "torch"):
            for pattern in ("lib/libcublasLt.so*", "bin/cublasLt64_*.dll", "lib/cublasLt64_*.dll"):
                paths = sorted(Path(folder).glob(place + "/" + pattern))
                found += [Found(str(path.absolute()), major_of(str(path))) for path in paths]
    return found


def major_of(path: str) -> Optional[int]:
    """Read the CUDA major from a file's name (libcublasLt.so.12, cublasLt64_13.dll)."""
    match = re.search(r"(?:\.so[.-]|64_)(\d+)", Path(path).name)
    return int(match.group(1)) if match else None


def by_loader(majors: Sequence[int]) -> List[Found]:
    """List what the dynamic loader itself resolves (LD_LIBRARY_PATH, ld.so.conf, PATH)."""
    found = []
    for major in majors:
        name = ("cublasLt64_%d.dll" if os.name == "nt" else "libcublasLt.so.%d") % major
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        found.append(Found(name, major))
    return found


def open_driver() -> Any:
    """Load the CUDA driver. Raises OSError with the loader's words when there is none."""
    return ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")


class Device:
    """A CUDA device with its primary context current, and plain allocations on it."""

    def __init__(self, driver: Any, index: int) -> None:
        self._driver = driver
        self._call("cuInit", 0)
        handle, context = ctypes.c_int(), ctypes.c_void_p()
        self._call("cuDeviceGet", ctypes.byref(handle), index)
        self._handle = handle
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), handle)
        self._call("cuCtxSetCurrent", context)
        self._blocks: List[ctypes.c_void_p] = []

    @property
    def sm(self) -> str:
        """Compute capability, such as ``9.0``."""
        value = ctypes.c_int()
        parts = []
        for attribute in (SM_MAJOR, SM_MINOR):
            self._call("cuDeviceGetAttribute", ctypes.byref(value), attribute, self._handle)
            parts.append(str(value.value))
        return ".".join(parts)

    @property
    def name(self) -> str:
        """The model's name, such as ``NVIDIA H100``."""
        text = ctypes.create_string_buffer(128)
        self._call("cuDeviceGetName", text, 128, self._handle)
        return text.value.decode(errors="replace")

    def empty(self, size: int) -> ctypes.c_void_p:
        """Allocate ``size`` bytes on the device, zeroed (padding must be defined)."""
        block = ctypes.c_void_p()
        self._call("cuMemAlloc_v2", ctypes.byref(block), ctypes.c_size_t(size))
        self._blocks.append(block)
        self._call("cuMemsetD8_v2", block, ctypes.c_ubyte(0), ctypes.c_size_t(size))
        return block

    def put(self, data: bytes) -> ctypes.c_void_p:
        """Copy bytes to the device."""
        block = self.empty(len(data))
        self._call("cuMemcpyHtoD_v2", block, data, ctypes.c_size_t(len(data)))
        return block

    def get(self, block: ctypes.c_void_p, size: int) -> bytes:
        """Wait for the device, then copy ``size`` bytes back."""
        self._call("cuCtxSynchronize")
        data = ctypes.create_string_buffer(size)
        self._call("cuMemcpyDtoH_v2", data, block, ctypes.c_size_t(size))
        return data.raw

    def synchronize(self) -> None:
        """Wait for the device; raises DriverError for what failed on it."""
        self._call("cuCtxSynchronize")

    def free(self) -> None:
        """Free every allocation made here."""
        while self._blocks:
            self._call("cuMemFree_v2", self._blocks.pop())

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._driver, name)(*arguments)
        if status:
            raise DriverError(name, status, self._error_name(status))

    def _error_name(self, status: int) -> str:
        text = ctypes.c_char_p()
        self._driver.cuGetErrorName(status, ctypes.byref(text))
        return (text.value or b"unknown error").decode()


class Library:
    """cuBLASLt behind a handle; descriptors are made once and live as long as the process."""

    def __init__(self, place: str) -> None:
        self._library = ctypes.CDLL(place)
        self._library.cublasLtGetVersion.restype = ctypes.c_size_t
        self.version: int = self._library.cublasLtGetVersion()
        self.place = _loaded_from(place)
        self._handle = ctypes.c_void_p()
        self._call("cublasLtCreate", ctypes.byref(self._handle))

    def layout(self, kind: int, order: str, rows: int, columns: int, ld: int) -> ctypes.c_void_p:
        """Describe a matrix of ``rows`` x ``columns`` elements of cudaDataType ``kind``."""
        made = ctypes.c_void_p()
        self._call(
            "cublasLtMatrixLayoutCreate",
            ctypes.byref(made),
            ctypes.c_int(kind),
            ctypes.c_uint64(rows),
            ctypes.c_uint64(columns),
            ctypes.c_int64(ld),
        )
        self._set("cublasLtMatrixLayoutSetAttribute", made, LAYOUT_ORDER, ORDER[order])
        return made

    def transform(
        self,
        source: Tuple[ctypes.c_void_p, ctypes.c_void_p],
        target: Tuple[ctypes.c_void_p, ctypes.c_void_p],
    ) -> None:
        """Copy a matrix into another memory order; each side is (layout, block).

        The library scales in fp32: exact for integers below 2**24 in magnitude.
        """
        description = ctypes.c_void_p()
        self._call("cublasLtMatrixTransformDescCreate", ctypes.byref(description), R_32F)
        one, zero = ctypes.c_float(1.0), ctypes.c_float(0.0)
        self._call(
            "cublasLtMatrixTransform",
            self._handle, description,
            ctypes.byref(one), source[1], source[0],
            ctypes.byref(zero), None, None,
            target[1], target[0],
            None,
        )  # fmt: skip

    def product(self, trans_a: int, trans_b: int) -> ctypes.c_void_p:
        """Describe op(A) op(B) with int32 sums and int32 alpha and beta."""
        made = ctypes.c_void_p()
        self._call("cublasLtMatmulDescCreate", ctypes.byref(made), COMPUTE_32I, R_32I)
        self._set("cublasLtMatmulDescSetAttribute", made, DESC_TRANSA, trans_a)
        self._set("cublasLtMatmulDescSetAttribute", made, DESC_TRANSB, trans_b)
        return made

    def heuristic(
        self, product: ctypes.c_void_p, layouts: Sequence[ctypes.c_void_p], workspace: int
    ) -> Optional[Algorithm]:
        """Ask which algorithm the library would take for layouts A, B, C; None when it has none."""
        preference, count = ctypes.c_void_p(), ctypes.c_int(0)
        self._call("cublasLtMatmulPreferenceCreate", ctypes.byref(preference))
        size = ctypes.c_uint64(workspace)
        self._call(
            "cublasLtMatmulPreferenceSetAttribute",
            preference, PREF_WORKSPACE, ctypes.byref(size), ctypes.c_size_t(8),
        )  # fmt: skip
        best = Algorithm()
        try:
            self._call(
                "cublasLtMatmulAlgoGetHeuristic",
                self._handle, product, layouts[0], layouts[1], layouts[2], layouts[2],
                preference, 1, ctypes.byref(best), ctypes.byref(count),
            )  # fmt: skip
        except LibraryError as error:
            if error.status != NOT_SUPPORTED:
                raise
            return None
        return best if count.value and not best.state else None

    def implementation(self, algorithm: Algorithm) -> Tuple[str, str]:
        """Say which instructions and which sums an algorithm uses: ("IMMA", "int32")."""
        flags, written = ctypes.c_uint64(), ctypes.c_size_t()
        self._call(
            "cublasLtMatmulAlgoCapGetAttribute",
            ctypes.byref(algorithm.algo), CAP_IMPLEMENTATION,
            ctypes.byref(flags), ctypes.c_size_t(8), ctypes.byref(written),
        )  # fmt: skip
        return _bits(flags.value, INSTRUCTIONS), _bits(flags.value >> 8, ACCUMULATORS)

    def multiply(
        self,
        product: ctypes.c_void_p,
        operands: Dict[str, Tuple[ctypes.c_void_p, ctypes.c_void_p]],
        algorithm: Algorithm,
        workspace: Tuple[ctypes.c_void_p, int],
    ) -> None:
        """Launch C = op(A) op(B) on the null stream; operands are name -> (layout, block)."""
        one, zero = ctypes.c_int32(1), ctypes.c_int32(0)
        (a, at_a), (b, at_b), (c, at_c) = operands["a"], operands["b"], operands["c"]
        self._call(
            "cublasLtMatmul",
            self._handle, product,
            ctypes.byref(one), at_a, a, at_b, b,
            ctypes.byref(zero), at_c, c, at_c, c,
            ctypes.byref(algorithm.algo), workspace[0], ctypes.c_size_t(workspace[1]),
            None,
        )  # fmt: skip

    def _set(self, call: str, target: ctypes.c_void_p, attribute: int, value: int) -> None:
        number = ctypes.c_int32(value)
        self._call(call, target, attribute, ctypes.byref(number), ctypes.c_size_t(4))

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            raise LibraryError(name, status)


def _bits(flags: int, names: Dict[int, str]) -> str:
    return "+".join(name for bit, name in names.items() if flags & bit) or "unknown"


def _loaded_from(place: str) -> str:
    """Where a library that the loader resolved really came from, where the system tells."""
    if Path(place).is_absolute() or not sys.platform.startswith("linux"):
        return place
    maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    paths = [line.split(None, 5)[-1] for line in maps if "/" in line]
    return next((path for path in paths if Path(path).name.startswith(place)), place)
