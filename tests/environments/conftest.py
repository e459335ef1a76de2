"""Real virtual environments that share one torch by path, built once a session."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import zipfile
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


def _is_here(package: str, version: str) -> bool:
    """Say whether the tests' own triton will do: it is 600 MB."""
    return package == "triton" and _installed(package) and _version(package) == version


def _version(package: str) -> str:
    return importlib.metadata.version(package)


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


@pytest.fixture
def build_anew(tmp_path: Path, shared_torch: Path) -> Build:
    """Build an environment of the test's own, which it may change."""

    def make(**packages: str) -> Path:
        return _environment(tmp_path / "environment", shared_torch, tuple(sorted(packages.items())))

    return make


def _environment(folder: Path, shared: Path, pins: tuple[tuple[str, str], ...]) -> Path:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    where = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(where, check=True, capture_output=True, text=True).stdout.strip())
    linked = folder / "linked"  # on the path, yet not the environment's own: pip leaves it alone
    linked.mkdir()
    for package in [one for one, version in pins if _is_here(one, version)]:
        _share(package, linked)
    (site / "shared_torch.pth").write_text(f"{shared}\n{linked}\n")
    wanted = [
        f"{package}=={version}" for package, version in pins if not _is_here(package, version)
    ]
    if wanted:
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
        subprocess.run([*pip, "--no-deps", "--only-binary", ":all:", *wanted], check=True)
    return python


@pytest.fixture(scope="session")
def bare_environ() -> dict[str, str]:
    """The environment of a user who never heard of qdoctor: no path or package settings of ours."""
    drop = ("PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX", "TRITON_", "CUDA_", "QDOCTOR_")
    return {name: value for name, value in os.environ.items() if not name.startswith(drop)}


KERNEL = """
import triton
import triton.language as tl
{imports}

@triton.jit
def kernel(x, n: tl.constexpr):
    i = tl.arange(0, n)
    tl.store(x + i, {function}(tl.load(x + i)))


def compile_it():
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    source = ASTSource(
        fn=kernel, signature={{"x": "*fp32", "n": "constexpr"}}, constexprs={{"n": 32}}
    )
    return triton.compile(source, target=GPUTarget("cuda", 80, 32))
"""
_NEW = "from triton.language.extra import libdevice"


@pytest.fixture
def own_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pip find small packages of a user's own, whose second release is for newer tritons."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    _wheel(
        folder, "rowwise_kernels", "1.0", KERNEL.format(imports="", function="tl.libdevice.llrint")
    )
    _wheel(
        folder, "rowwise_kernels", "2.0", KERNEL.format(imports=_NEW, function="libdevice.llrint")
    )
    _wheel(folder, "gelu_kernels", "1.0", KERNEL.format(imports="", function="tl.math.tanh"))
    _wheel(folder, "gelu_kernels", "2.0", KERNEL.format(imports=_NEW, function="libdevice.tanh"))
    _wheel(folder, "early_kernels", "1.0", "import triton\n")
    _wheel(folder, "early_kernels", "2.0", _NEW)
    links = [os.environ.get("PIP_FIND_LINKS", ""), str(folder)]
    monkeypatch.setenv("PIP_FIND_LINKS", " ".join(filter(None, links)))


def _wheel(folder: Path, name: str, version: str, source: str) -> None:
    """Write a pure wheel of one module (PEP 427)."""
    info = f"{name}-{version}.dist-info"
    members = {
        f"{name}/__init__.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{member},,\n" for member in [*members, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for member, text in {**members, f"{info}/RECORD": record}.items():
            wheel.writestr(member, text)
