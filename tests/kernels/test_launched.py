"""kernels/_launched.py with pretended kernels: what is remembered, and what goes the long way."""

# ruff: noqa: ANN401 - kernels have no types

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytest.importorskip("torch")

KERNELS = Path(__file__).resolve().parent.parent.parent / "kernels"


@pytest.fixture
def launched() -> Any:
    spec = importlib.util.spec_from_file_location("tested_launched", KERNELS / "_launched.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module._here = SimpleNamespace(devices={-1, 0, 1})
    module.Launcher._capturing = lambda _launcher: False  # a torch without CUDA does not answer
    return module


class Kernel:
    """Stands for a triton.JITFunction, and for the compiled kernels that it gives back."""

    def __init__(self, refusal: Exception | None = None, *, interpreted: bool = False) -> None:
        self.refusal, self.interpreted = refusal, interpreted
        self.long: list[Any] = []
        self.short: list[Any] = []

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def launch(*arguments: Any, **options: Any) -> Any:
            self.long.append((grid, arguments, options))
            return None if self.interpreted else Compiled(self)

        return launch


class Compiled:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def launch(*arguments: Any, stream: Any = "unasked") -> None:
            if self.kernel.refusal:
                raise self.kernel.refusal
            self.kernel.short.append((grid, arguments, stream))

        return launch


def test_the_second_launch_of_a_kind_is_short(launched: Any) -> None:
    kernel, asked = Kernel(), []
    launcher = launched.Launcher(kernel)
    launcher._stream = lambda device: f"stream of {device}"

    def plan() -> Any:
        asked.append(1)
        return launched.Plan(7, (True, 64), 4)

    for number in (1, 2, 3):
        launcher((0, 5), (number,), plan)
    assert asked == [1]
    assert kernel.long == [((7,), (1, True, 64), {"num_warps": 4})]
    tried, *later = kernel.short
    assert tried == ((7, 1, 1), (1, True, 64), "stream of 0")
    assert [arguments for _, arguments, _ in later] == [(2, True, 64), (3, True, 64)]


def test_what_launches_again_can_be_taken_along(launched: Any) -> None:
    kernel = Kernel()
    launcher = launched.Launcher(kernel)
    launcher._stream = lambda device: device
    assert launcher.ready((0, 5)) is None
    launcher((0, 5), ("x",), lambda: launched.Plan(7, (True, 64), 4))
    launch, constants = launcher.ready((0, 5))
    launch(0x1000, *constants, stream=3)
    assert kernel.short[-1] == ((7, 1, 1), (0x1000, True, 64), 3)


def test_a_thread_enters_its_gpu_before_it_launches(
    launched: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[int] = []
    monkeypatch.setattr(launched, "_here", SimpleNamespace(devices={0}))
    monkeypatch.setattr(launched, "_enter", entered.append)
    launcher = launched.Launcher(Kernel(interpreted=True))
    for device in (0, 1):
        launcher((device,), (), lambda: launched.Plan(1, (), 4))
    assert entered == [1]


def test_another_kind_is_planned_anew(launched: Any) -> None:
    kernel = Kernel()
    launcher = launched.Launcher(kernel)
    launcher._stream = lambda device: device
    for device in (0, 1):
        for _ in range(2):
            launcher((device, 5), (), lambda: launched.Plan(1, (), 4))
    assert len(kernel.long) == 2
    assert [stream for _, _, stream in kernel.short] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    "refusal", [TypeError("function takes exactly 24 arguments (21 given)"), SystemError("odd")]
)
def test_where_compiled_kernels_take_something_else_every_launch_is_long(
    launched: Any, refusal: Exception
) -> None:
    kernel = Kernel(refusal)
    launcher = launched.Launcher(kernel)
    launcher._stream = lambda device: device
    for _ in range(3):
        launcher((0,), ("x",), lambda: launched.Plan(1, (2,), 4))
    assert [arguments for _, arguments, _ in kernel.long] == [("x", 2)] * 3
    assert not kernel.short


def test_interpreted_kernels_are_never_remembered(launched: Any) -> None:
    kernel = Kernel(interpreted=True)
    launcher = launched.Launcher(kernel)
    for _ in range(2):
        launcher((-1,), (), lambda: launched.Plan(1, (), 4))
    assert len(kernel.long) == 2


def test_a_recording_graph_is_spared_the_trial(
    launched: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel()
    launcher = launched.Launcher(kernel)
    launcher._stream = lambda device: device
    monkeypatch.setattr(launcher, "_capturing", lambda: True)
    launcher((0,), (), lambda: launched.Plan(1, (), 4))
    assert (len(kernel.long), kernel.short) == (1, [])


def test_ever_new_shapes_do_not_pile_up(launched: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launched, "REMEMBERED", 3)
    kernel = Kernel()
    launcher = launched.Launcher(kernel)
    launcher._stream = lambda device: device
    for size in range(10):
        launcher((0, size), (), lambda: launched.Plan(1, (), 4))
        assert len(launcher._ready) <= 3
    assert len(kernel.long) == 10


def test_a_kernel_is_compiled_and_loaded_by_one_thread_at_a_time(
    launched: Any, at_once: Callable[..., list[Any]]
) -> None:
    """Triton gives what one thread has compiled to others while that one still loads it."""
    inside, most = [0], [0]

    class Slow(Kernel):
        def __getitem__(self, grid: tuple[int, ...]) -> Any:
            inside[0] += 1
            most.append(inside[0])
            time.sleep(0.01)
            inside[0] -= 1
            return super().__getitem__(grid)

    kernel = Slow()
    launcher = launched.Launcher(kernel)
    launcher._stream = lambda device: device
    at_once(lambda: launcher((0, 5), (7,), lambda: launched.Plan(1, (), 4)))
    assert max(most) == 1
    assert len(kernel.long) == 1
