"""What qdoctor.nn.SwitchBackLinear gains: against bf16, other int8 layers, and the hardware.

Forward with prepared weights, and forward + backward, for transformer shapes. Every contender of a
cell runs in turn (A B C A B C ...), after writes that are larger than any cache and take longer
than all its launches, so that a time is the GPU's own, operands coming from memory: CUDA events,
median and the 10th to 90th percentile. ``call`` is the wall time of one of 20 calls in a row: where
it is the larger, Python and launching are what takes the time in eager mode. The roofline is the
larger of what the tensor cores and the memory need at least, by the maker's figures (peaks.json).
The relative error is that of the first 256 rows' forward against float64; with outliers, 6 columns
of x are 20 to 60 times as large as the others.

Usage: ``python benchmarks/switchback.py [--rows 16 256 ...] [--shapes 1024x4096 ...]
[--only linear switchback-vector ...] [--passes forward] [--seconds 0.1] [--budget 600]
[--compile static|dynamic|off] [--format text|markdown] [--json FILE]``. Needs a CUDA GPU.
"""

# ruff: noqa: ANN401, E402 - torch is untyped here, and imported on demand

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

_ROOT = str(Path(__file__).resolve().parent.parent)
if sys.path[0] != _ROOT:  # in place of this folder, whose inspect.py is not the library's
    sys.path[:1] = [_ROOT]

from benchmarks._switchback_contenders import (
    COMPARED,
    COMPILE,
    CONTENDERS,
    DEFAULT,
    Contender,
    OtherPassError,
    versions,
)
from benchmarks._switchback_judged import (
    error_lines,
    goal_lines,
    line,
    markdown,
    peaks,
    roofline,
    sized,
    summary,
)

ROWS = (1, 16, 256, 4096, 16384)
SHAPES = (
    "1024x4096", "4096x1024", "1280x5120", "5120x1280", "4096x4096", "4096x16384", "8192x8192",
)  # fmt: skip
CHECKED_ROWS = 256
OUTLIERS = {3: 20.0, 97: 30.0, 250: 40.0, 511: 45.0, 700: 50.0, 1000: 60.0}
"""Column of x -> how many times as large as the others."""
FLUSHED_BYTES = 512 * 2**20
COVER_MS = 2.0
"""GPU work queued before each call at least: below, the first contender after a wait ran dry."""
LEAST, MOST = 10, 100
Call = Callable[[], Any]


def main(arguments: list[str] | None = None) -> None:
    """Measure every cell within the budget, print a line each, then what it comes to."""
    options = _options(arguments)
    torch = _torch_with_a_gpu()
    warnings.filterwarnings("ignore", message="MatMul8bitLt: inputs will be cast")
    if options.compile == "dynamic":
        COMPILE["dynamic"] = True
    COMPILE["mode"] = options.compile_mode
    name = torch.cuda.get_device_name()
    print(f"{name}, {versions()}")
    peak = peaks(name)
    print(f"peaks: {peak['source'] if peak else 'not known for this device: no roofline'}")
    end = time.monotonic() + options.budget
    errors = [] if options.no_errors else _all_errors(torch, options, end)
    cells = _cells(torch, options, peak, end)
    for text in (*goal_lines(cells), *summary(cells)):
        print(text)
    if options.format == "markdown":
        print("\n".join((*markdown(cells), *(error_lines(errors) if errors else ()))))
    if options.json:
        told = {"device": name, "versions": versions(), "cells": cells, "errors": errors}
        options.json.write_text(json.dumps(told, indent=1), encoding="utf-8")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="KxN", type=_shape)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, help="these contenders")
    parser.add_argument("--passes", nargs="+", choices=DEFAULT, default=tuple(DEFAULT))
    parser.add_argument("--seconds", type=float, default=0.1, help="for a contender in a cell")
    parser.add_argument("--budget", type=float, default=math.inf, help="seconds for all of it")
    parser.add_argument("--compile", choices=("static", "dynamic", "off"), default="static")
    parser.add_argument("--compile-mode", default="default", help="torch.compile's mode")
    parser.add_argument("--no-errors", action="store_true", help="leave outlier columns out")
    parser.add_argument("--format", choices=("text", "markdown"), default="text")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    options.shapes = [_shape(shape) for shape in options.shapes]
    return options


