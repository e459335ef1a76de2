"""What a static check costs: ``qdoctor check --probe none`` beside torch's own collect_env.

Both run in turn in the same interpreter's environment, A B A B ..., so that the ratio holds when
the machine's speed drifts. Usage: ``python benchmarks/static_check.py [--runs N]``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

CHECK = [sys.executable, "-m", "qdoctor", "check", "--probe", "none", "--fail-on", "never"]
COLLECT_ENV = [sys.executable, "-m", "torch.utils.collect_env"]
EMPTY = [sys.executable, "-c", "pass"]
IMPORT = [sys.executable, "-c", "import qdoctor"]


def seconds(command: list[str]) -> float:
    """Wall time of one run, in seconds; a command that fails ends the benchmark."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Print medians, ranges and the ratio pair by pair."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    os.environ.pop("QDOCTOR_CACHE_DIR", None)
    commands = {"check": CHECK, "collect_env": COLLECT_ENV, "import": IMPORT, "empty": EMPTY}
    for command in commands.values():
        seconds(command)  # warm the page cache
    times = {name: [] for name in commands}  # type: dict[str, list[float]]
    for _ in range(runs):
        for name, command in commands.items():
            times[name].append(seconds(command))
    for name, values in times.items():
        low, middle, high = min(values), statistics.median(values), max(values)
        print(f"{name:12} median {middle:.3f} s  (min {low:.3f}, max {high:.3f}, n={runs})")
    ratios = [a / b for a, b in zip(times["check"], times["collect_env"], strict=True)]
    imports = [a - b for a, b in zip(times["import"], times["empty"], strict=True)]
    print(f"check / collect_env: median {statistics.median(ratios):.3f}  (goal: below 0.1)")
    print(f"import qdoctor over an empty interpreter: {1000 * statistics.median(imports):.1f} ms")


if __name__ == "__main__":
    main()
