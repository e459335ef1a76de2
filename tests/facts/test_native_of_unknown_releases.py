"""The deciding library of torch or triton is read where the matrix cannot answer for it."""

from __future__ import annotations

import _ctypes
import shutil
import sys
from pathlib import Path

import pytest

from qdoctor.binaries import read_library
from qdoctor.doctor import _inspected
from qdoctor.facts.native import read_deciding
from qdoctor.matrix import shipped
from qdoctor.model import Facts, FoundPackage

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")


@pytest.fixture
def installed(tmp_path: Path) -> Facts:
    """Make an installed torch whose bindings are a real library of this system."""
    library = tmp_path / "torch" / "lib" / "libtorch_python.so"
    library.parent.mkdir(parents=True)
    shutil.copy(_ctypes.__file__, library)
    found = FoundPackage("torch", "99.0.0", str(tmp_path / "torch" / "__init__.py"))
    return Facts(packages={"torch": "99.0.0", "triton": "99.0.0"}, packages_found=[found])


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"QDOCTOR_CACHE_DIR": str(tmp_path / "cache")}


def test_what_it_needs_is_added(installed: Facts, environ: dict[str, str]) -> None:
    (library,) = read_deciding(installed, ["torch", "triton"], environ).native or []
    assert installed.packages_found
    torch = Path(installed.packages_found[0].file or "").parent
    real = read_library(torch / "lib" / "libtorch_python.so")
    assert (library.package, library.file) == ("torch", "libtorch_python.so")
    assert library.glibc == real.glibc is not None


def test_a_broken_one_leaves_it_unknown(installed: Facts, environ: dict[str, str]) -> None:
    assert installed.packages_found
    torch = Path(installed.packages_found[0].file or "").parent
    (torch / "lib" / "libtorch_python.so").write_bytes(b"no library")
    assert not read_deciding(installed, ["torch"], environ).native


def test_known_releases_are_not_read(installed: Facts, environ: dict[str, str]) -> None:
    assert _inspected(installed, shipped(), environ).native
    known = Facts(packages={"torch": "2.5.1"}, packages_found=installed.packages_found)
    assert _inspected(known, shipped(), environ) is known
