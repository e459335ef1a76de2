"""What ``select_backend()`` costs, and whether its answers hold.

``first``, ``kept``, ``loop``, ``at-once``: the time of the first call, of a kept answer in a fresh
process and in a loop, and of many processes at once. Every figure but the first call's is a median.
A fresh interpreter is started for each run; times are taken inside of it, after ``import qdoctor``,
so that they leave out what Python itself takes. The cache is a new folder that is deleted again.
``table``: what is selected for latency at each shape of switchback.py's table is held against a
second measurement, and against that table's own file. ``repeat``: the same question several times.
``budgets``: with 3, 10 and 30 seconds of measuring. ``full``: a first call on a GPU that another
process has filled.

Usage: ``python benchmarks/select.py [--phases first kept loop at-once table repeat budgets full]
[--runs N] [--processes N] [--never] [--against COMMIT] [--budget SECONDS] [--table FILE]
[--table-budget 60] [--rows 4096 ...] [--shapes 1024x4096 ...] [--allow BACKEND ...]
[--training] [--repeats 5] [--device cuda:0] [--json FILE]``. ``--never`` leaves measuring out of
the calls (probes and matrix alone); ``--against`` also times ``import qdoctor`` of another commit,
in turn with this one, A B A B ..., as both vary with the machine. Each step is told as it begins;
one for which the budget has no time is left out.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import math
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parent.parent
if sys.path[0] != str(HOME):  # in place of this folder, whose inspect.py is not the library's
    sys.path[:1] = [str(HOME)]

from benchmarks._phases import Phases  # noqa: E402 - see above
from benchmarks._selecting_full import filled  # noqa: E402
from benchmarks._selecting_table import (  # noqa: E402
    Machine,
    repeated_lines,
    table_lines,
    winners,
)

PHASES = ("first", "kept", "loop", "at-once", "table", "repeat", "budgets", "full")
CALLS = PHASES[:4]
BUDGETS = (3.0, 10.0, 30.0)
ROWS = (4096, 16384, 256, 16, 1)
SHAPES = (
    "1024x4096", "4096x1024", "1280x5120", "5120x1280", "4096x4096", "4096x16384", "8192x8192",
)  # fmt: skip
LONGEST = 240.0
"""Seconds that any one step may take."""
CALL = """
import json, sys, time
import qdoctor
asks, times, start = json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if start:
    import os
    open(os.path.join(start, f"ready.{os.getpid()}"), "w").close()
    while not os.path.exists(os.path.join(start, "go")):
        time.sleep(0.002)
taken = []
for _ in range(times):
    began = time.perf_counter()
    backend = qdoctor.select_backend(**asks)
    taken.append(time.perf_counter() - began)
worked = "qdoctor.doctor" in sys.modules
loaded = [name for name in ("torch", "msgspec", "json", "typing", "ctypes") if name in sys.modules]
print("told", json.dumps([backend.name, taken, worked, loaded, backend.selection["reason"]]))
"""
# json is loaded by the lines above; what the call itself loads is asked without it:
LOADED = """
import sys, qdoctor
before = set(sys.modules)
qdoctor.select_backend(**eval(sys.argv[1]))
new = [name for name in sys.modules if name not in before]
print("told", [name for name in new if not name.startswith("qdoctor")], len(new))
"""
IMPORT = (
    "import time; t = time.perf_counter(); import qdoctor; print('told', time.perf_counter() - t)"
)


def told(words: list[str], environ: dict[str, str]) -> str:
    """Return what a process said after ``told``. Raises ``RuntimeError`` for one that fails."""
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"a process failed: {done.stderr[-2000:]}")
    return next(line[5:] for line in done.stdout.splitlines() if line.startswith("told "))


def call(asks: dict[str, Any], times: int, environ: dict[str, str]) -> list[Any]:
    """Ask ``times`` times in one fresh process."""
    words = [sys.executable, "-c", CALL, json.dumps(asks), str(times), ""]
    found: list[Any] = json.loads(told(words, environ))
    return found


def at_once(count: int, asks: dict[str, Any], environ: dict[str, str]) -> dict[str, Any]:
    """Let ``count`` processes ask at the same moment, and print how that went."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-c", CALL, json.dumps(asks), "1", folder]
        askers = [
            subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, text=True)
            for _ in range(count)
        ]
        try:
            while len(list(Path(folder).glob("ready.*"))) < count:
                _all_well(askers)
                time.sleep(0.01)
            began = time.perf_counter()
            Path(folder, "go").touch()
            outputs = [asker.communicate()[0] for asker in askers]
            wall = time.perf_counter() - began
            _all_well(askers)
        finally:
            for asker in askers:
                with asker:  # its pipe is closed, its end waited for
                    asker.kill()
    found = [json.loads(text.partition("told ")[2]) for text in outputs]
    worked = sum(one[2] for one in found)
    answers = {(one[0], one[4]) for one in found}
    middle = statistics.median(one[1][0] for one in found)
    say(
        f"  {count} at once: {worked} worked it out, {len(answers)} answer(s), "
        f"median {middle:.3f} s, all done after {wall:.2f} s"
    )
    return {"worked": worked, "answers": len(answers), "median": middle, "wall": wall}


