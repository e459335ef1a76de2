"""Which GPU kernels an action really launched, by the names that torch's profiler (CUPTI) gives.

Python 3.8 syntax, standard library only; torch comes as an argument.
"""

# ruff: noqa: ANN401, BLE001 - torch comes as an argument, and any error is an answer

from __future__ import annotations

import importlib
import re
from typing import Any, Callable, Dict, List, Tuple

PRODUCT = re.compile(r"gemm|nvjet|cutlass|xmma|dot_kernel|_mm_|matmul|gemv", re.IGNORECASE)
"""Kernels that multiply matrices: cuBLAS' own (…gemm…, nvjet_…), CUTLASS' and torch's."""
PRODUCT_CALL = re.compile(
    r"^aten::(_int_mm|_scaled_mm|mm|addmm|bmm|baddbmm|mv|addmv)$|^(?!aten)\w+::.*(mm|matmul|linear)"
)
"""The operators that multiply matrices, below the wrappers (aten::linear, aten::matmul) that choose
one; other libraries' own by their names."""
LONGEST = 160


def launched(torch: Any, action: Callable[[], Any]) -> Tuple[List[str], str]:
    """Run an action that ran before: (the names of its matrix products, why there are none).

    CUPTI may be missing, or closed to users: no name is no proof, and not a failure either.
    """
    try:
        profiler = importlib.import_module("torch.profiler")
        cuda = profiler.ProfilerActivity.CUDA
        with profiler.profile(activities=[cuda]) as seen:
            action()
            torch.cuda.synchronize()
        names = [str(event.name) for event in seen.events() if "CUDA" in str(event.device_type)]
    except Exception as error:
        return [], "the profiler failed: {}: {}".format(type(error).__name__, error)
    products = [name for name in dict.fromkeys(names) if PRODUCT.search(name)]
    if not products:
        others = ", ".join(name[:40] for name in dict.fromkeys(names)) or "no kernel"
        return [], "the profiler saw no matrix product, but " + others
    return [" ".join(name.split())[:LONGEST] for name in products], ""


def called(torch: Any, actions: Dict[str, Callable[[], Any]]) -> Dict[str, List[str]]:
    """Run named actions: the operators that multiplied in each, once (``aten::_int_mm``).

    Torch's own record of what it dispatched, on the CPU or on a GPU; needs no CUPTI. A dispatch
    mode would be lighter, but libraries take other paths under one.
    """
    profiler = importlib.import_module("torch.profiler")
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
