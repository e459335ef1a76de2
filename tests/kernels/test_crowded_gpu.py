"""Every kernel on a real GPU that is nearly full, or busy: no wrong word about the kernel."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., Any]

KERNELS = Path(__file__).resolve().parents[2] / "kernels"
PROBES = sorted(path.stem for path in KERNELS.glob("[!_]*.py"))

FILL = """
import ctypes, sys, time
left = int(sys.argv[1]) << 20
driver, context = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p()
free, total = ctypes.c_size_t(), ctypes.c_size_t()
assert driver.cuInit(0) == 0
assert driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0
assert driver.cuCtxSetCurrent(context) == 0
for chunk in (1 << 30, 64 << 20, 2 << 20):
    while True:
        assert driver.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)) == 0
        block = ctypes.c_void_p()
        if free.value - left < chunk:
            break
        if driver.cuMemAlloc_v2(ctypes.byref(block), ctypes.c_size_t(chunk)):
            break
print("full", flush=True)
time.sleep(300)
"""
COMPUTE = """
import time, torch
a = torch.randn(8192, 8192, device="cuda", dtype=torch.float16)
print("busy", flush=True)
end = time.monotonic() + 300
while time.monotonic() < end:
    for _ in range(20):
        a @ a
    torch.cuda.synchronize()
"""


@pytest.fixture
def crowd() -> Iterator[Callable[..., None]]:
    """``crowd(script, *arguments)`` starts another process on the GPU and waits for its word."""
    children: list[subprocess.Popen[str]] = []

    def begin(script: str, *arguments: str) -> None:
        command = [sys.executable, "-c", script, *arguments]
        children.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert children[-1].stdout is not None
        assert children[-1].stdout.readline().strip() in {"full", "busy"}

    yield begin
    for child in children:
        child.kill()
        child.communicate()
        time.sleep(0.5)  # the driver takes its memory back


def header(name: str) -> dict[str, Any]:
    for node in ast.parse((KERNELS / f"{name}.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PROBE":
            value: dict[str, Any] = ast.literal_eval(node.value)
            return value
    raise AssertionError(name)


def skip_without_packages(name: str) -> None:
    for package in header(name)["needs"]:
        if package != "gpu":
            pytest.importorskip(package)


def kinds(answer: Any) -> dict[tuple[str, str], tuple[str, str | None]]:  # noqa: ANN401
    assert answer.outcomes is not None, answer.stderr
    return {
        (one["variant"], one["device"] or ""): (one["outcome"], one["code"])
        for one in answer.outcomes
    }


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("left", [30, 560, 700])
@pytest.mark.parametrize("name", PROBES)
def test_on_a_nearly_full_gpu_a_kernel_tells_as_ever_or_cannot_tell(
    start: Start, crowd: Callable[..., None], name: str, left: int
) -> None:
    """30 MiB hold no context; 560 and 700 do on an H100, and little or nothing beside it."""
    skip_without_packages(name)
    usual = kinds(start(name))
    crowd(FILL, str(left))
    for key, kind in kinds(start(name)).items():
        assert kind == usual.get(key) or kind == ("skipped", "out-of-memory"), (key, kind)


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("name", PROBES)
def test_on_a_busy_gpu_a_kernel_tells_as_ever(
    start: Start, crowd: Callable[..., None], name: str
) -> None:
    pytest.importorskip("torch")
    skip_without_packages(name)
    usual = kinds(start(name))
    crowd(COMPUTE)
    assert kinds(start(name)) == usual


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("name", PROBES)
def test_no_kernel_takes_more_gpu_memory_than_its_header_states(start: Start, name: str) -> None:
    skip_without_packages(name)
    for one in start(name).outcomes or []:
        assert one["numbers"].get("gpu_mib", 0) <= header(name).get("gpu_mib", 64), one
