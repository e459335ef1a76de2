"""Loading and launching where no context is current yet: in a thread, in a fresh process."""

# ruff: noqa: ANN401 - modules loaded by path have no types

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

Load = Callable[[str], Any]
AtOnce = Callable[[Callable[[], Any]], list[Any]]
CUBIN = b"\x7fELF product"


@pytest.fixture
def loaded(load: Load) -> Any:
    return load("_loaded")


def in_a_thread(action: Callable[[], Any]) -> Any:
    answers: list[Any] = []

    def run() -> None:
        try:
            answers.append(action())
        except Exception as error:  # noqa: BLE001 - raised again below
            answers.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(answers[0], Exception):
        raise answers[0]
    return answers[0]


def launched(loaded: Any, driver: Any, function: Any) -> None:
    launch = loaded.early(7, 256, 1024)
    given = (ctypes.byref(launch), function, (ctypes.c_void_p * 1)(None), None)
    status = driver.launch(*given)
    if status:
        driver.launch_again(status, *given)


def test_in_a_process_that_started_nothing_it_loads(loaded: Any, cuda: Any) -> None:
    driver = loaded.Driver(0, cuda)
    launched(loaded, driver, driver.function(CUBIN, "product", 1024))
    assert cuda.calls == [
        "cuInit", "cuDevicePrimaryCtxRetain", "cuCtxSetCurrent", "cuModuleLoadData"
    ]  # fmt: skip
    assert [one.grid for one, _ in cuda.launches] == [7]


def test_in_a_thread_without_a_context_it_loads(loaded: Any, cuda: Any) -> None:
    cuda.started, cuda.contexts[threading.get_ident()] = True, 0
    in_a_thread(lambda: loaded.Driver(0, cuda).function(CUBIN, "product", 1024))
    assert cuda.calls[-2:] == ["cuCtxSetCurrent", "cuModuleLoadData"]


def test_where_the_context_is_current_it_is_left_alone(loaded: Any, cuda: Any) -> None:
    cuda.started, cuda.contexts[threading.get_ident()] = True, 0
    driver = loaded.Driver(0, cuda)
    driver.function(CUBIN, "product", 1024)
    assert cuda.calls == ["cuModuleLoadData"]
    assert not driver.make_current()


def test_where_another_gpus_context_is_current_ours_takes_its_place(loaded: Any, cuda: Any) -> None:
    cuda.started, cuda.contexts[threading.get_ident()] = True, 1
    loaded.Driver(0, cuda).function(CUBIN, "product", 1024)
    assert cuda.contexts[threading.get_ident()] == 0


def test_a_thread_that_comes_later_launches_too(loaded: Any, cuda: Any) -> None:
    driver = loaded.Driver(0, cuda)
    function = driver.function(CUBIN, "product", 1024)
    for _ in range(2):
        in_a_thread(lambda: launched(loaded, driver, function))
    assert len(cuda.launches) == 2
    assert cuda.calls.count("cuDevicePrimaryCtxRetain") == 1  # one is kept for all threads


def test_a_launch_that_fails_for_another_reason_is_not_repeated(loaded: Any, cuda: Any) -> None:
    driver = loaded.Driver(0, cuda)
    function = driver.function(CUBIN, "product", 1024)
    cuda.status = 719
    with pytest.raises(loaded.DriverError, match="cuLaunchKernelEx answered CUDA_ERROR_LAUNCH"):
        launched(loaded, driver, function)
    assert not cuda.launches


def test_a_driver_that_cannot_start_says_so(
    loaded: Any, cuda: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda, "cuInit", lambda _: 3)
    with pytest.raises(loaded.DriverError, match="cuInit answered CUDA_ERROR_NOT_INITIALIZED"):
        loaded.Driver(0, cuda).function(CUBIN, "product", 1024)


def test_a_thread_enters_a_gpu_once(
    loaded: Any, cuda: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: cuda)
    loaded.enter(0)
    assert loaded.here.devices == {0}
    assert cuda.contexts == {threading.get_ident(): 0}
    assert in_a_thread(lambda: set(loaded.here.devices)) == set()


def test_without_a_driver_or_on_the_cpu_nothing_is_entered_and_nothing_raised(
    loaded: Any, cuda: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_: str) -> None:
        raise OSError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    loaded.enter(-1)
    loaded.enter(0)
    assert loaded.here.devices == {-1, 0}
    assert not cuda.calls


@pytest.mark.parametrize(
    "name",
    ["_launched", "_switchback_few", "_switchback_hopper", "_switchback_linear",
     "_switchback_product", "_switchback_quantize", "_switchback_triton"],
)  # fmt: skip
def test_a_file_that_threads_load_at_once_is_one_and_whole(
    load: Load, name: str, at_once: AtOnce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(0.05)\nmade = object()\n")
    module = load(name)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "x.py"))
    try:
        found = at_once(lambda: module._beside("slow").made)
    finally:
        slow = sys.modules.pop("qdoctor_kernel_slow")
    assert found == [slow.made] * len(found)
