"""What ``select_backend()`` costs: first, kept, in a loop, and in many processes at once.

Every figure but the first call's is a median. A fresh interpreter is started for each run; times
are taken inside of it, after ``import qdoctor``, so that they leave out what Python itself takes.
The cache is a new folder that is deleted again.

Usage: ``python benchmarks/select.py [--runs N] [--processes N] [--never] [--against COMMIT]``.
``--never`` leaves measuring out (probes and matrix alone); ``--against`` also times ``import
qdoctor`` of another commit, in turn with this one, A B A B ..., as both vary with the machine.
"""

from __future__ import annotations

import argparse
import io
import json
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
    """Return what a process said after ``told``; one that fails ends the benchmark."""
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return next(line[5:] for line in done.stdout.splitlines() if line.startswith("told "))


def call(asks: dict[str, Any], times: int, environ: dict[str, str]) -> list[Any]:
    """Ask ``times`` times in one fresh process."""
    words = [sys.executable, "-c", CALL, json.dumps(asks), str(times), ""]
    found: list[Any] = json.loads(told(words, environ))
    return found


def at_once(count: int, asks: dict[str, Any], environ: dict[str, str]) -> None:
    """Let ``count`` processes ask at the same moment, and print how that went."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-c", CALL, json.dumps(asks), "1", folder]
        askers = [
            subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, text=True)
            for _ in range(count)
        ]
        while len(list(Path(folder).glob("ready.*"))) < count:
            time.sleep(0.01)
        began = time.perf_counter()
        Path(folder, "go").touch()
        outputs = [asker.communicate()[0] for asker in askers]
        wall = time.perf_counter() - began
    found = [json.loads(text.partition("told ")[2]) for text in outputs]
    worked = sum(one[2] for one in found)
    answers = {(one[0], one[4]) for one in found}
    middle = statistics.median(one[1][0] for one in found)
    print(
        f"  {count} at once: {worked} worked it out, {len(answers)} answer(s), "
        f"median {middle:.3f} s, all done after {wall:.2f} s"
    )


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
        print(f"import qdoctor, {name}: median {middle:.2f} ms, least {least:.2f} ms")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=21)
    parser.add_argument("--processes", type=int, default=64)
    parser.add_argument("--never", action="store_true")
    parser.add_argument("--against")
    options = parser.parse_args()
    asks = {"measure": "never"} if options.never else {}
    with tempfile.TemporaryDirectory() as folder:
        environ = {**os.environ, "QDOCTOR_CACHE_DIR": str(Path(folder, "cache"))}
        environ.pop("QDOCTOR_SELECTION", None)
        name, taken, *_ = call(asks, 1, environ)
        print(f"first call: {taken[0]:.1f} s, selected {name}")
        fresh = [call(asks, 1, environ)[1][0] for _ in range(options.runs)]
        low, middle, high = min(fresh), statistics.median(fresh), max(fresh)
        print(
            f"kept, in a fresh process: median {1e3 * middle:.2f} ms "
            f"(min {1e3 * low:.2f}, max {1e3 * high:.2f}, n={options.runs})"
        )
        print(f"  it loads: {told([sys.executable, '-c', LOADED, repr(asks)], environ)}")
        again = call(asks, 2001, environ)[1][1:]
        print(f"kept, in a loop: median {1e6 * statistics.median(again):.0f} us")
        print("the answer kept:")
        at_once(options.processes, asks, environ)
        print("nothing kept:")
        environ["QDOCTOR_CACHE_DIR"] = str(Path(folder, "another"))
        at_once(options.processes, asks, environ)
        if options.against:
            imports(options.runs, options.against, environ)


if __name__ == "__main__":
    main()
