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


class CudaDriver:
    """A CUDA driver of one GPU, number 0, as far as launching asks it: what happens is noted.

    A context is current in a thread or not; without one it loads and launches nothing.
    """

    def __init__(self) -> None:
        self.maps: list[tuple[int, ...]] = []
        self.launches: list[tuple[Any, list[Any]]] = []
        """Of each: the configuration (a copy), and every parameter's first 8 bytes."""
        self.calls: list[str] = []
        self.structure: tuple[int, Any] | None = None
        """Which parameter is a structure, and of what type."""
        self.structures: list[Any] = []
        """Of each launch, a copy of it."""
        self.status = 0
        self.started = False
        self.contexts: dict[int, int | None] = {}
        """By thread: the GPU whose context is current."""

    def _refusal(self) -> int:
        if not self.started:
            return 3  # CUDA_ERROR_NOT_INITIALIZED
        return 0 if self.contexts.get(threading.get_ident()) == 0 else 201  # INVALID_CONTEXT

    def cuInit(self, _flags: int) -> int:  # noqa: N802
        self.calls.append("cuInit")
        self.started = True
        return 0

    def cuDeviceGet(self, device: Any, index: int) -> int:  # noqa: N802
        device._obj.value = index
        return 0 if self.started else 3

    def cuCtxGetDevice(self, device: Any) -> int:  # noqa: N802
        current = self.contexts.get(threading.get_ident())
        if not self.started or current is None:
            return 201 if self.started else 3
        device._obj.value = current
        return 0

    def cuDevicePrimaryCtxRetain(self, context: Any, device: Any) -> int:  # noqa: N802
        self.calls.append("cuDevicePrimaryCtxRetain")
        context._obj.value = 0xC0 + device.value
        return 0 if self.started else 3

    def cuCtxSetCurrent(self, context: Any) -> int:  # noqa: N802
        self.calls.append("cuCtxSetCurrent")
        self.contexts[threading.get_ident()] = context.value - 0xC0
        return 0

    def cuModuleLoadData(self, module: Any, code: bytes) -> int:  # noqa: N802
        self.calls.append("cuModuleLoadData")
        assert code.startswith(b"\x7fELF")
        module._obj.value = 0xA0
        return self._refusal()

    def cuModuleGetFunction(self, function: Any, _module: Any, _name: bytes) -> int:  # noqa: N802
        function._obj.value = 0xB0
        return self._refusal()

    def cuFuncSetAttribute(self, _function: Any, attribute: int, value: int) -> int:  # noqa: N802
        assert (attribute, value > 0) == (8, True)
        return self._refusal()

    def cuTensorMapEncodeTiled(  # noqa: N802
        self, at: Any, kind: int, rank: int, pointer: Any, *more: Any
    ) -> int:
        sizes, strides, box, _, _, swizzle, _, _ = more
        assert (at.value % 64, rank) == (0, 2)
        self.maps.append((kind, pointer.value, *sizes, *strides, *box, swizzle))
        return 0

    def cuLaunchKernelEx(self, launch: Any, _function: Any, parameters: Any, _: None) -> int:  # noqa: N802
        refusal = self._refusal()
        if refusal or self.status:
            return refusal or self.status
        assert launch._obj.count == 1
        given = [at for at in parameters[1:] if at]
        values = [ctypes.cast(at, ctypes.POINTER(ctypes.c_uint64))[0] for at in given]
        if self.structure:
            at, kind = self.structure
            self.structures.append(kind.from_buffer_copy(kind.from_address(parameters[at])))
        self.launches.append((type(launch._obj).from_buffer_copy(launch._obj), values))
        return 0

    def cuGetErrorName(self, status: int, text: Any) -> int:  # noqa: N802
        names = {3: b"CUDA_ERROR_NOT_INITIALIZED", 201: b"CUDA_ERROR_INVALID_CONTEXT"}
        text._obj.value = names.get(status, b"CUDA_ERROR_LAUNCH_FAILED")
        return 0


@pytest.fixture
def cuda() -> CudaDriver:
    """A pretended CUDA driver; nothing has been started."""
    return CudaDriver()


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
