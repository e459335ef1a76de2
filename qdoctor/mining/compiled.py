"""Which tiny kernels a triton release compiles, for which SM: seen by doing it, without a GPU.

A step of its own, because it installs each release (into a cache, beside nothing) and runs its
compiler: one process per release and kernel, and one more after each that the compiler aborts.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.tags import sys_tags

from qdoctor import process, shipped
from qdoctor.mining.errors import UnreadableRelease
from qdoctor.mining.message import shortened
from qdoctor.mining.shard import Shard, path_of, seen, write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from packaging.version import Version

    from qdoctor.mining.index import WheelFile

KERNELS = ("libdevice_call", "int8_dot", "bf16_dot", "fp8_e4m3_cast", "fp8_e5m2_cast")
_PACKAGE = "triton"
_PROGRAM = "_compiles_ahead.py"
_HOW = "kernels/_compiles_ahead.py {}, compiled ahead of time to a cubin, no GPU"
_NOT_IMPORTABLE = 3
_INSTALL_SECONDS = 900
_COMPILE_SECONDS = 600
_AT_ONCE = 2


@dataclass(frozen=True)
class Bench:
    """Where shards and installed releases lie, torch for those that import it, and which SMs."""

    matrix: Path
    cache: Path
    torch: Path | None
    sms: tuple[str, ...]


@dataclass(frozen=True)
class Answers:
    """What one kernel did: SM -> ``yes`` or why not; the triton name that it is about."""

    said: Mapping[str, str]
    name: str


def compile_all(
    releases: Mapping[Version, Sequence[WheelFile]],
    bench: Bench,
    wanted: Callable[[Version, bool], bool],
    progress: Callable[[str], None],
) -> tuple[list[str], dict[str, str]]:
    """Add the fact ``compiles`` to the shards of triton ``releases``: (written, failed -> why).

    ``wanted`` says of a release, and whether it has the fact already, if it is to be compiled.
    """
    written: list[str] = []
    failed: dict[str, str] = {}
    for version, files in releases.items():
        path = path_of(bench.matrix, _PACKAGE, version)
        if not path.exists() or not wanted(version, "compiles" in _read(path).facts):
            continue
        name = f"{_PACKAGE}=={version}"
        try:
            changed = _one(path, _fitting(files), bench)
        except UnreadableRelease as error:
            failed[name] = str(error)
            progress(f"{name}: not compiled: {error}")
            continue
        written += [name] if changed else []
        progress(f"{name}: compiled" + ("" if changed else ", unchanged"))
    return written, failed


def _one(path: Path, file: WheelFile, bench: Bench) -> bool:
    """Compile all kernels with one release and write what was seen into its shard."""
    place = _installed(file, bench.cache)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(partial(_answers, place, bench), KERNELS))
    shard = _read(path)
    evidence = [
        {**seen(file, symbol=answer.name or None), "source": _HOW.format(kernel)}
        | {"strength": "observed"}
        for kernel, answer in zip(KERNELS, answers, strict=True)
    ]
    value = {k: dict(answer.said) for k, answer in zip(KERNELS, answers, strict=True)}
    shard.say("compiles", value, *evidence)
    return write(path, shard.text())


def _fitting(files: Sequence[WheelFile]) -> WheelFile:
    """Choose the wheel that installs here. Raises ``UnreadableRelease`` where none does."""
    ranks = {tag: rank for rank, tag in enumerate(sys_tags())}
    fitting = [file for file in files if any(tag in ranks for tag in file.tags)]
    if not fitting:
        raise UnreadableRelease("no wheel installs on this Python and platform")
    return min(fitting, key=lambda file: min(ranks[tag] for tag in file.tags if tag in ranks))


def _installed(file: WheelFile, cache: Path) -> Path:
    """Install one wheel, and nothing that it requires, into a folder of its own; once."""
    place = cache / f"{file.name.removesuffix('.whl')}"
    if place.is_dir():
        return place
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as under_way:
        wanted = Path(under_way) / "wanted.txt"
        digest = f" --hash=sha256:{file.sha256}" if file.sha256 else ""
        wanted.write_text(f"{_PACKAGE}=={file.version}{digest}\n", encoding="utf-8")
        target = Path(under_way) / "target"
        argv = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
        argv += ["--no-cache-dir", "--only-binary", ":all:", "--disable-pip-version-check"]
        ended = process.run(
            [*argv, "--target", str(target), "--requirement", str(wanted)], seconds=_INSTALL_SECONDS
        )
        if ended.returncode != 0:
            words = ended.stderr.decode(errors="replace").strip().splitlines()
            why = ended.start_error or (words or ["it took too long"])[-1]
            raise UnreadableRelease(f"{file.name}: pip could not install it: {why}")
        target.replace(place)
    return place


def _answers(place: Path, bench: Bench, kernel: str) -> Answers:
    """Compile one kernel for every SM, starting again behind each SM that ends the compiler."""
    said: dict[str, str] = {}
    name = ""
    left = list(bench.sms)
    while left:
        lines, ended = _run(place, bench, [kernel, *left])
        said.update({line["sm"]: shortened(line["said"]) for line in lines if "said" in line})
        name = name or next((line["name"] for line in lines), "")
        if ended.returncode == 0:
            break
        words = ended.stderr.decode(errors="replace")
        if not lines or "said" in lines[-1] or ended.returncode == _NOT_IMPORTABLE:
            why = ended.start_error or (words.strip().splitlines() or ["it says nothing"])[-1]
            raise UnreadableRelease(f"{kernel} cannot be compiled here: {why}")
        at = lines[-1]["sm"]
        if not ended.timed_out:
            said[at] = f"the compiler aborts: {shortened(words)}"
        left = left[left.index(at) + 1 :]
    return Answers({sm: said[sm] for sm in bench.sms if sm in said}, name)


def _run(
    place: Path, bench: Bench, arguments: Sequence[str]
) -> tuple[list[dict[str, str]], process.Ended]:
    """Run the program with one triton, our Python's standard library and nothing else."""
    program = shipped.kernels_folder() / _PROGRAM
    folders = [str(place), *([str(bench.torch)] if bench.torch else [])]
    with tempfile.TemporaryDirectory() as scratch:
        env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": scratch,
            "TMPDIR": scratch,
            "TRITON_CACHE_DIR": f"{scratch}/triton",
            "PYTHONPATH": os.pathsep.join(folders),
        }
        answers = Path(scratch) / "answers"
        # -S: no site-packages, so that no other triton's backends are found beside this one.
        argv = [sys.executable, "-B", "-S", str(program), str(answers), *arguments]
        ended = process.run(argv, seconds=_COMPILE_SECONDS, env=env, cwd=Path(scratch))
        text = answers.read_text(encoding="utf-8") if answers.exists() else ""
        return [json.loads(line) for line in text.splitlines()], ended


def _read(path: Path) -> Shard:
    plain: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return Shard(plain["package"], plain["version"], plain["facts"], plain["evidence"])
