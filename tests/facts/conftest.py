"""Real interpreters and small real environments for the facts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


def _pyenv_folders() -> list[Path]:
    pyenv = shutil.which("pyenv")
    root = os.environ.get("PYENV_ROOT")
    if root is None and pyenv is not None:
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False).stdout
    return sorted(Path(root.strip(), "versions").glob("*/bin")) if root else []


@cache
def installed(version: str) -> Path | None:
    """Find a working interpreter of ``version`` ("3.8", "2.7"): on PATH, else among pyenv's."""
    name = f"python{version}"
    # The environment that the tests run in has packages of its own; its base has none of them.
    entries = os.environ.get("PATH", "").split(os.pathsep)
    outside = [entry for entry in entries if not Path(entry).is_relative_to(sys.prefix)]
    bases = [sys.base_prefix + "/bin"] if sys.prefix != sys.base_prefix else []
    on_path = shutil.which(name, path=os.pathsep.join([*outside, *bases]))
    found = [Path(on_path)] if on_path else []
    found += [folder / name for folder in _pyenv_folders()]
    for path in found:
        if not path.exists():
            continue
        said = subprocess.run(
            [str(path), "-c", "import sys; sys.stdout.write('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if said.stdout == version:
            return path
    return None


@pytest.fixture(scope="session")
def require() -> Callable[[str], Path]:
    """Give the interpreter of a version, or skip the test with a reason."""

    def find(version: str) -> Path:
        path = installed(version)
        if path is None:
            pytest.skip(f"no Python {version} is installed here")
        return path

    return find


@pytest.fixture(scope="session")
def lay_bare() -> Callable[[Path, str, str], Path]:
    """Write a package without metadata: (folder, name, source) -> its folder."""
    return _lay_bare


@pytest.fixture(scope="session")
def lay() -> Callable[..., Path]:
    """Write a package that must not be imported, with the metadata of a wheel.

    (folder, name, version, *pins) -> its folder.
    """
    return _lay


def _lay_bare(folder: Path, name: str, source: str) -> Path:
    package = folder / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(source, encoding="utf-8")
    return package


def _lay(folder: Path, name: str, version: str, *pins: str) -> Path:
    package = _lay_bare(folder, name, "raise SystemExit('imported')\n")
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    lines = "".join(f"Requires-Dist: {pin}\n" for pin in pins)
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{lines}\nRequires-Dist: no\n"
    (info / "METADATA").write_text(text, encoding="utf-8")
    return package


@pytest.fixture(scope="session")
def bare_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment of our own Python without pip and without qdoctor."""
    folder = tmp_path_factory.mktemp("bare") / "env"
    venv.create(folder, with_pip=False, symlinks=sys.platform != "win32")
    return folder


@pytest.fixture
def environ() -> dict[str, str]:
    """Our environment without what would redirect an interpreter."""
    redirecting = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONSAFEPATH")
    return {name: value for name, value in os.environ.items() if name not in redirecting}


@pytest.fixture(scope="session")
def compiler() -> str:
    """A C compiler, to build small real libraries with."""
    found = shutil.which("cc") or shutil.which("gcc")
    if found is None:
        pytest.skip("no C compiler is installed here")
    return found
