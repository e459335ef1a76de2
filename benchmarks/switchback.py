"""What qdoctor.nn.SwitchBackLinear gains: against bf16, other int8 layers, and the hardware.

Forward with prepared weights, and forward + backward, for transformer shapes. Every contender of a
cell runs in turn (A B C A B C ...), each call after passes over memory that are larger than any
cache and take longer than all its launches, so that a time is the GPU's own: CUDA events, median
and the 10th to 90th percentile. ``--cache`` says what those passes do to the L2 cache: ``clean``
fills it by reading (operands come from memory), ``written`` by writing (they do, and what was
written must first make room), ``warm`` leaves it alone. ``call`` is the wall time of one of 20
calls in a row, the cache warm: where it is the larger, Python and launching are what takes the time
in eager mode. The roofline is the larger of what the tensor cores and the memory need at least, by
the maker's figures (peaks.json). The relative error is that of the first 256 rows' forward against
float64; with outliers, 6 columns of x are 20 to 60 times as large as the others.

Cells come in order of importance, and the file of ``--json`` is written after each: within
``--budget`` a run measures what the file still lacks or has disturbed figures of, so several short
runs make one table. A cell whose spread, or whose single calls outlasting those in a row, say that
something disturbed it is timed again at once. ``--failed`` asks those again who failed in a cell.
``--join`` measures nothing: it adds what other files hold, of the same device and versions.
torch.compile runs for each shape (``dynamic=False``), beforehand in ``--compile-workers``
processes, inside the budget and outside of any time. What fails costs itself alone.

Usage: ``python benchmarks/switchback.py [--rows 16 256 ...] [--shapes 1024x4096 ...]
[--only linear switchback-vector ...] [--passes forward] [--cache clean|written|warm]
[--seconds 0.1] [--budget 300] [--compile static|dynamic|off] [--format text|markdown]
[--failed] [--start 40] [--json FILE] [--join OTHER ...] [--tell]``. Needs a CUDA GPU, except
``--join`` and ``--tell``, which only judges what FILE holds;
``--device cpu`` tries the script out, its figures mean nothing. Exit status: 0; 3 where a contender
took the GPU with it (run it again: the file knows, and goes on without it).
"""

# ruff: noqa: ANN401, E402 - torch is untyped here, and imported on demand

from __future__ import annotations

import argparse
import math
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

_ROOT = str(Path(__file__).resolve().parent.parent)
if sys.path[0] != _ROOT:  # in place of this folder, whose inspect.py is not the library's
    sys.path[:1] = [_ROOT]

