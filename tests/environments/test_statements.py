"""Statements of the shards at random, read again from the wheels by other means than the miner's.

The wheels are downloaded with pip and unpacked; then the statements are told again by ``readelf``
and ``strings``, by ``importlib.metadata``, by a search in the text, and by running the package in a
child. Which statements is decided by the day (``QDOCTOR_STATEMENTS_SEED=20261122`` repeats one).
"""

from __future__ import annotations

import ast
import datetime as dt
import importlib.metadata
import logging
import os
import random
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from qdoctor.matrix import Release, shipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.environments,
    pytest.mark.skipif(sys.platform != "linux", reason="triton's wheels"),
    pytest.mark.skipif(not shutil.which("readelf"), reason="needs binutils"),
    pytest.mark.timeout(900),
]

SEED = os.environ.get("QDOCTOR_STATEMENTS_SEED") or f"{dt.date.today():%Y%m%d}"  # noqa: DTZ011 - any day will do
AT_LEAST = 50
RELEASES = {"bitsandbytes": 5, "triton": 3}
PER_RELEASE = 11
LARGEST_MIB = 200.0
_LOG = logging.getLogger(__name__)
_PTXAS = "third_party/cuda/bin/ptxas", "backends/nvidia/bin/ptxas"
_MISSING = """
import importlib.util, triton.language as language
def there(name):
    return hasattr(language, name.split(".")[-1]) or importlib.util.find_spec(name) is not None
print([name for name in {!r} if not there(name)])
"""
_DECORATE = """
import triton
def kernel(x):
    pass
try:
    triton.autotune(configs=[triton.Config({})], key=["x"])(triton.jit(kernel))
except RuntimeError:
    print(True)
else:
    print(False)
"""


