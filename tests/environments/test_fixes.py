"""Environments that really fail, each of another cause: explained, fixed as offered, run again.

What the failing command prints is piped into ``qdoctor explain --python``. Its first cause has to
be the planted one; the first fix it offers is done, a command by running it in that environment,
and then the same command has to succeed.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

pytestmark = [
    pytest.mark.environments,
    pytest.mark.skipif(sys.platform != "linux", reason="triton's wheels"),
    pytest.mark.timeout(240),
]

# What torch.compile does first, without the minute that compiling then takes on two slow cores.
HINTS = "import torch._inductor.runtime.hints"
COMPILER = "from torch._inductor import cpp_builder; cpp_builder.get_cpp_compiler()"
IMPORTED = "import bitsandbytes"


@dataclass
class Patient:
    """One environment: its packages, what to do to it, what fails there, and why."""

    rule: str
    code: str
    packages: Mapping[str, str]
    harm: Callable[[Path, Path], Mapping[str, str] | None] = lambda _python, _tmp: None
    """Given the interpreter and a folder: harms the environment, or names variables to set."""
    compiler: bool = False
    """Whether the command needs a C++ compiler once it is cured."""


def _site(python: Path) -> Path:
    return next(python.parent.parent.glob("lib/python*/site-packages"))


def _no_compiler(_python: Path, tmp: Path) -> Mapping[str, str]:
    (tmp / "empty").mkdir()
    return {"PATH": str(tmp / "empty")}


def _interpreting(_python: Path, _tmp: Path) -> Mapping[str, str]:
    return {"TRITON_INTERPRET": "1"}


def _old_copy(_python: Path, tmp: Path) -> Mapping[str, str]:
    _pip(
        Path(sys.executable),
        "install",
        "--no-deps",
        "--target",
        str(tmp / "old"),
        "bitsandbytes==0.44.1",
    )
    return {"PYTHONPATH": str(tmp / "old")}


def _without_files(python: Path, _tmp: Path) -> None:
    shutil.rmtree(_site(python) / "packaging")


def _cut_off(python: Path, _tmp: Path) -> None:
    (_site(python) / "triton" / "_C" / "libtriton.so").write_bytes(b"")


PATIENTS = {
    "a bitsandbytes that imports triton.ops": Patient(
        "triton-ops-removed", IMPORTED, {"triton": "3.7.1", "bitsandbytes": "0.44.1"}
    ),
    "decorators that ask for a GPU": Patient(
        "triton-import-needs-gpu", IMPORTED, {"triton": "3.3.0", "bitsandbytes": "0.44.1"}
    ),
    "scipy that nobody required": Patient(
        "python-module-missing", IMPORTED, {"triton": "2.1.0", "bitsandbytes": "0.41.3"}
    ),
    "pkg_resources that left setuptools": Patient(
        "python-module-missing", "import pkg_resources", {"setuptools": "82.0.0"}
    ),
    "another triton than torch's": Patient("triton-pin-mismatch", HINTS, {"triton": "2.1.0"}),
    "no C++ compiler": Patient(
        "no-c-compiler", COMPILER, {"triton": "3.7.1"}, _no_compiler, compiler=True
    ),
    "TRITON_INTERPRET": Patient(
        "triton-interpret-set",
        "import gelu_kernels; gelu_kernels.compile_it()",
        {"triton": "3.7.1", "gelu_kernels": "2.0"},
        _interpreting,
    ),
    "an old copy on PYTHONPATH": Patient(
        "stale-package-shadowing",
        IMPORTED,
        {"triton": "3.7.1", "bitsandbytes": "0.50.2", "packaging": "24.2"},
        _old_copy,
    ),
    "metadata without files": Patient(
        "package-files-missing", "import packaging", {"packaging": "24.2"}, _without_files
    ),
    "a library cut off": Patient(
        "native-library-damaged", "import triton", {"triton": "3.3.1"}, _cut_off
    ),
    "scipy compiled for numpy 1": Patient(
        "numpy-abi-mismatch",
        "from scipy.stats import norm",
        {"numpy": "2.2.6", "scipy": "1.11.4"},
    ),
    "kernels that use tl.libdevice": Patient(
        "triton-libdevice-removed",
        "import rowwise_kernels; rowwise_kernels.compile_it()",
        {"triton": "3.7.1", "rowwise_kernels": "1.0"},
    ),
    "kernels that use tl.math.tanh": Patient(
        "triton-math-moved",
        "import gelu_kernels; gelu_kernels.compile_it()",
        {"triton": "3.7.1", "gelu_kernels": "1.0"},
    ),
    "a package newer than this triton": Patient(
        "triton-too-old-for-package",
        "import early_kernels",
        {"triton": "2.1.0", "early_kernels": "2.0"},
    ),
}


@pytest.fixture(scope="session")
def registry() -> None:
    """Skip where pip finds no packages at all."""
    asked = [sys.executable, "-m", "pip", "index", "versions", "packaging"]
    if subprocess.run(asked, capture_output=True, check=False).returncode:
        pytest.skip("pip reaches no registry")


@pytest.mark.usefixtures("registry", "own_packages")
@pytest.mark.parametrize("title", PATIENTS)
def test_the_cause_is_named_and_the_fix_cures(
    title: str,
    build_anew: Callable[..., Path],
    bare_environ: dict[str, str],
    tmp_path: Path,
) -> None:
    patient = PATIENTS[title]
    if patient.compiler and shutil.which("g++") is None:
        pytest.skip("there is no g++ here")
    python = build_anew(**patient.packages)
    environ = {**bare_environ, "QDOCTOR_CACHE_DIR": str(tmp_path / "cache")}
    environ |= {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "inductor")}
    environ |= {"TRITON_CACHE_DIR": str(tmp_path / "triton")}
    harmed = {**environ, **(patient.harm(python, tmp_path) or {})}
    failed = _run(python, patient.code, harmed)
    assert failed.returncode, f"it does not fail: {failed.stdout}{failed.stderr}"
    first = _explained(python, failed.stderr, harmed)
    assert first["rule"] == patient.rule, json.dumps(first, indent=1) + failed.stderr[-2000:]
    cured = _applied(first["fixes"][0], python, harmed, environ)
    again = _run(python, patient.code, cured)
    assert again.returncode == 0, f"{first['fixes'][0]}\n{again.stderr[-2000:]}"


def _run(python: Path, code: str, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    command = [str(python), "-c", code]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def _explained(python: Path, text: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """Pipe a text into ``qdoctor explain`` for that environment: its first cause."""
    ask = [sys.executable, "-m", "qdoctor", "explain", "--python", str(python), "--format", "json"]
    shown = {**environ, "PYTHONPATH": environ.get("PYTHONPATH", "")}
    ended = subprocess.run(
        [*ask, "-"], input=text, env=shown, capture_output=True, text=True, check=False
    )
    causes = [one for one in json.loads(ended.stdout)["findings"] if one["explains_error"]]
    assert causes, f"it explains nothing: {text[-2000:]}{ended.stderr}"
    first: dict[str, Any] = causes[0]
    return first


def _applied(
    fix: dict[str, Any], python: Path, harmed: Mapping[str, str], whole: Mapping[str, str]
) -> dict[str, str]:
    """Do what a fix says, and return the variables to run with from then on."""
    environ = dict(harmed)
    if fix["action"] == "unset-env":
        del environ[fix["name"]]
    elif fix["action"] == "install-system":  # a system's package brings its programs onto PATH
        environ["PATH"] = whole["PATH"]
    else:
        words = shlex.split(fix["command"])
        assert words[:5] == ["python", "-m", "pip", "--python", str(python)], fix
        subprocess.run([sys.executable, *words[1:], "--quiet"], check=True)
    return environ


def _pip(python: Path, *arguments: str) -> None:
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    subprocess.run([*pip, *arguments, "--quiet"], check=True)
