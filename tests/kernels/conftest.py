"""Start kernels as the probe engine does: through the harness, in a child, answer in a file."""

# ruff: noqa: ANN401 - what is handed to a driver is ctypes'

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.kernels.cuda_driver import CudaDriver

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


@pytest.fixture
def at_once() -> Callable[[Callable[[], Any]], list[Any]]:
    """``at_once(action)`` -> what it returned in each of eight threads that began together."""
    barrier = threading.Barrier(8)

    def run(action: Callable[[], Any]) -> Any:
        barrier.wait()
        return action()

    def answers(action: Callable[[], Any]) -> list[Any]:
        with ThreadPoolExecutor(barrier.parties) as pool:
            return [one.result() for one in [pool.submit(run, action) for _ in range(8)]]

    return answers


@pytest.fixture
def cuda() -> CudaDriver:
    """A pretended CUDA driver; nothing has been started."""
    return CudaDriver()


@pytest.fixture
def hopper(load: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Hopper's own product, which is what its siblings find, too, and a compiler beside it."""
    monkeypatch.setitem(sys.modules, "qdoctor_kernel__nvrtc", load("_nvrtc"))
    made = load("_switchback_hopper")
    monkeypatch.setitem(sys.modules, "qdoctor_kernel__switchback_hopper", made)
    return made


@pytest.fixture
def nvrtc(load: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The compiler's file, with an NVRTC that lies on the import path in torch's place."""
    module = load("_nvrtc")
    found = [
        name for major in ("13", "12") for name in module.candidates(sys.path, major)[:-1]
    ]  # fmt: skip
    if not found:
        pytest.skip("no nvidia-cuda-nvrtc on the import path")
    library: ctypes.CDLL = module._loaded(found[0])
    monkeypatch.setattr(module, "_library", lambda: library)
    return module


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


@pytest.fixture
def known_gpu(gpu: None, load: Callable[[str], Any]) -> dict[str, Any]:  # noqa: ARG001 - it skips
    """What the table of tiles knows of the current GPU; skip where that is nothing."""
    torch = pytest.importorskip("torch")
    major, minor = torch.cuda.get_device_capability()
    row: dict[str, Any] | None = load("_switchback_tiles").table().get(f"{major}.{minor}")
    if row is None:
        pytest.skip(f"the table knows nothing of SM {major}.{minor}")
    return row
