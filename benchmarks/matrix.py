"""What the compatibility matrix costs: loading, questions, its size, and how all that grows.

Every question is asked of a matrix just loaded, as one check asks it, so nothing is cached from the
question before. The larger matrices are the shipped one with every release standing there 10 and
100 times under other version numbers. Usage: ``python benchmarks/matrix.py [--runs N]``.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import statistics
import tempfile
import time
import zipfile
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING

from qdoctor import shipped
from qdoctor.matrix import Matrix, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUESTIONS: dict[str, Callable[[Matrix], object]] = {
    "release()": methodcaller("release", "bitsandbytes", "0.42.0"),
    "release(), local version": methodcaller("release", "torch", "2.5.1+cu121"),
    "release(), unknown": methodcaller("release", "torch", "99.0"),
    "has()": methodcaller("has", "triton", "3.0.0", "triton.language.libdevice"),
    "gpus_named()": methodcaller("gpus_named", "NVIDIA A100-SXM4-80GB"),
    "release(), one of a file": methodcaller("release", "peft", "0.10.0"),
    "row()": methodcaller("row", "cuda", "12.4"),
}
REPEATED = 200
LIMIT_MIB = 5.0


def grown(source: Path, target: Path, factor: int) -> Path:
    """Copy a matrix with each release standing there ``factor`` times; a shard's copy is a link."""
    shutil.copytree(source / "tables", target / "tables")
    index = json.loads((source / "index.json").read_text(encoding="utf-8"))
    for package, versions in index["packages"].items():
        names = {v: [v, *(f"{100 + n}.{v}" for n in range(1, factor))] for v in versions}
        if package in index.get("together", ()):
            grow_one_file(source / "dependents", target / "dependents", package, names)
        else:
            grow_shards(source / "releases" / package, target / "releases" / package, names)
        index["packages"][package] = [copies[n] for n in range(factor) for copies in names.values()]
    (target / "index.json").write_text(json.dumps(index), encoding="utf-8")
    return target


def grow_shards(source: Path, target: Path, names: dict[str, list[str]]) -> None:
    """Link each release's shard under all its names."""
    target.mkdir(parents=True)
    for version, copies in names.items():
        for copy in copies:
            (target / f"{copy}.json").symlink_to(source / f"{version}.json")


def grow_one_file(source: Path, target: Path, package: str, names: dict[str, list[str]]) -> None:
    """Write a package's one file with each release under all its names."""
    target.mkdir(parents=True, exist_ok=True)
    content = json.loads((source / f"{package}.json").read_text(encoding="utf-8"))
    old = content["releases"]
    content["releases"] = {copy: old[v] for v, copies in names.items() for copy in copies}
    (target / f"{package}.json").write_text(json.dumps(content), encoding="utf-8")


def milliseconds(act: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    act()
    return 1000 * (time.perf_counter() - start)


def times(folder: Path, runs: int) -> Iterator[tuple[str, list[float]]]:
    """Measure loading, then each question of a matrix just loaded, then one asked again."""
    load(folder).release("torch", "2.5.1")  # warms the page cache and the imports
    yield "load()", [milliseconds(partial(load, folder)) for _ in range(runs)]
    for name, ask in QUESTIONS.items():
        fresh = [load(folder) for _ in range(runs)]
        yield name, [milliseconds(partial(ask, matrix)) for matrix in fresh]
    for name, ask in QUESTIONS.items():
        yield f"{name}, again", [milliseconds(partial(ask, fresh[0])) for _ in range(REPEATED)]


def compressed_mib(folder: Path) -> tuple[int, float, float]:
    """Count a folder's JSON files; their size, and in a ZIP as a wheel is one, in MiB."""
    held = io.BytesIO()
    paths = sorted(folder.rglob("*.json"))
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            archive.write(path, path.relative_to(folder))
    plain = sum(path.stat().st_size for path in paths)
    return len(paths), plain / 2**20, len(held.getvalue()) / 2**20


def main() -> None:
    """Print the medians of every size, side by side, and the size in the wheel."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    source = shipped.matrix_folder()
    factors = (1, 10, 100)
    columns: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for factor in factors:
            folder = grown(source, Path(scratch) / str(factor), factor)
            columns.append({n: statistics.median(ms) for n, ms in times(folder, runs)})
    known = sum(
        len(v) for v in json.loads((source / "index.json").read_text())["packages"].values()
    )
    heads = [f"{known * factor} releases" for factor in factors]
    print(f"{'median of ' + str(runs) + ', ms':34}" + "".join(f"{head:>18}" for head in heads))
    for name in columns[0]:
        print(f"{name:34}" + "".join(f"{column[name]:18.4f}" for column in columns))
    count, plain, packed = compressed_mib(source)
    print(
        f"{count} files, {plain:.1f} MiB, in the wheel {packed:.2f} MiB (goal: below {LIMIT_MIB})"
    )


if __name__ == "__main__":
    main()
