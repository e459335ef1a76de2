"""What an installed wheel puts into site-packages."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.environments


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the sdist, as an index would get it."""
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--outdir"]
    subprocess.run([*build, str(out), "--sdist", str(checkout)], check=True, capture_output=True)
    with tarfile.open(next(out.glob("*.tar.gz"))) as sdist:
        sdist.extractall(out / "sdist", filter="data")
    source = next((out / "sdist").iterdir())
    subprocess.run([*build, str(out), "--wheel", str(source)], check=True, capture_output=True)
    return next(out.glob("*.whl"))


def _shipped(folder: Path) -> dict[str, bytes]:
    files = [
        path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_site_packages_gets_only_qdoctor(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"qdoctor"}


@pytest.mark.parametrize("folder", ["kernels", "matrix"])
def test_kernels_and_matrix_travel_byte_for_byte(wheel: Path, checkout: Path, folder: str) -> None:
    prefix = f"qdoctor/_{folder}/"
    with zipfile.ZipFile(wheel) as archive:
        inside = {
            name.removeprefix(prefix): archive.read(name)
            for name in archive.namelist()
            if name.startswith(prefix)
        }
    assert inside == _shipped(checkout / folder)


def test_the_listed_packages_are_the_packages_there_are(checkout: Path) -> None:
    setup = tomllib.loads((checkout / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = {
        ".".join(path.parent.relative_to(checkout).parts)
        for path in (checkout / "qdoctor").rglob("__init__.py")
    }
    assert set(setup["packages"]) == found | {"qdoctor._kernels", "qdoctor._matrix"}
