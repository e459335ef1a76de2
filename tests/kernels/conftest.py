"""Start kernels as the probe engine does: through the harness, in a child, answer in a file."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

KERNELS = Path(__file__).resolve().parents[2] / "kernels"


@dataclass(frozen=True)
class Answer:
    """What a child left behind; ``outcomes`` is None without a result."""

    returncode: int
    outcomes: list[dict[str, Any]] | None
    partial: list[dict[str, Any]] | None
    phase: str
    stdout: str
    stderr: str

    def one(self, variant: str | None = None, device: str | None = None) -> dict[str, Any]:
        """Return the only outcome that fits."""
        assert self.outcomes is not None, self.stderr
        fitting = [
            one
            for one in self.outcomes
            if variant in (None, one.get("variant")) and device in (None, one.get("device"))
        ]
        assert len(fitting) == 1, self.outcomes
        return fitting[0]


Start = Callable[..., Answer]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """``start(kernel, env=..., **request)`` -> Answer; kernel is a name or a path."""

    def run(
        kernel: str | Path,
        *,
        env: Mapping[str, str] | None = None,
        paths: Sequence[Path] = (),
        **request: object,
    ) -> Answer:
        control = tmp_path / "control"
        control.mkdir(exist_ok=True)
        (control / "request.json").write_text(json.dumps({"mode": "run", "device": 0} | request))
        path = kernel if isinstance(kernel, Path) else KERNELS / f"{kernel}.py"
        extra = {"TRITON_CACHE_DIR": str(control / "triton"), **(env or {})}
        if paths:
            extra["PYTHONPATH"] = os.pathsep.join(map(str, paths))
        child = subprocess.run(  # noqa: PLW1510 - the exit code is looked at
            [sys.executable, "-B", str(KERNELS / "_harness.py"), str(path), str(control)],
            env=os.environ | extra,
            capture_output=True,
            text=True,
            timeout=250,
        )
        phase = control / "phase"
        return Answer(
            child.returncode,
            _outcomes(control / "result.json"),
            _outcomes(control / "partial.json"),
            phase.read_text() if phase.exists() else "",
            child.stdout,
            child.stderr,
        )

    return run


def _outcomes(path: Path) -> list[dict[str, Any]] | None:
    return json.loads(path.read_text())["outcomes"] if path.exists() else None


@pytest.fixture
def load() -> Callable[[str], Any]:
    """``load(name)`` -> one file of kernels/ as a fresh module, loaded by path."""
    harness: dict[str, Any] = {"__name__": "harness", "__file__": str(KERNELS / "_harness.py")}
    exec((KERNELS / "_harness.py").read_text(), harness)  # noqa: S102 - our own file
    return lambda name: harness["load"](str(KERNELS / f"{name}.py"))


@pytest.fixture(scope="session")
def pretended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with libcuda.so.1 for the loader, and site/nvidia/cu13/lib for the import path."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to build the pretended GPU with")
    folder = tmp_path_factory.mktemp("pretended")
    wheel = folder / "site" / "nvidia" / "cu13" / "lib"
    wheel.mkdir(parents=True)
    source = Path(__file__).with_name("pretend_cuda.c")
    library = folder / "libcuda.so.1"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", source, "-o", library], check=True)
    shutil.copy(library, wheel / "libcublasLt.so.13")
    return folder


@pytest.fixture
def gpu() -> None:
    """Skip without a CUDA GPU."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        pytest.skip(f"needs a CUDA GPU: {error}")
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        pytest.skip("needs a CUDA GPU: the driver sees none")