def _shape(text: Any) -> Any:
    """``1024x4096`` -> (1024, 4096): inputs, outputs."""
    if not isinstance(text, str):
        return text
    depth, _, columns = text.partition("x")
    if not (depth.isdigit() and columns.isdigit() and int(depth) and int(columns)):
        raise argparse.ArgumentTypeError(f"{text!r} is not like 1024x4096 (inputs x outputs)")
    return int(depth), int(columns)


def _torch_with_a_gpu() -> Any:
    try:
        import torch
    except ImportError as error:
        print(f"benchmarks/switchback.py needs torch: {error}", file=sys.stderr)
        sys.exit(2)
    if not torch.cuda.is_available():
        print(
            "benchmarks/switchback.py times GPU kernels and needs a CUDA GPU; "
            f"torch {torch.__version__} sees none (`qdoctor check` says why)",
            file=sys.stderr,
        )
        sys.exit(2)
    return torch


def _cells(torch: Any, options: Any, peak: Any, end: float) -> list[dict[str, Any]]:
    cells = []
    for depth, columns in options.shapes:
        for passes in options.passes:
            made, failed = contenders(torch, (depth, columns), passes, _chosen(options, passes))
            for rows in options.rows:
                if time.monotonic() > end:
                    print(f"left out, the budget is spent: {rows} x {depth}->{columns} {passes}")
                    continue
                cell = measure(torch, made, rows, passes, options.seconds)
                cell["failed"].update(failed)
                cell["roofline"] = roofline((rows, depth, columns), passes, peak) if peak else None
                cells.append(cell)
                print(line(cell), flush=True)
    return cells


def _chosen(options: Any, passes: str) -> list[str]:
    names = options.only or DEFAULT[passes]
    return [n for n in names if not (options.compile == "off" and n.endswith("-compiled"))]


def contenders(
    torch: Any, sizes: tuple[int, int], passes: str, names: list[str]
) -> tuple[dict[str, Contender], dict[str, str]]:
    """Make the named contenders of a layer (depth, columns); and say which failed, and why."""
    torch.manual_seed(7)
    torch.compiler.reset()  # it counts how often a function was compiled, over all layers
    linear = torch.nn.Linear(*sizes, device="cuda", dtype=torch.bfloat16)
    made, failed = {"": Contender(linear, torch.bfloat16)}, {}
    for name in names:
        try:
            made[name] = CONTENDERS[name](torch, linear, training=passes != "forward")
        except OtherPassError:  # noqa: PERF203
            continue
        except Exception as error:  # noqa: BLE001 - a peer that fails is a result
            failed[name] = _first_line(error)
    return made, failed


def measure(
    torch: Any, made: dict[str, Contender], rows: int, passes: str, seconds: float
) -> dict[str, Any]:
    """Time contenders of one layer on so many rows. Entry "" is what errors are judged by."""
    linear = made[""].layer
    calls: dict[str, Call] = {}
    errors: dict[str, float | None] = {}
    failed: dict[str, str] = {}
    for name in filter(None, made):
        try:
            calls[name], errors[name] = _started(torch, made[name], linear, rows, passes)
        except Exception as error:  # noqa: BLE001, PERF203 - a peer that fails is a result
            failed[name] = _first_line(error)
    call_ms = {name: _call_milliseconds(torch, call) for name, call in calls.items()}
    times = _times(torch, calls, call_ms, seconds)
    return {
        "rows": rows, "depth": linear.in_features, "columns": linear.out_features,
        "passes": passes, "failed": failed,
        "contenders": {
            name: {
                "ms": statistics.median(times[name]),
                "p10": _quantile(times[name], 0.1), "p90": _quantile(times[name], 0.9),
                "repetitions": len(times[name]),
                "call_ms": call_ms[name],
                "rel_error": errors[name],
            }
            for name in calls
        },
    }  # fmt: skip