@dataclass
class Unpacked:
    """One release's wheel, unpacked, beside what the shard states of it."""

    release: Release
    wheel: str
    folder: Path
    environ: dict[str, str] = field(repr=False)

    @property
    def facts(self) -> dict[str, Any]:
        return self.release.facts

    @property
    def metadata(self) -> importlib.metadata.PackageMetadata:
        found = next(iter(importlib.metadata.distributions(path=[str(self.folder)])))
        return found.metadata

    def read_by(self, *command: str) -> str:
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        return ended.stdout

    def runs(self, code: str) -> str:
        """Run code in a child that has this package and our torch; give its last line."""
        script = self.folder / "said.py"  # its folder comes first on the child's path
        script.write_text(code, encoding="utf-8")
        run = [sys.executable, "-B", str(script)]
        ended = subprocess.run(run, env=self.environ, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr[-2000:]
        return ended.stdout.strip().splitlines()[-1]


Reading = tuple[str, object, "Callable[[], object]"]
"""A statement in words, what the shard says, and how to read it again."""


def _statements(unpacked: Unpacked, choice: random.Random) -> list[Reading]:
    """Choose statements of one release: at most one for each key, but several names."""
    told = [*_of_metadata(unpacked), *_of_libraries(unpacked, choice)]
    told += [*_of_lines(unpacked, choice), *_of_names(unpacked, choice)]
    told += list(_of_triton(unpacked)) if unpacked.release.package == "triton" else []
    return choice.sample(told, min(PER_RELEASE, len(told)))


def _of_metadata(unpacked: Unpacked) -> Iterator[Reading]:
    facts, metadata = unpacked.facts, unpacked.metadata
    wanted = metadata.get_all("Requires-Dist") or []
    yield "requires_dist", facts["requires_dist"], lambda: [str(one) for one in wanted]
    yield "requires_python", facts["requires_python"], lambda: metadata["Requires-Python"] or ""
    tags = unpacked.wheel.removesuffix(".whl").split("-")[-1].split(".")
    yield "platforms", True, lambda: set(tags) <= set(facts["platforms"])


def _of_libraries(unpacked: Unpacked, choice: random.Random) -> Iterator[Reading]:
    """Native libraries: what they need, which symbol versions, by readelf."""
    here = unpacked.folder / unpacked.release.package
    mine = [one for one in unpacked.facts.get("native", []) if (here / one["file"]).is_file()]
    mine = [one for one in mine if one["platform"] == _platform(unpacked.wheel)]
    for one in choice.sample(mine, min(4, len(mine))):
        path, name = str(here / one["file"]), one["file"]
        yield f"native {name} needs", one["needs"], partial(_needs, unpacked, path)
        for key, prefix in (("glibc", "GLIBC_"), ("glibcxx", "GLIBCXX_")):
            if one.get(key):
                yield f"native {name} {key}", one[key], partial(_newest, unpacked, path, prefix)
    if "glibc" in unpacked.facts:
        place = unpacked.release.evidence["glibc"][0]
        if place["wheel"] == unpacked.wheel:
            path = str(unpacked.folder / place["member"])
            yield "glibc", unpacked.facts["glibc"], partial(_newest, unpacked, path, "GLIBC_")


def _needs(unpacked: Unpacked, path: str) -> list[str]:
    return re.findall(r"\(NEEDED\).*\[(.+)\]", unpacked.read_by("readelf", "-dW", path))


def _newest(unpacked: Unpacked, path: str, prefix: str) -> str:
    text = unpacked.read_by("readelf", "-VW", path)
    needed = text[text.index("Version needs section") :]
    found = set(re.findall(rf"Name: {prefix}([\d.]+)", needed))
    newest: str = max(found, key=lambda version: [int(part) for part in version.split(".")])
    return newest


def _of_lines(unpacked: Unpacked, choice: random.Random) -> Iterator[Reading]:
    """Evidence with a line: the symbol's last part stands in that statement of that file."""
    places = [
        (key, place)
        for key, items in unpacked.release.evidence.items()
        for place in items
        if place.get("wheel") == unpacked.wheel and place.get("line") and place.get("symbol")
    ]
    for key, place in choice.sample(places, min(5, len(places))):
        what = f"{key}: {place['symbol']} at {place['member']}:{place['line']}"
        yield what, True, partial(_stands_there, unpacked.folder, place)


def _stands_there(folder: Path, place: dict[str, Any]) -> bool:
    """Search the text: the line may begin a statement that goes on below it."""
    lines = (folder / place["member"]).read_text(encoding="utf-8").splitlines()
    told = "\n".join(lines[place["line"] - 1 : place["line"] + 40])
    return bool(re.search(rf"\b{re.escape(place['symbol'].split('.')[-1])}\b", told))


def _of_names(unpacked: Unpacked, choice: random.Random) -> Iterator[Reading]:
    """Names that a module's own source binds, searched for in its text; and invented ones."""
    matrix, package = shipped(), unpacked.release.package
    version = unpacked.release.version
    names = unpacked.facts.get("names") or unpacked.facts.get("public_names") or []
    for name in choice.sample(names, min(5, len(names))):
        yield f"has {name}", True, partial(_bound, unpacked.folder, name)
    # An object of a module's own name may stand in its place: then no name is denied.
    closed = [
        one
        for one in unpacked.facts["closed_modules"]
        if f"{one}.{one.rpartition('.')[2]}" not in names
    ]
    for module in choice.sample(closed, 2):
        name = f"{module}.no_such_name_{SEED}"
        yield f"has {name}", "no", partial(matrix.has, package, version, name)


def _bound(folder: Path, dotted: str) -> bool:
    """Say whether a dotted name is a file or folder, or a word in the file of its module."""
    path = folder.joinpath(*dotted.split("."))
    if path.is_dir() or path.with_suffix(".py").is_file() or _is_native(path):
        return True
    module, _, name = dotted.rpartition(".")
    base = folder.joinpath(*module.split("."))
    source = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    text = source.read_text(encoding="utf-8")
    return bool(re.search(rf"\b{re.escape(name)}\b", text)) or bool(re.search(r"import \*", text))


def _is_native(path: Path) -> bool:
    return any(path.parent.glob(f"{path.name}*.so"))


def _of_triton(unpacked: Unpacked) -> Iterator[Reading]:
    """What the package says when it runs: its names, its decorators, its ptxas."""
    facts, here = unpacked.facts, unpacked.folder / "triton"
    language = sorted(n for n in facts["names"] if re.fullmatch(r"triton\.language\.\w+", n))
    code = _MISSING.format(language)
    yield "triton.language's names", [], lambda: ast.literal_eval(unpacked.runs(code))
    needs = facts["decorators_need_driver"]
    yield "decorators_need_driver", needs, lambda: unpacked.runs(_DECORATE) == "True"
    ptxas = next((here / one for one in _PTXAS if (here / one).is_file()), None)
    if ptxas:
        ptxas.chmod(0o755)
        said = rf"V{re.escape(facts['ptxas'][0])}\b"
        yield "ptxas", True, lambda: bool(re.search(said, unpacked.read_by(str(ptxas), "-V")))


def _platform(wheel: str) -> str:
    tag = wheel.removesuffix(".whl").split("-")[-1]
    return "linux_aarch64" if "aarch64" in tag else "linux_x86_64"


def _some(
    package: str, choice: random.Random, root: Path, environ: dict[str, str]
) -> Iterator[Unpacked]:
    """Download and unpack releases at random that this Python can install and are not too big."""
    versions = [str(version) for version in shipped().versions(package)]
    left = RELEASES[package]
    for version in choice.sample(versions, len(versions)):
        if not left:
            return
        wheel = _downloaded(f"{package}=={version}", root / "wheels")
        if wheel is None:
            continue
        folder = root / wheel.stem
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        release = shipped().release(package, version)
        assert release is not None
        left -= 1
        yield Unpacked(release, wheel.name, folder, environ)


def _downloaded(wanted: str, folder: Path) -> Path | None:
    """Download a wheel; None where there is none for us here, or it is larger than we want."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    before = set(folder.glob("*.whl"))
    ended = subprocess.run([*pip, "--only-binary", ":all:", wanted], check=False)
    new = set(folder.glob("*.whl")) - before
    if ended.returncode or not new:
        return None
    wheel = new.pop()
    if wheel.stat().st_size > LARGEST_MIB * 2**20:
        _LOG.warning("skipped %s: larger than %.0f MiB", wheel.name, LARGEST_MIB)
        return None
    return wheel


@pytest.fixture(scope="module")
def readings(
    tmp_path_factory: pytest.TempPathFactory, bare_environ: dict[str, str]
) -> Iterator[list[tuple[str, Reading]]]:
    """Choose statements of releases at random; their folders go when the tests are done."""
    root = tmp_path_factory.mktemp("statements")
    choice = random.Random(SEED)  # noqa: S311 - a sample, no secret
    found: list[tuple[str, Reading]] = []
    for package in RELEASES:
        for unpacked in _some(package, choice, root, bare_environ):
            title = f"{package} {unpacked.release.version}"
            found += [(title, reading) for reading in _statements(unpacked, choice)]
    yield found
    shutil.rmtree(root)


def test_statements_at_random_hold_when_read_otherwise(
    readings: list[tuple[str, Reading]],
) -> None:
    wrong = []
    for title, (what, stated, read) in readings:
        seen = read()
        _LOG.info("%s: %s: %.60r", title, what, stated)
        if seen != stated:
            wrong.append(f"{title}: {what}: the shard says {stated!r:.300}, read {seen!r:.300}")
    _LOG.info("seed %s: %d statements", SEED, len(readings))
    assert not wrong, f"seed {SEED}: " + "\n".join(wrong)


def test_enough_statements_were_chosen(readings: list[tuple[str, Reading]]) -> None:
    assert len(readings) >= AT_LEAST, f"seed {SEED}"
    assert len({title for title, _ in readings}) == sum(RELEASES.values())
