"""Being alone, seen from the probe's side; with the engine: tests/probes/test_engine.py."""

# ruff: noqa: ANN401 - a module loaded by its path has no types

from __future__ import annotations

import importlib.util
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from qdoctor.shipped import kernels_folder

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="locks and FIFOs of POSIX")


@pytest.fixture
def alone() -> Any:
    spec = importlib.util.spec_from_file_location("alone", kernels_folder() / "_alone.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    (tmp_path / "gate").mkdir()
    (tmp_path / "probe-1").mkdir()
    (tmp_path / "gate" / "lock").touch()
    os.mkfifo(tmp_path / "gate" / "bell")
    return tmp_path / "gate"


def test_by_hand_nothing_is_waited_for(alone: Any, tmp_path: Path) -> None:
    with alone.alone():
        pass
    alone.join(None, tmp_path)
    with alone.alone():
        pass
    assert alone.disturbed == []


def test_the_engine_is_asked_by_name_and_waited_for(alone: Any, gate: Path) -> None:
    control = gate.parent / "probe-1"
    heard = []

    def engine() -> None:
        with (gate / "bell").open("rb", buffering=0) as bell:
            heard.append(bell.read(100))
            (control / "alone").touch()
            time.sleep(0.2)
            heard.append(bell.read(100))

    listening = threading.Thread(target=engine)
    listening.start()
    alone.join(str(gate), control)
    time.sleep(0.2)
    with alone.alone():
        assert (control / "alone").exists()
    listening.join()
    assert heard == [b"begin probe-1\n", b"end probe-1\n"]
    assert alone.disturbed == []


@pytest.mark.parametrize("what", ["nobody listens", "nobody answers", "no bell"])
def test_times_taken_without_silence_are_said_to_be_doubtful(
    alone: Any, gate: Path, what: str
) -> None:
    alone.SILENCE = 0.1
    if what == "no bell":
        (gate / "bell").unlink()
    bell = os.open(gate / "bell", os.O_RDWR) if what == "nobody answers" else None
    alone.join(str(gate), gate.parent / "probe-1")
    with alone.alone():
        pass
    assert alone.disturbed == ["timed while other probes may have been running"]
    if bell is not None:
        os.close(bell)


def test_two_are_not_alone_at_once(alone: Any, gate: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    alone.PATIENCE = 0.2
    with (gate / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        alone.join(str(gate), gate.parent / "probe-1")
        with alone.alone():
            pass
    assert alone.disturbed == ["timed while other probes may have been running"]
