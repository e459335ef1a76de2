"""The loader that is followed on paper, held against the real one over every installed library.

With LD_TRACE_LOADED_OBJECTS, as ldd sets it, the loader maps a library and all that it needs, says
which files it took, and runs no code of theirs.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from qdoctor.binaries import UnreadableBinary, read_elf, read_ld_cache
from qdoctor.facts.linking import cache_file, header
from qdoctor.facts.loader import Header, Process, System, default_folders, listed

LOADERS = [Path("/lib64/ld-linux-x86-64.so.2"), Path("/lib/ld-linux-aarch64.so.1")]
SITE = Path(sysconfig.get_path("platlib"))
_LINE = re.compile(r"^\t(?P<need>\S+) => (?P<file>.+?)(?: \(0x[0-9a-f]+\))?$", re.MULTILINE)

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not any(map(Path.exists, LOADERS)),
    reason="needs glibc's loader",
)


def told_by_loader(library: Path, environ: dict[str, str]) -> dict[str, str]:
    """Soname -> file as the real loader prints it, ``""`` for what it does not find."""
    loader = next(filter(Path.exists, LOADERS))
    ended = subprocess.run(
        [str(loader), str(library)],
        capture_output=True,
        text=True,
        check=False,
        env={**environ, "LD_TRACE_LOADED_OBJECTS": "1"},
    )
    return {
        found["need"]: "" if found["file"] == "not found" else os.path.realpath(found["file"])
        for found in _LINE.finditer(ended.stdout)
        if not found["need"].startswith("/")
    }


def _cache_files() -> dict[str, list[str]]:
    path = Path("/etc/ld.so.cache")
    return cache_file(path).files if path.exists() else {}


class Paper:
    """The loader on paper; headers are read once for all libraries."""

    def __init__(self) -> None:
        self._headers: dict[str, Header | None] = {}
        self._cached = _cache_files()

    def read(self, path: str) -> Header | None:
        if path not in self._headers:
            self._headers[path] = header(Path(path)) if Path(path).is_file() else None
        return self._headers[path]

    def closure(self, library: Path, environ: dict[str, str]) -> Process:
        machine = read_elf(library).machine
        system = System(
            header=self.read,
            cached=lambda name: self._cached.get(name, ()),
            default=default_folders(machine),
            library_path=listed(environ, "LD_LIBRARY_PATH"),
        )
        return Process(system, str(library))


def libraries() -> list[Path]:
    """Every readable shared library of this environment, the largest left to the loader itself."""
    found = []
    for path in sorted(SITE.rglob("*.so*")):
        if re.search(r"\.so(\.\d+)*$", path.name) and path.is_file():
            try:
                read_elf(path)
            except UnreadableBinary:
                continue
            found.append(path)
    return found


@pytest.mark.parametrize("folders", ["", "torch/lib", "numpy.libs:scipy.libs"])
def test_every_installed_library_is_given_what_the_loader_gives_it(folders: str) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LD_")}
    if folders:
        environ["LD_LIBRARY_PATH"] = ":".join(str(SITE / one) for one in folders.split(":"))
    paper, differing, compared = Paper(), [], 0
    for library in libraries():
        process = paper.closure(library, environ)
        for need, file in told_by_loader(library, environ).items():
            ours = process.holds(need)
            compared += 1
            if (os.path.realpath(ours) if ours else "") != file:
                differing.append((library.name, need, ours, file))
    assert compared > 100 or not (SITE / "torch").is_dir()
    assert differing == []


def test_the_cache_agrees_with_ldconfig() -> None:
    path = Path("/etc/ld.so.cache")
    printed = next(
        (one for one in ("/sbin/ldconfig", "/usr/sbin/ldconfig") if Path(one).exists()), ""
    )
    if not printed or not path.exists():
        pytest.skip("no ldconfig or no cache")
    listing = subprocess.run([printed, "-p"], capture_output=True, text=True, check=True).stdout
    told = set(re.findall(r"^\t(\S+) \([^)]*\) => (\S+)$", listing, re.MULTILINE))
    assert {(one.name, one.path) for one in read_ld_cache(path.read_bytes())} == told != set()
