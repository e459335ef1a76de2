"""Real virtual environments that share one torch by path, built once a session."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest

# What torch imports beside itself; triton and bitsandbytes are the patient's own.
TORCH_AND_ITS_NEEDS = (
    "torch",
    "filelock",
    "fsspec",
    "jinja2",
    "markupsafe",
    "mpmath",
    "networkx",
    "sympy",
    "typing_extensions",
    "numpy",
    "setuptools",
)


class Build(Protocol):
    """Builds an environment: ``build(triton="3.7.1")`` gives its interpreter."""

    def __call__(self, **packages: str) -> Path: ...


def _share(distribution: str, folder: Path) -> None:
    """Link one installed distribution's top-level files into ``folder``."""
    files = importlib.metadata.files(distribution) or []
    tops = {file.parts[0] for file in files if file.parts[0] not in {"..", "__pycache__"}}
    for top in tops:
        source = Path(str(importlib.metadata.distribution(distribution).locate_file(top)))
        link = folder / top
        if source.exists() and not link.exists():
            link.symlink_to(source)


def _installed(distribution: str) -> bool:
    return any(True for _ in importlib.metadata.distributions(name=distribution))


@pytest.fixture(scope="session")
def shared_torch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with torch and what it imports, linked to the running interpreter's copies."""
    folder = tmp_path_factory.mktemp("shared-torch")
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed beside the tests")
    for distribution in filter(_installed, TORCH_AND_ITS_NEEDS):
        _share(distribution, folder)
    return folder


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory, shared_torch: Path) -> Build:
    """Build virtual environments by package pins; the same pins give the same environment."""
    built: dict[tuple[tuple[str, str], ...], Path] = {}

    def make(**packages: str) -> Path:
        key = tuple(sorted(packages.items()))
        if key not in built:
            built[key] = _environment(tmp_path_factory.mktemp("environment"), shared_torch, key)
        return built[key]

    return make


def _environment(folder: Path, shared: Path, pins: tuple[tuple[str, str], ...]) -> Path:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    where = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(where, check=True, capture_output=True, text=True).stdout.strip())
    (site / "shared_torch.pth").write_text(f"{shared}\n")
    wanted = [f"{package}=={version}" for package, version in pins]
    if wanted:
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
        subprocess.run([*pip, "--no-deps", "--only-binary", ":all:", *wanted], check=True)
    return python


@pytest.fixture(scope="session")
def bare_environ() -> dict[str, str]:
    """The environment of a user who never heard of qdoctor: no path or package settings of ours."""
    drop = ("PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX", "TRITON_", "CUDA_", "QDOCTOR_")
    return {name: value for name, value in os.environ.items() if not name.startswith(drop)}