def _started(
    torch: Any, one: Contender, linear: Any, rows: int, passes: str
) -> tuple[Call, float | None]:
    """Make a contender's call and run it thrice: the call, its forward's relative error."""
    x = _input(torch, (rows, linear.in_features), one.dtype)
    error = _error(torch, one.layer, linear, x) if one.comparable else None
    call = _call(torch, one.layer, x, linear.out_features, training=passes != "forward")
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    return call, error


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]


def _input(torch: Any, size: tuple[int, int], dtype: Any) -> Any:
    if dtype == torch.int8:
        return torch.randint(-127, 128, size, device="cuda", dtype=dtype)
    return torch.randn(size, device="cuda", dtype=dtype)


def _call(torch: Any, layer: Any, x: Any, columns: int, *, training: bool) -> Call:
    if not training:

        def forward() -> Any:
            with torch.no_grad():
                return layer(x)

        return forward
    x = x.requires_grad_()
    grad = torch.randn(x.shape[0], columns, device="cuda", dtype=x.dtype)

    def both() -> None:
        x.grad = None
        layer.zero_grad(set_to_none=True)
        layer(x).backward(grad)

    return both


def _error(torch: Any, layer: Any, linear: Any, x: Any) -> float:
    some = x[:CHECKED_ROWS].detach()
    with torch.no_grad():
        wanted = some.double() @ linear.weight.double().t() + linear.bias.double()
        return float((layer(some).double() - wanted).norm() / wanted.norm())


def _all_errors(torch: Any, options: Any, end: float) -> list[dict[str, Any]]:
    """Relative errors of the forward on Gaussian data and with outlier columns, by layer."""
    found = []
    for sizes in options.shapes if time.monotonic() < end else ():
        made, _ = contenders(torch, sizes, "forward", list(COMPARED))
        linear = made.pop("").layer
        x = torch.randn(CHECKED_ROWS, sizes[0], device="cuda", dtype=torch.bfloat16)
        for data in ("Gaussian", "outliers"):
            if data == "outliers":
                for column, times in OUTLIERS.items():
                    x[:, column % sizes[0]] *= times
            errors = {
                name: _error(torch, one.layer, linear, x.to(one.dtype))
                for name, one in made.items()
            }
            found.append({"depth": sizes[0], "columns": sizes[1], "data": data, "errors": errors})
            words = [f"{name} {error:.4f}" for name, error in errors.items()]
            print(f"{sized({'rows': CHECKED_ROWS, **found[-1]}):20} {data:9} " + " | ".join(words))
    return found


def _times(
    torch: Any, calls: dict[str, Call], call_ms: dict[str, float], seconds: float
) -> dict[str, list[float]]:
    """Milliseconds of single calls, contenders in turn until each had its seconds."""
    cache = torch.empty(FLUSHED_BYTES, dtype=torch.int8, device="cuda")
    flush_ms = _call_milliseconds(torch, cache.zero_)
    cover = {name: max(COVER_MS, 3 * ms) for name, ms in call_ms.items()}
    flushes = {name: math.ceil(ms / flush_ms) for name, ms in cover.items()}
    events: dict[str, list[tuple[Any, Any]]] = {name: [] for name in calls}
    start = time.perf_counter()
    for repetition in range(MOST):
        spent = time.perf_counter() - start
        if repetition >= LEAST and spent > seconds * len(calls):
            break
        for name, call in calls.items():
            for _ in range(flushes[name]):
                cache.zero_()
            before = torch.cuda.Event(enable_timing=True)
            after = torch.cuda.Event(enable_timing=True)
            before.record()
            call()
            after.record()
            events[name].append((before, after))
        torch.cuda.synchronize()
    return {name: [a.elapsed_time(b) for a, b in pairs] for name, pairs in events.items()}


def _call_milliseconds(torch: Any, call: Call, calls: int = 20) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(calls):
        call()
    torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - start) / calls


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[round(share * (len(values) - 1))]


if __name__ == "__main__":
    main()
