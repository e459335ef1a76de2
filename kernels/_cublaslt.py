"""cuBLASLt through ctypes: no torch, no headers, a live handle in 0.3 s.

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
TYPES = {
    "R_32F": 0, "R_64F": 1, "R_16F": 2, "R_8I": 3, "R_32I": 10, "R_16BF": 14, "R_8F_E4M3": 28,
    "R_8F_E5M2": 29,
}  # fmt: skip
COMPUTES = {"COMPUTE_16F": 64, "COMPUTE_32F": 68, "COMPUTE_64F": 70, "COMPUTE_32I": 72}
"""cudaDataType and cublasComputeType_t by the names that cuBLASLt's log gives them."""
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


def choose(made: Any, request: Dict[str, Any]) -> str:
    """Find the libcublasLt that the examined interpreter would load: its wheels, then the loader.

    Raises Refused: library-missing, or wrong-major when there are only others than torch's CUDA
    (else what bitsandbytes' own files) ask for.
    """
    if request.get("library"):
        if not Path(request["library"]).exists():
            raise made.Refused("library-missing", "no such file: " + request["library"])
        return str(request["library"])
    folders = [path or os.curdir for path in request.get("search", sys.path)]
    wanted, why = wanted_majors(request, folders)
    shipped = in_packages(folders)
    newest = sorted((found.major or 0 for found in shipped), reverse=True)
    for major in wanted or newest:
        fitting = [found for found in shipped if found.major == major]
        for found in fitting or by_loader([major]):
            return str(found.place)
    others = shipped or by_loader(range(20, 8, -1))
    if not others:
        place = "the nvidia wheels and torch/lib on sys.path, then the dynamic loader"
        raise made.Refused("library-missing", "no libcublasLt{} in {}".format(why, place))
    if not wanted:
        return str(others[0].place)
    there = ", ".join(sorted({found.place for found in others}))
    raise made.Refused("wrong-major", "no libcublasLt{}; found only {}".format(why, there))


def wanted_majors(request: Dict[str, Any], folders: Sequence[str]) -> Tuple[List[int], str]:
    """CUDA majors that fit, preferred first, and the words that say why; [] when nothing asks."""
    cuda = request.get("torch_cuda")
    if cuda is None:
        cuda = _torch_cuda(folders)
    if cuda:
        return [int(cuda.split(".")[0])], " of CUDA {} (torch is built for {})".format(
            cuda.split(".")[0], cuda
        )
    majors: List[int] = []
    for folder in folders:
        for path in Path(folder, "bitsandbytes").glob("libbitsandbytes_cuda*"):
            match = re.match(r"libbitsandbytes_cuda(\d+)\d(_nocublaslt)?\.", path.name)
            majors += [int(match.group(1))] if match else []
    ordered = sorted(set(majors), reverse=True)
    words = " of CUDA {} (bitsandbytes' libraries)".format(" or ".join(map(str, ordered)))
    return ordered, words if ordered else ""


def _torch_cuda(folders: Sequence[str]) -> Optional[str]:
    """Read torch's CUDA from torch/version.py, without importing torch; ``""``: a CPU build."""
    for folder in folders:
        try:
            text = Path(folder, "torch", "version.py").read_text(encoding="utf-8")
        except OSError:
            continue
        match = re.search(r"^cuda\b[^=]*= *['\"]([\d.]+)['\"]", text, re.MULTILINE)
        return match.group(1) if match else ""
    return None


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

    def instructions(
        self, types: Tuple[str, str, str], computed: Tuple[str, str], number: int
    ) -> Optional[Tuple[str, str]]:
        """Say the same of an algorithm by its number, for types of A, B and C, compute and scale.

        All by their names; None where one is not known, or the library does not say.
        """
        compute, scale = COMPUTES.get(computed[0]), TYPES.get(computed[1])
        kinds = [TYPES.get(name) for name in (*types, types[2])]
        if None in (compute, scale, *kinds):
            return None
        algorithm = Algorithm()
        try:
            self._call(
                "cublasLtMatmulAlgoInit", self._handle, compute, scale, *kinds, number,
                ctypes.byref(algorithm.algo),
            )  # fmt: skip
            return self.implementation(algorithm)
        except LibraryError:
            return None

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
