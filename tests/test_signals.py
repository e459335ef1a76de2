"""What ``qdoctor`` does when it is told to end from outside: by timeout(1), by a lost ssh."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qdoctor import signals
from tests.probes.conftest import carriers

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

HOME = Path(__file__).parents[1]
TERM, HUP, INT = signal.SIGTERM, signal.SIGHUP, signal.SIGINT
STARTED = """
import os, signal, sys
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN if str(int(number)) == sys.argv[1] else signal.SIG_DFL)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Whoever runs the tests may ignore some signals, which is inherited: here one is, at most."""


class Asked:
    """``qdoctor facts`` about an interpreter that hangs, deaf to polite requests."""

    def __init__(self, folder: Path) -> None:
        self.mark = uuid.uuid4().hex
        self._sign = folder / "sign"
        python = folder / "python"
        python.write_text(f"#!/bin/sh\ntrap '' TERM HUP INT\n: > {self._sign}\nsleep 600\nexit 1\n")
        python.chmod(0o755)
        self._argv = [sys.executable, "-m", "qdoctor", "facts", "--python", str(python)]
        self._environ = {
            **os.environ,
            "QDOCTOR_TEST_MARK": self.mark,
            "PYTHONPATH": str(HOME),
            "TMPDIR": str(folder),
        }

    def sent(self, *numbers: int) -> tuple[int, str]:
        """Exit code and what it said, once it was sent these signals."""
        argv = [sys.executable, "-c", STARTED, "none", *self._argv]
        with subprocess.Popen(argv, env=self._environ, stderr=subprocess.PIPE) as child:
            until = time.monotonic() + 60
            while not self._sign.exists():
                assert time.monotonic() < until
                assert child.poll() is None
                time.sleep(0.02)
            for number in numbers:
                child.send_signal(number)
            said = child.communicate(timeout=60)[1].decode()
        return child.returncode, said.strip()


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    made = Asked(tmp_path)
    yield made
    until = time.monotonic() + 20  # who is killed takes a moment
    while (left := carriers(made.mark)) and time.monotonic() < until:
        time.sleep(0.02)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []
    assert sorted(each.name for each in tmp_path.iterdir()) == ["python", "sign"]


@pytest.mark.parametrize("numbers", [[INT], [TERM], [HUP], [TERM, TERM], [TERM, HUP]], ids=str)
def test_it_ends_as_when_interrupted_and_leaves_nothing(asked: Asked, numbers: list[int]) -> None:
    assert asked.sent(*numbers) == (3, "qdoctor: interrupted, so nothing can be told")


def test_what_it_was_started_to_ignore_it_ignores() -> None:
    """As by nohup(1)."""
    code = """if True:
        import os, signal
        from qdoctor import signals
        signals.as_interrupts()
        os.kill(os.getpid(), signal.SIGHUP)
        print("went on")
        os.kill(os.getpid(), signal.SIGTERM)
    """
    told = subprocess.run(
        [sys.executable, "-c", STARTED, str(int(HUP)), sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(HOME)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.stdout == "went on\n"
    assert told.stderr.endswith("KeyboardInterrupt\n")


def test_whoever_starts_it_may_ignore_children_and_a_crash_is_seen_all_the_same() -> None:
    """As some daemons do: what they start inherits it, and the kernel would tell no end."""
    code = """if True:
        import signal, sys
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        from qdoctor import cli, process
        crash = [sys.executable, "-c", "import os; os.abort()"]
        cli.run = lambda _: print(process.run(crash, seconds=20).signal)
        cli.main([])
    """
    environ = {**os.environ, "PYTHONPATH": str(HOME)}
    told = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, check=True
    )
    assert int(told.stdout) == signal.SIGABRT


def test_who_is_tidying_up_is_let_be_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(signals, "_latest", [0.0])
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    for now in (100.0, 106.0):
        clock[0] = now
        with pytest.raises(KeyboardInterrupt):
            signals._interrupt(signal.SIGTERM, None)
        clock[0] = now + 4.0
        signals._interrupt(signal.SIGTERM, None)


def test_ctrl_c_while_it_still_loads_ends_3_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "click").mkdir()
    (tmp_path / "click" / "__init__.py").write_text("raise KeyboardInterrupt")
    command = [sys.executable, "-m", "qdoctor", "check"]
    environ = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{HOME}"}
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (3, "")


def test_ctrl_c_while_a_log_is_awaited_ends_3() -> None:
    code = "from qdoctor import cli; print('begun', flush=True); cli.main(['explain', '-'])"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(HOME)},
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.readline()
        time.sleep(0.5)  # it waits for a log that never comes
        child.send_signal(signal.SIGINT)
        assert b"interrupted" in child.stderr.read()
        assert child.wait(10) == 3


PROBING = {
    "the program": "import qdoctor; qdoctor.check(probe='quick'); print('went on')",
    "the selection": "import qdoctor; qdoctor.select_backend(refresh=True); print('went on')",
    "the command": "from qdoctor import cli; cli.main(['check', '--probe', 'quick', '--python', "
    "sys.executable, '--format', 'json'])",
}


@pytest.mark.parametrize("who", list(PROBING))
def test_ctrl_c_while_probes_run_reaches_the_program_that_asked(who: str, tmp_path: Path) -> None:
    """The command reports what is known by then: nobody is above it to be told."""
    mark, room = uuid.uuid4().hex, tmp_path / "room"
    room.mkdir()
    environ = {
        **os.environ,
        "QDOCTOR_TEST_MARK": mark,
        "QDOCTOR_INJECT": "triton_toolchain:hang-ignoring-sigterm@load",
        "QDOCTOR_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": str(HOME),
        "TMPDIR": str(room),
    }
    start = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    with subprocess.Popen(
        [sys.executable, "-c", start + PROBING[who]],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        until = time.monotonic() + 60
        while not any("probe-" in name for _, names, _ in os.walk(room) for name in names):
            assert time.monotonic() < until
            time.sleep(0.02)
        child.send_signal(INT)
        out, err = child.communicate(timeout=60)
    assert carriers(mark) == []
    assert list(room.iterdir()) == []
    if who == "the command":
        assert child.returncode == 3
        codes = {one["probe"]: one["code"] for one in json.loads(out)["observations"]}
        assert codes["triton_toolchain"] == "interrupted"
    else:
        assert (child.returncode, out) == (-INT, b"")
        assert err.endswith(b"KeyboardInterrupt\n")
