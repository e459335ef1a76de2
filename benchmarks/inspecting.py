"""What reading native libraries costs: every library of the installed packages, and of many.

First this interpreter's own environment: cold (nothing remembered, the files put out of the page
cache where the system allows), with an empty cache of ours, and warm. Then environments of 10, 100
and 1000 libraries with GPU code, hard links of a real one, so that the growth shows.
Usage: ``python benchmarks/inspect.py [--python PATH] [--runs N] [--json]``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from qdoctor.facts import candidates, native
from qdoctor.facts.interpreter import Distribution, NoAnswer, Reading, ask

if TYPE_CHECKING:
    from collections.abc import Iterable

COUNTS = (10, 100, 1000)
GOAL = 1.0  # seconds, a full CUDA installation of torch with a warm cache


def timed(reading: Reading, environ: dict[str, str]) -> tuple[float, native.Read]:
    """Wall time of one inspection, in seconds, and what it read."""
    start = time.perf_counter()
    read = native.read_native(reading, environ)
    return time.perf_counter() - start, read


def out_of_page_cache(paths: Iterable[str]) -> bool:
    """Ask the system to forget the files' pages; whether it could be asked."""
    if not hasattr(os, "posix_fadvise"):
        return False
    for path in paths:
        try:
            number = os.open(path, os.O_RDONLY)
        except OSError:
            continue
        os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(number)
    return True


def measured(reading: Reading, runs: int) -> dict[str, Any]:
    """Time one environment cold, with an empty cache of ours, and warm; medians of ``runs``."""
    with tempfile.TemporaryDirectory() as folder:
        cold = []
        for number in range(2):
            environ = {**os.environ, "QDOCTOR_CACHE_DIR": f"{folder}/{number}"}
            files = [one.path for one in candidates.find(reading, environ).candidates]
            environ["QDOCTOR_CACHE_DIR"] = f"{folder}/{number}-empty"
            dropped = out_of_page_cache(files) if number == 0 else False
            cold.append(timed(reading, environ)[0])
            if number == 0:
                could_drop = dropped
        warm = [timed(reading, environ) for _ in range(runs)]
    libraries = [one for one in warm[0][1].libraries if one.sm is not None]
    size = sum(Path(one.path or "").stat().st_size for one in libraries)
    return {
        "native_files": len(files),
        "cuda_libraries": len(libraries),
        "mib": round(size / 2**20, 1),
        "page_cache_dropped": could_drop,
        "cold_seconds": round(cold[0], 4),
        "empty_cache_seconds": round(cold[1], 4),
        "warm_seconds": round(statistics.median(seconds for seconds, _ in warm), 4),
        "warm_worst_seconds": round(max(seconds for seconds, _ in warm), 4),
    }


def synthetic(reading: Reading, library: Path, count: int, runs: int) -> dict[str, Any]:
    """Time an environment of ``count`` libraries, ten in each of its packages."""
    with tempfile.TemporaryDirectory() as folder:
        one_copy = shutil.copy(library, folder)
        distributions = []
        for number in range(0, count, 10):
            name = f"made{number}"
            info = Path(folder, f"{name}-1.0.dist-info")
            info.mkdir()
            Path(folder, name).mkdir()
            files = [f"{name}/lib{one}.so" for one in range(min(10, count - number))]
            for file in files:
                Path(folder, file).hardlink_to(one_copy)
            record = "".join(f"{file},sha256=x,1\n" for file in files)
            (info / "RECORD").write_text(record, encoding="utf-8")
            distributions.append(Distribution(name, "1.0", str(info / "METADATA"), folder))
        made = msgspec.structs.replace(
            reading, distributions=distributions, path=[folder], folders={}
        )
        return measured(made, runs)


def main() -> None:
    """Print the figures, as a table or as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    reading = ask(options.python, os.environ)
    if isinstance(reading, NoAnswer):
        parser.error(reading.reason)
    rows = {"installed": measured(reading, options.runs)}
    found = native.read_native(reading, os.environ).libraries
    with_code = [one for one in found if one.sm and one.path]
    if with_code:
        smallest = min((Path(one.path or "") for one in with_code), key=lambda p: p.stat().st_size)
        for count in COUNTS:
            rows[str(count)] = synthetic(reading, smallest, count, options.runs)
    if options.json:
        print(json.dumps({"goal_warm_seconds": GOAL, "environments": rows}, indent=2))
        return
    for name, row in rows.items():
        print(
            f"{name:9} {row['cuda_libraries']:5} CUDA libraries of {row['native_files']} files,"
            f" {row['mib']:8.1f} MiB: cold {row['cold_seconds']:.3f} s, empty cache"
            f" {row['empty_cache_seconds']:.3f} s, warm {row['warm_seconds']:.4f} s"
        )


if __name__ == "__main__":
    main()
