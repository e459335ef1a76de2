"""The installed bitsandbytes: importing it, and which functions of its native library are called.

A layer of bitsandbytes may reach its result in several ways. What it called is noted by standing in
for the library object that its modules share; releases since 0.37 have it in ``cextension.lib``.
Python 3.8 syntax, standard library only.
"""

# ruff: noqa: ANN401 - examined modules have no types

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from typing import Any, Dict, Iterator, List, Optional


def imported(made: Any) -> Any:
    """Import the installed bitsandbytes. Raises ``made.Skipped`` where there is none."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise made.Skipped("not-installed", "bitsandbytes is not installed")
    return importlib.import_module("bitsandbytes")


@contextlib.contextmanager
def noted_calls() -> Iterator[Dict[str, int]]:
    """Count the native functions that bitsandbytes calls meanwhile: name -> calls.

    Functions that a module bound to names of its own at import (optimizers do) are not seen.
    """
    calls: Dict[str, int] = {}
    library = getattr(sys.modules.get("bitsandbytes.cextension"), "lib", None)
    sharing = [
        module
        for name, module in list(sys.modules.items())
        if name.split(".")[0] == "bitsandbytes" and getattr(module, "lib", None) is library
    ]
    stand_in = _StandIn(library, calls)
    for module in sharing if library is not None else []:
        setattr(module, "lib", stand_in)  # noqa: B010 - modules have no such attribute by type
    try:
        yield calls
    finally:
        for module in sharing:
            setattr(module, "lib", library)  # noqa: B010


class _StandIn:
    """The library as bitsandbytes sees it; every function that is called leaves its name."""

    def __init__(self, library: Any, calls: Dict[str, int]) -> None:
        self._library = library
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._library, name)
        if not callable(found):
            return found

        def noted(*arguments: Any) -> Any:
            self._calls[name] = self._calls.get(name, 0) + 1
            return found(*arguments)

        return noted

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)


def not_kept(torch: Any, result: Any, where: str, dtype: Any) -> Optional[str]:
    """Say what a result is instead of a tensor of ``dtype`` on ``where``; None if it is one."""
    if not isinstance(result, torch.Tensor):
        return "the result is {}, not a tensor".format(type(result).__name__)
    if str(result.device) != where or result.dtype != dtype:
        return "the result is {} on {}, not {} on {}".format(
            result.dtype, result.device, dtype, where
        )
    return None


def called(calls: Dict[str, int]) -> str:
    """Write noted calls as a path: ``cigemmlt_32 x5``, or that there were none.

    Questions (``has_avx512bf16_cpu``, ``get_context``) are no work and left out.
    """
    work = [one for one in sorted(calls.items()) if not one[0].startswith(("get_", "has_"))]
    return ", ".join("{} x{}".format(*one) for one in work) or "no native function"


def with_product(traced: Any, torch: Any, where: str, path: str, action: Any) -> str:
    """Add to a path what multiplied in an action: as cuBLASLt logs it, or the CPU's operators.

    To be asked after timing: where cuBLASLt has no log of it, a profiler looks, which slows what
    comes after it. ``traced`` is _traced.py.
    """
    if where == "cpu":
        named = ", ".join(traced.called(torch, {"forward": action}).get("forward", []))
    else:
        named = traced.product(torch, where, action)[0].partition(": ")[2]
    return "{}; multiplied by {}".format(path, named) if named else path


def largest(values: List[float]) -> float:
    """Return the largest value; not a number, if one of them is."""
    return max(values, key=lambda value: (value != value, value))  # noqa: PLR0124 - NaN


def product(x: Any, weight: Any, bias: Any) -> Any:
    """Compute a layer in float64 on the CPU, far from the kernels that are examined."""
    x, weight, bias = (one.cpu().double() for one in (x, weight, bias))
    return x @ weight.t() + bias


def relative_error(got: Any, wanted: Any) -> float:
    """Return ||got - wanted||F / ||wanted||F in float64, on the CPU."""
    return float((got.cpu().double() - wanted).norm() / wanted.norm())