from benchmarks._switchback_compiled import ENVIRON, beforehand, compile_all, share
from benchmarks._switchback_contenders import (
    COMPARED,
    COMPILE,
    CONTENDERS,
    DEFAULT,
    TUNING,
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
from benchmarks._switchback_kept import (
    Group,
    OtherRunError,
    groups,
    joined,
    keys,
    lacking,
    read,
    write,
)
from benchmarks._switchback_timed import (
    CACHES,
    CHECKED_ROWS,
    START_SECONDS,
    Clock,
    GpuLostError,
    measured,
    relative_error,
    started,
    told_of,
)

ROWS = (1, 16, 256, 4096, 16384)
SHAPES = (
    "1024x4096", "4096x1024", "1280x5120", "5120x1280", "4096x4096", "4096x16384", "8192x8192",
)  # fmt: skip
OUTLIERS = {3: 20.0, 97: 30.0, 250: 40.0, 511: 45.0, 700: 50.0, 1000: 60.0}
"""Column of x -> how many times as large as the others."""
COMPILING = 0.3
"""Of the budget, at most, for compiling beforehand."""
TAIL = 2.0
"""Seconds that no cell begins in any more."""


def main(arguments: list[str] | None = None) -> int:
    """Measure every cell within the budget, print a line each, then what it comes to."""
    options = _options(arguments)
    end = time.monotonic() + options.budget
    if options.tell or options.join:
        return _told(options)
    if options.compile != "off" and options.compile_workers:  # read when torch is imported
        os.environ.update({name: os.environ.get(name, word) for name, word in ENVIRON.items()})
    torch = _torch(options.device)
    warnings.filterwarnings("ignore", message="MatMul8bitLt: inputs will be cast")
    COMPILE["dynamic"], COMPILE["mode"] = options.compile == "dynamic", options.compile_mode
    if options.only_compile:
        return _only_compile(torch, options, end)
    name = _name(torch, options.device)
    peak = peaks(name)
    print(f"{name}, {versions()}")
    print(f"peaks: {peak['source'] if peak else 'not known for this device: no roofline'}")
    print(f"before each call {CACHES[options.cache]} (--cache {options.cache})", flush=True)
    try:
        told = read(options.json, {"device": name, "versions": versions()})
    except OtherRunError as error:
        print(f"benchmarks/switchback.py: {error}", file=sys.stderr)
        return 2
    clock = Clock(torch, options.device, options.cache)
    clock.start_seconds = options.start
    status = _run(clock, options, told, peak, end)
    _tell(told, options)
    return status


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="KxN", type=_shape)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, help="these contenders")
    parser.add_argument("--passes", nargs="+", choices=DEFAULT, default=tuple(DEFAULT))
    parser.add_argument("--cache", choices=CACHES, default="clean", help="the L2 cache at a call")
    parser.add_argument("--seconds", type=float, default=0.1, help="for a contender in a cell")
    parser.add_argument("--budget", type=float, default=math.inf, help="seconds for all of it")
    parser.add_argument("--compile", choices=("static", "dynamic", "off"), default="static")
    parser.add_argument("--compile-mode", default="default", help="torch.compile's mode")
    parser.add_argument(
        "--compile-workers", type=int, default=min(8, max(0, (os.cpu_count() or 1) // 2 - 1)),
        help="processes that compile beforehand",
    )  # fmt: skip
    parser.add_argument("--only-compile", metavar="I/N", help=argparse.SUPPRESS)
    parser.add_argument("--no-errors", action="store_true", help="leave outlier columns out")
    parser.add_argument("--format", choices=("text", "markdown"), default="text")
    parser.add_argument("--json", type=Path, help="figures of this and of earlier runs")
    parser.add_argument("--failed", action="store_true", help="ask again who failed in a cell")
    parser.add_argument(
        "--start", type=float, default=START_SECONDS, help="seconds to compile and run thrice in"
    )
    parser.add_argument("--join", type=Path, nargs="+", help="files whose figures FILE takes over")
    parser.add_argument("--tell", action="store_true", help="measure nothing: judge the file")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    options = parser.parse_args(arguments)
    if (options.tell or options.join) and (options.json is None or not options.json.exists()):
        parser.error("--tell and --join are about the file of --json FILE: name one that is there")
    options.words = _choosing(sys.argv[1:] if arguments is None else arguments)
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


def _choosing(arguments: list[str]) -> list[str]:
    """Keep what chooses the cells, for a compiling worker; it reads the file and writes none."""
    kept: list[str] = []
    skip = False
    for word in arguments:
        if skip or word in {"--budget", "--format", "--compile-workers"}:
            skip = not skip
            continue
        kept.append(word)
    return kept


def _torch(device: str) -> Any:
    try:
        import torch
    except ImportError as error:
        print(f"benchmarks/switchback.py needs torch: {error}", file=sys.stderr)
        sys.exit(2)
    if device != "cpu" and not torch.cuda.is_available():
        print(
            "benchmarks/switchback.py times GPU kernels and needs a CUDA GPU; "
            f"torch {torch.__version__} sees none (`qdoctor check` says why)",
            file=sys.stderr,
        )
        sys.exit(2)
    return torch


def _name(torch: Any, device: str) -> str:
    return "the CPU, as a trial" if device == "cpu" else str(torch.cuda.get_device_name())


def _groups(options: Any) -> list[Group]:
    return groups(options.shapes, options.rows, options.passes)


def _chosen(options: Any, passes: str) -> list[str]:
    names = options.only or DEFAULT[passes]
    return [n for n in names if not (options.compile == "off" and n.endswith("-compiled"))]


def _run(clock: Clock, options: Any, told: dict[str, Any], peak: Any, end: float) -> int:
    """Measure group after group, keeping the file up to date."""
    todo = [one for one in _groups(options) if _left(told, one, options)]
    compiled = any(n.endswith("-compiled") for one in todo for n in _chosen(options, one.passes))
    if compiled and clock.on_gpu and options.compile_workers:
        seconds = min(90.0, COMPILING * (end - time.monotonic()))
        print(beforehand(options.words, options.compile_workers, seconds), flush=True)
    try:
        for group in todo:
            _group(clock, group, options, told, peak, end)
        if not options.no_errors and not told["errors"]:
            told["errors"] = _all_errors(clock, options, end)
            write(options.json, told)
    except GpuLostError as lost:
        print(f"the GPU is lost: {lost}", flush=True)
        return 3
    return 0


def _left(told: dict[str, Any], group: Group, options: Any) -> dict[int, list[str]]:
    """Return for each number of rows whom to measure."""
    wanted = _chosen(options, group.passes)
    cells = {rows: (rows, *group.layer, group.passes) for rows in group.rows}
    found = {
        rows: lacking(told["cells"], cell, options.cache, wanted, failed=options.failed)
        for rows, cell in cells.items()
    }
    return {rows: names for rows, names in found.items() if names}


def _group(  # noqa: PLR0913, PLR0917 - of one file
    clock: Clock, group: Group, options: Any, told: dict[str, Any], peak: Any, end: float
) -> None:
    left = _left(told, group, options)
    if time.monotonic() > end - TAIL:
        print(f"left out, the budget is spent: {list(left)} x {group.layer} {group.passes}")
        return
    names = dict.fromkeys(name for some in left.values() for name in some)
    made, failed = contenders(clock, group.layer, group.passes, list(names))
    for rows, some in left.items():
        if time.monotonic() > end - TAIL:
            print(f"left out, the budget is spent: {rows} x {group.layer} {group.passes}")
            continue
        field = {name: one for name, one in made.items() if not name or name in some}
        try:
            cell = measured(clock, field, rows, group.passes, options.seconds)
        except GpuLostError as lost:
            told["cells"].append(_lost(lost, rows, group, options))
            write(options.json, told)
            raise
        cell["failed"].update({name: why for name, why in failed.items() if name in some})
        cell["roofline"] = roofline((rows, *group.layer), group.passes, peak) if peak else None
        told["cells"].append(cell)
        write(options.json, told)
        print(line(cell), flush=True)
        clock.free()
    made.clear()


def _lost(lost: GpuLostError, rows: int, group: Group, options: Any) -> dict[str, Any]:
    """Note who broke the device in which cell, so that the next run leaves it out there."""
    depth, columns = group.layer
    return {
        "rows": rows, "depth": depth, "columns": columns, "passes": group.passes,
        "cache": options.cache, "contenders": {}, "roofline": None,
        "failed": dict.fromkeys(lost.contenders, f"the device was lost: {lost.why}"),
    }  # fmt: skip


def contenders(
    clock: Clock, sizes: tuple[int, int], passes: str, names: list[str]
) -> tuple[dict[str, Contender], dict[str, str]]:
    """Make the named contenders of a layer (depth, columns); and say which failed, and why."""
    torch = clock.torch
    torch.manual_seed(7)
    torch.compiler.reset()  # it counts how often a function was compiled, over all layers
    linear = torch.nn.Linear(*sizes, device=clock.device, dtype=torch.bfloat16)
    made, failed = {"": Contender(linear, torch.bfloat16)}, {}
    for name in names:
        try:
            made[name] = CONTENDERS[name](torch, linear, training=passes != "forward")
        except OtherPassError:  # noqa: PERF203
            continue
        except Exception as error:  # noqa: BLE001 - a peer that fails is a result
            failed[name] = told_of(clock, name, error)
    return made, failed


def _only_compile(torch: Any, options: Any, end: float) -> int:
    """Compile a worker's share of the cells, and time nothing."""
    clock = Clock(torch, options.device, "warm")
    TUNING["timed"] = False

    def compile_one(item: tuple[Group, int]) -> None:
        group, rows = item
        names = [n for n in _chosen(options, group.passes) if n.endswith("-compiled")]
        made, _ = contenders(clock, group.layer, group.passes, names)
        for name in filter(None, made):
            started(clock, made[name], made[""].layer, rows, group.passes)
        clock.free()

    told = read(options.json, {"device": _name(torch, options.device), "versions": versions()})
    items = [(one, rows) for one in _groups(options) for rows in _left(told, one, options)]
    compile_all(share(items, options.only_compile), compile_one, end)
    return 0


def _all_errors(clock: Clock, options: Any, end: float) -> list[dict[str, Any]]:
    """Relative errors of the forward on Gaussian data and with outlier columns, by layer."""
    torch, found = clock.torch, []
    for sizes in options.shapes:
        if time.monotonic() > end - TAIL:
            print(f"left out, the budget is spent: errors of {sizes}")
            return []
        made, _ = contenders(clock, sizes, "forward", list(COMPARED))
        linear = made.pop("").layer
        x = torch.randn(CHECKED_ROWS, sizes[0], device=clock.device, dtype=torch.bfloat16)
        for data in ("Gaussian", "outliers"):
            if data == "outliers":
                for column, times in OUTLIERS.items():
                    x[:, column % sizes[0]] *= times
            errors = {}
            for name, one in made.items():
                try:
                    errors[name] = relative_error(torch, one.layer, linear, x.to(one.dtype))
                except Exception as error:  # noqa: BLE001, PERF203 - a peer that fails is a result
                    print(f"{name} FAILED {told_of(clock, name, error)}")
            found.append({"depth": sizes[0], "columns": sizes[1], "data": data, "errors": errors})
            words = [f"{name} {error:.4f}" for name, error in errors.items()]
            print(f"{sized({'rows': CHECKED_ROWS, **found[-1]}):20} {data:9} " + " | ".join(words))
    return found


def _told(options: Any) -> int:
    """Judge what a file holds, whatever it was measured on; first let it take over others."""
    try:
        told = read(options.json, {})
        if options.join:
            print(f"{joined(told, options.join)} records joined")
            write(options.json, told)
    except OtherRunError as error:
        print(f"benchmarks/switchback.py: {error}", file=sys.stderr)
        return 2
    print(f"{told.get('device')}, {told.get('versions')}")
    _tell(told, options)
    return 0


def _tell(told: dict[str, Any], options: Any) -> None:
    cells = [one for one in told["cells"] if one["cache"] == options.cache]
    print(f"verdicts, L2 cache {options.cache}:")
    for text in (*goal_lines(cells, keys(_groups(options))), *summary(cells)):
        print(text)
    if options.format == "markdown":
        errors = told["errors"]
        print("\n".join((*markdown(cells), *(error_lines(errors) if errors else ()))))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