def _all_well(askers: list[subprocess.Popen[str]]) -> None:
    """Raise ``RuntimeError`` where processes failed: what they said stands above."""
    ended = [asker.poll() for asker in askers]
    failed = [code for code in ended if code]
    if failed:
        raise RuntimeError(f"{len(failed)} of {len(askers)} processes failed, exit {failed[0]}")


def imports(runs: int, commit: str, environ: dict[str, str]) -> None:
    """Time ``import qdoctor`` here and at another commit, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        packed = subprocess.run(
            ["git", "-C", str(HOME), "archive", commit, "qdoctor/__init__.py"],  # noqa: S607
            capture_output=True,
            check=True,
        )
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
            archive.extractall(folder, filter="data")
        times: dict[str, list[float]] = {"here": [], commit: []}
        words = [sys.executable, "-S", "-c", IMPORT]
        for _ in range(runs + 1):  # the first one compiles
            for name, path in (("here", str(HOME)), (commit, folder)):
                times[name].append(float(told(words, {**environ, "PYTHONPATH": path})))
    for name, values in times.items():
        middle, least = (1e3 * one(values[1:]) for one in (statistics.median, min))
        say(f"import qdoctor, {name}: median {middle:.2f} ms, least {least:.2f} ms")


def say(*words: object) -> None:
    """Print at once: a run that is stopped has told what it found."""
    print(*words, flush=True)


class Calls:
    """What calls cost, with a cache of their own in ``folder``."""

    def __init__(self, options: argparse.Namespace, folder: str) -> None:
        """Ask nothing yet."""
        self.options = options
        self.asks: dict[str, Any] = {"measure": "never"} if options.never else {}
        if options.device:
            self.asks["device"] = options.device
        self.environ = {**os.environ, "QDOCTOR_CACHE_DIR": str(Path(folder, "cache"))}
        self.environ.pop("QDOCTOR_SELECTION", None)
        self.another = {**self.environ, "QDOCTOR_CACHE_DIR": str(Path(folder, "another"))}

    def first(self) -> dict[str, Any]:
        """Ask once, nothing kept."""
        name, taken, *_ = call(self.asks, 1, self.environ)
        say(f"first call: {taken[0]:.1f} s, selected {name}")
        return {"seconds": taken[0], "selected": name}

    def kept(self) -> dict[str, Any]:
        """Ask in fresh processes."""
        runs = self.options.runs
        fresh = [call(self.asks, 1, self.environ)[1][0] for _ in range(runs)]
        low, middle, high = min(fresh), statistics.median(fresh), max(fresh)
        say(
            f"kept, in a fresh process: median {1e3 * middle:.2f} ms "
            f"(min {1e3 * low:.2f}, max {1e3 * high:.2f}, n={runs})"
        )
        say(f"  it loads: {told([sys.executable, '-c', LOADED, repr(self.asks)], self.environ)}")
        return {"median": middle, "least": low, "most": high, "runs": runs}

    def loop(self) -> dict[str, Any]:
        """Ask again and again in one process."""
        again = call(self.asks, 2001, self.environ)[1][1:]
        say(f"kept, in a loop: median {1e6 * statistics.median(again):.0f} us")
        return {"median": statistics.median(again)}

    def at_once(self) -> dict[str, Any]:
        """Ask in many processes at once, first with the answer kept, then with nothing kept."""
        say("the answer kept:")
        kept = at_once(self.options.processes, self.asks, self.environ)
        say("nothing kept:")
        return {"kept": kept, "new": at_once(self.options.processes, self.asks, self.another)}

    def full(self) -> dict[str, Any]:
        """Ask for the first time where another process holds the GPU's memory."""
        environ = {**self.environ, "QDOCTOR_CACHE_DIR": self.environ["QDOCTOR_CACHE_DIR"] + "-full"}
        with filled() as left:
            say(f"a full GPU: {left} MiB left")
            name, taken, _, _, reason = call(self.asks, 1, environ)
        say(f"first call on a full GPU: {taken[0]:.1f} s, selected {name}: {reason}")
        return {"left_mib": left, "seconds": taken[0], "selected": name, "reason": reason}


