"""Outcomes of a kernel as plain dicts, and what an exception means as an outcome.

Python 3.8 syntax, standard library only: this runs inside the examined interpreter.
"""

# ruff: noqa: ANN401 - fields of an outcome are any JSON value

from __future__ import annotations

import ctypes
import math
import os
import shutil
import tempfile
import traceback
from typing import Any, Dict, List, Optional

Outcome = Dict[str, Any]

_LONGEST = 1200
"""Characters of one text that are kept: compilers answer with whole source files."""
_ENOUGH_MIB = 64
"""GPU memory that no kernel exceeds (gpu_mib of the headers): with less free, nothing is told."""
_ROOM_MIB = 1
"""Room for temporary files that every kernel has when it starts: with less, nothing is told."""
_FOR_WANT_OF_ROOM = ("failed", "no-c-compiler", "libcuda-not-found")
"""Codes of what also fails where a compiler or a library cannot write its files."""
_BUSY = ("busy or unavailable", "CUDA_ERROR_DEVICE_UNAVAILABLE")
"""What the CUDA runtime and driver say where another process has the GPU to itself (CUDA Runtime
API, cudaErrorDevicesUnavailable: compute mode EXCLUSIVE_PROCESS)."""
_STARVED = (
    *("out of memory", "cublas_status_alloc_failed", "memory allocation failure"),
    *("defaultcpuallocator: can't allocate memory", "defaultcpuallocator: not enough memory"),
)
"""What torch before 1.13, Triton, cuBLAS (cublasStatus_t) and torch on a CPU (c10/core/impl/
alloc_cpu.cpp; the last one on Windows) say, as bare RuntimeErrors."""


class Skipped(Exception):  # noqa: N818 - it names a state of the machine, not a mistake
    """The kernel cannot be examined here; ``code`` says why: no-gpu, not-installed, not-shipped."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Refused(Exception):  # noqa: N818 - an answer of the examined library
    """The examined library said no; ``code`` is the machine-readable reason."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def outcome(kind: str, detail: str = "", **fields: Any) -> Outcome:
    """Build one outcome. ``kind`` is passed | wrong | failed | skipped.

    Fields: variant, code, numbers, path_taken, device, ran, evidence. A number that is not finite
    cannot travel as JSON: it moves into the evidence as text.
    """
    made: Outcome = {
        "variant": None,
        "outcome": kind,
        "detail": detail[:_LONGEST],
        "code": None,
        "numbers": {},
        "path_taken": None,
        "device": None,
        "ran": True,
        "evidence": [],
    }
    made.update(fields)
    numbers = {name: float(value) for name, value in made["numbers"].items()}
    made["numbers"] = {name: value for name, value in numbers.items() if math.isfinite(value)}
    lost = ["{} = {}".format(*item) for item in numbers.items() if not math.isfinite(item[1])]
    made["evidence"] = [str(text)[:_LONGEST] for text in [*made["evidence"], *lost]]
    return made


def from_error(error: BaseException, **fields: Any) -> Outcome:
    """Turn what was raised into an outcome; the deepest cause speaks first.

    Running out of memory says nothing about the kernel: that is skipped, as is a missing GPU. So is
    any failure on a GPU with less memory free than a kernel may take: libraries word that in many
    ways (cuBLAS: NOT_INITIALIZED, where its handle found no room). So is what fails while the disk
    is full: compilers say so in words of their own, or not at all.
    """
    kind, code = _kind_and_code(error)
    if code == "failed" and str(fields.get("device")).startswith("cuda"):
        free = free_gpu_mib()
        if free is not None and free < _ENOUGH_MIB:
            kind, code = "skipped", "out-of-memory"
            note = "{:.0f} MiB of GPU memory were free".format(free)
            fields["evidence"] = [*fields.get("evidence", []), note]
    room = free_disk_mib() if code in _FOR_WANT_OF_ROOM else None
    if room is not None and room < _ROOM_MIB:
        kind, code = "skipped", "no-temporary-folder"
        note = "{:.1f} MiB are free for temporary files in TMPDIR".format(room)
        fields["evidence"] = [*fields.get("evidence", []), note]
    if kind == "skipped":
        fields["ran"] = False
    fields.setdefault("code", code)
    if kind == "failed" and not isinstance(error, Refused):
        fields["evidence"] = [*fields.get("evidence", []), *_where(error)]
    return outcome(kind, text_of(error), **fields)


def free_gpu_mib() -> Optional[float]:
    """Return how much memory the current GPU has free, in MiB; None without a living context.

    Asks the CUDA driver that is loaded already, whoever loaded it; loads none.
    """
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    try:
        if os.name == "nt":
            driver = ctypes.CDLL("nvcuda.dll")
        else:
            driver = ctypes.CDLL("libcuda.so.1", mode=os.RTLD_NOLOAD | os.RTLD_NOW)
        status = driver.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
    except (AttributeError, OSError):
        return None
    return None if status else free.value / (1 << 20)


def free_disk_mib() -> Optional[float]:
    """Return how much room there is for temporary files, in MiB; None where that is not known."""
    try:
        return shutil.disk_usage(os.environ.get("TMPDIR") or tempfile.gettempdir()).free / (1 << 20)
    except OSError:
        return None


def text_of(error: BaseException) -> str:
    """``Type: text`` of the root cause, what native code ``said``, then what it was raised as."""
    root = _root(error)
    text = _named(root)
    for said in getattr(error, "said", [])[:1]:
        text += ": " + said
    if root is not error:
        text += " (raised as {})".format(type(error).__name__)
    return text


def _kind_and_code(error: BaseException) -> "tuple[str, str]":
    if isinstance(error, Skipped):
        return "skipped", error.code
    if any(_is_out_of_memory(link) for link in _chain(error)):
        return "skipped", "out-of-memory"
    if any(_is_busy(link) for link in _chain(error)):
        return "skipped", "gpu-busy"
    if isinstance(error, Refused):
        return "failed", error.code
    if isinstance(_root(error), ImportError):
        return "failed", "import-failed"
    return "failed", "failed"


def _is_out_of_memory(error: BaseException) -> bool:
    names = {kind.__name__ for kind in type(error).__mro__}
    words = str(error).lower() if isinstance(error, RuntimeError) else ""
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or any(
        said in words for said in _STARVED
    )


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and any(said in str(error) for said in _BUSY)


def _chain(error: BaseException) -> List[BaseException]:
    links: List[BaseException] = []
    link: Optional[BaseException] = error
    while link is not None and link not in links:
        links.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return links


def _root(error: BaseException) -> BaseException:
    causes = [error]
    while causes[-1].__cause__ is not None and causes[-1].__cause__ not in causes:
        causes.append(causes[-1].__cause__)
    return causes[-1]


def _named(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, (Skipped, Refused)):
        return text  # our own words; the code beside them says the rest
    return "{}: {}".format(type(error).__name__, text) if text else type(error).__name__


def _where(error: BaseException) -> List[str]:
    root = _root(error)
    frames = traceback.extract_tb(root.__traceback__)
    wrapped = [] if root is error else ["raised as ..." + _named(error)[-400:]]
    return wrapped + [
        "{}:{} in {}: {}".format(frame.filename, frame.lineno, frame.name, frame.line)
        for frame in frames[-2:]
    ]
