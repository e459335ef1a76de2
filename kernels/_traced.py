"""What really multiplied: asked of cuBLASLt's own log, else of torch's profiler.

Python 3.8 syntax, standard library only; torch comes as an argument.
"""

# ruff: noqa: ANN401, BLE001 - torch comes as an argument, and any error is an answer
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import re
import sys
import warnings
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

LT_PRODUCT = re.compile(
    r"Adesc=\[type=(\w+).*Bdesc=\[type=(\w+).*Ddesc=\[type=(\w+)"
    r".*computeType=(\w+) scaleType=(\w+).*algo=\[algoId=(\d+)"
)
"""What cuBLASLt logs of a product, at the level Trace: types, how it sums, which algorithm."""
LT_TRACE, LT_OFF = 2, 0  # levels of cublasLtLoggerSetLevel
FLOATING = re.compile(r"COMPUTE_\d+F|fp\d+ sums")
"""A product that is described as one of floating-point numbers."""
PRODUCT_KERNEL = re.compile(r"gemm|nvjet|cutlass|xmma|dot_kernel|_mm_|matmul|gemv", re.IGNORECASE)
"""Kernels that multiply matrices: cuBLAS' own (…gemm…, nvjet_…), CUTLASS' and torch's."""
PRODUCT_CALL = re.compile(
    r"^aten::(_int_mm|_scaled_mm\w*|_weight_int\w+|mm|addmm|bmm|baddbmm|mv|addmv)$"
    r"|^(?!aten)\w+::.*(mm|matmul|linear)"
)
"""The operators that multiply matrices, below the wrappers (aten::linear, aten::matmul) that choose
one; other libraries' own by their names."""
LONGEST = 160


def product(torch: Any, device: str, action: Callable[[], Any]) -> Tuple[str, List[str]]:
    """Run an action that ran before: (where and by what it multiplied, notes).

    Not knowing is no proof, and no failure either: then the notes say why. To be asked after
    timing: a profiler slows every launch that comes after it.
    """
    if device == "cpu":
        return device, []
    named = _by_log(action)
    if named:
        return "{}: {}".format(device, named), []
    names, why = _by_profiler(torch, action)
    return ": ".join([device, *names[:1]]), [why] if why else []


def called(torch: Any, actions: Dict[str, Callable[[], Any]]) -> Dict[str, List[str]]:
    """Run named actions: the operators that multiplied in each, once (``aten::_int_mm``).

    Torch's own record of what it dispatched, on the CPU or on a GPU; needs no CUPTI. A dispatch
    mode would be lighter, but libraries take other paths under one.
    """
    profiler = importlib.import_module("torch.profiler")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with profiler.profile(activities=[profiler.ProfilerActivity.CPU]) as seen:
            for name, action in actions.items():
                with torch.profiler.record_function(name):
                    action()
        events = list(seen.events())
    spans = {event.name: event.time_range for event in events if event.name in actions}
    found = {}
    for name, span in spans.items():
        inside = [one for one in events if span.start <= one.time_range.start <= span.end]
        names = dict.fromkeys(str(one.name) for one in inside)
        found[name] = [one for one in names if PRODUCT_CALL.search(one)]
    return found


def described(message: str, library: Any = None) -> str:
    """Say in words which product a line of cuBLASLt's log is, or ``""`` if it is none.

    ``library`` is a _cublaslt.Library, which knows the instructions that an algorithm uses.
    """
    found = LT_PRODUCT.search(message)
    if found is None:
        return ""
    left, right, result, compute, scale, algorithm = found.groups()
    text = "cuBLASLt {} x {} -> {}, {}".format(left, right, result, compute)
    how = library and library.instructions((left, right, result), (compute, scale), int(algorithm))
    return "{}, {}, {} sums".format(text, *how) if how else text


def _by_log(action: Callable[[], Any]) -> str:
    """Run an action under cuBLASLt's log: its first product in words; ``""`` where it made none."""
    place = _loaded_library()
    if not place:
        return ""
    messages: List[str] = []
    kind = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p)
    listen = kind(lambda _level, _function, text: messages.append(text.decode(errors="replace")))
    try:
        library = ctypes.CDLL(place)
        library.cublasLtLoggerOpenFile(os.devnull.encode())  # it speaks on standard output else
        library.cublasLtLoggerSetCallback(listen)
        library.cublasLtLoggerSetLevel(LT_TRACE)
        try:
            action()
        finally:
            library.cublasLtLoggerSetLevel(LT_OFF)
            library.cublasLtLoggerSetCallback(None)
        known = _beside("_cublaslt").Library(place)
    except AttributeError:  # releases before CUDA 11.2 have no such log
        return ""
    return next(filter(None, (described(text, known) for text in messages)), "")


def _loaded_library() -> str:
    """The libcublasLt that this process has loaded, where the system tells."""
    if not sys.platform.startswith("linux"):
        return ""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    paths = (line.split(None, 5)[-1] for line in maps if "libcublasLt.so" in line)
    return next(paths, "")


def _by_profiler(torch: Any, action: Callable[[], Any]) -> Tuple[List[str], str]:
    """Run an action under CUPTI: (the names of its matrix products' kernels, why there are none).

    CUPTI may be missing, or closed to users.
    """
    try:
        profiler = importlib.import_module("torch.profiler")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with profiler.profile(activities=[profiler.ProfilerActivity.CUDA]) as seen:
                action()
                torch.cuda.synchronize()
            events = list(seen.events())
        names = [str(event.name) for event in events if "CUDA" in str(event.device_type)]
    except Exception as error:
        return [], "the profiler failed: {}: {}".format(type(error).__name__, error)
    products = [name for name in dict.fromkeys(names) if PRODUCT_KERNEL.search(name)]
    if not products:
        others = ", ".join(name[:40] for name in dict.fromkeys(names)) or "no kernel"
        return [], "the profiler saw no matrix product, but " + others
    return [" ".join(name.split())[:LONGEST] for name in products], ""


def _beside(name: str) -> Any:
    module = sys.modules.get("qdoctor_kernel_" + name)
    if module is None:
        path = Path(__file__).resolve().with_name(name + ".py")
        spec = importlib.util.spec_from_file_location("qdoctor_kernel_" + name, str(path))
        module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        sys.modules[spec.name] = module  # type: ignore[union-attr]
        spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module