class Answers:
    """Whether the answers hold; the machine is examined at the first that needs it."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Measure nothing yet."""
        self.options = options

    @functools.cached_property
    def machine(self) -> Machine:
        """The machine, examined."""
        made = Machine(self.options.device, lambda _: None, training=self.options.training)
        say(f"examined in {made.seconds:.1f} s")
        return made

    def table(self) -> dict[str, Any]:
        """Hold the choice at each shape against a second measurement and switchback.py's table."""
        options = self.options
        shapes = [(rows, *layer) for rows in options.rows for layer in options.shapes]
        both = []
        for _ in range(2):
            both.append(self.machine.measured(shapes, options.table_budget, options.allow))
            say(f"measured in {both[-1].seconds:.1f} s; {len(both[-1].notes)} shapes left out")
        cells = json.loads(options.table.read_text("utf-8"))["cells"] if options.table else []
        lines = list(table_lines(self.machine, both[0], both[1], cells))
        say("\n".join(lines))
        return {"lines": lines}

    def repeat(self) -> dict[str, Any]:
        """Ask the same question several times."""
        answers = []
        for number in range(self.options.repeats):
            measured = self.machine.measured(None, 10.0, self.options.allow)
            answers.append(winners(self.machine, measured))
            say(f"  run {number + 1}: {measured.seconds:.1f} s, {answers[-1]}")
        lines = list(repeated_lines(answers))
        say("\n".join(lines))
        return {"answers": answers, "lines": lines}

    def budgets(self) -> dict[str, Any]:
        """Ask with little and with much time."""
        found: dict[str, Any] = {}
        for seconds in BUDGETS:
            measured = self.machine.measured(None, seconds, self.options.allow)
            found[f"{seconds:g}"] = {
                "seconds": measured.seconds, "notes": measured.notes,
                **winners(self.machine, measured),
            }  # fmt: skip
            say(f"  a budget of {seconds:g} s: {found[f'{seconds:g}']}")
        return found


def main(arguments: list[str] | None = None) -> None:
    """Go through the phases that were asked for; print and keep the figures."""
    options = _options(arguments)
    phases, kept = Phases(options.budget), {"device": options.device}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        calls, answers = Calls(options, folder), Answers(options)
        steps = {
            "first": calls.first, "kept": calls.kept, "loop": calls.loop, "at-once": calls.at_once,
            "table": answers.table, "repeat": answers.repeat, "budgets": answers.budgets,
            "full": calls.full,
        }  # fmt: skip
        for name in options.phases:
            kept[name] = phases.run(name, LONGEST, steps[name])
            kept["failed"] = phases.failed
            if options.json:
                options.json.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        if options.against:
            imports(options.runs, options.against, calls.environ)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--phases", nargs="+", choices=PHASES, default=list(CALLS))
    parser.add_argument("--runs", type=int, default=21)
    parser.add_argument("--processes", type=int, default=64)
    parser.add_argument("--never", action="store_true")
    parser.add_argument("--against")
    parser.add_argument("--budget", type=float, default=math.inf, help="seconds for all of it")
    parser.add_argument("--table", type=Path, help="what switchback.py --json wrote")
    parser.add_argument("--table-budget", type=float, default=60.0, help="for each measurement")
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="KxN", type=_layer)
    parser.add_argument("--allow", nargs="+", help="consider only these backends, beside half")
    parser.add_argument("--training", action="store_true", help="for table, repeat and budgets")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", help="cuda:N or cpu; default: what select_backend takes")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    options.shapes = [_layer(one) for one in options.shapes]
    return options


def _layer(text: str | tuple[int, int]) -> tuple[int, int]:
    """``1024x4096`` -> (1024, 4096): inputs, outputs."""
    if isinstance(text, tuple):
        return text
    depth, _, columns = text.partition("x")
    if not (depth.isdigit() and columns.isdigit() and int(depth) and int(columns)):
        raise argparse.ArgumentTypeError(f"{text!r} is not like 1024x4096 (inputs x outputs)")
    return int(depth), int(columns)


if __name__ == "__main__":
    main()
