from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qdoctor import process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
MARK = "QDOCTOR_TEST_MARK"


def python(code: str, **options: object) -> process.Ended:
    arguments: dict[str, object] = {"seconds": 20, **options}
    return process.run([sys.executable, "-c", code], **arguments)  # type: ignore[arg-type]


def carriers(mark: str) -> list[str]:
    return [folder.name for folder in Path("/proc").glob("[0-9]*") if _carries(folder, mark)]


def _carries(folder: Path, mark: str) -> bool:
    try:
        return mark.encode() in (folder / "environ").read_bytes()
    except OSError:
        return False


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Every process started in the test carries the mark, and none may be left."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield mark
    monkeypatch.delenv(MARK)
    assert carriers(mark) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_an_ordinary_child_is_told_whole() -> None:
    ended = python("import sys; print('out'); sys.stderr.write('err'); sys.exit(3)")
    assert (ended.returncode, ended.signal, ended.start_error) == (3, None, None)
    assert (ended.stdout.split(), ended.stderr) == ([b"out"], b"err")
    assert (ended.timed_out, ended.over_memory, ended.over_disk) == (False, False, False)


def test_stdin_is_empty() -> None:
    assert python("import sys; print(repr(sys.stdin.read()))").stdout.strip() == b"''"


def test_the_environment_and_the_folder_are_the_callers(tmp_path: Path) -> None:
    env = {"SYSTEMROOT": os.environ.get("SYSTEMROOT", ""), "GREETING": "hello"}
    ended = python(
        "import os; print(os.environ['GREETING'], 'HOME' in os.environ, os.getcwd())",
        env=env,
        cwd=tmp_path,
    )
    assert ended.stdout.decode().split() == ["hello", "False", str(tmp_path)]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["/nowhere/python"], "No such file"),
        (["{folder}"], "denied"),
        (["{folder}/text"], "denied"),
        (["{folder}/garbage"], "Exec format error"),
        (["nul\0byte"], "null byte"),
    ],
)
@linux
def test_what_cannot_be_started_is_an_answer(
    tmp_path: Path, marked: str, argv: list[str], words: str
) -> None:
    assert marked
    (tmp_path / "text").write_text("no program")
    (tmp_path / "garbage").write_bytes(b"\x7fNOPE")
    (tmp_path / "garbage").chmod(0o755)
    ended = process.run([word.format(folder=tmp_path) for word in argv], seconds=5)
    assert ended.start_error is not None
    assert words in ended.start_error
    assert (ended.returncode, ended.signal) == (None, None)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    ended = python("", cwd=tmp_path / "gone")
    assert ended.start_error is not None
    assert "gone" in ended.start_error


@linux
def test_a_signal_is_told_apart_from_an_exit_status() -> None:
    ended = python("import os; os.abort()")
    assert (ended.returncode, ended.signal) == (None, signal.SIGABRT)


@pytest.mark.parametrize("deaf", [False, True])
@linux
def test_a_child_that_takes_too_long_is_stopped(marked: str, deaf: bool) -> None:  # noqa: FBT001
    assert marked
    code = "import signal, time; print('here', flush=True)\n"
    code += "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if deaf else ""
    ended = python(code + "time.sleep(600)", seconds=1)
    assert ended.timed_out
    assert ended.signal == (signal.SIGKILL if deaf else signal.SIGTERM)
    assert ended.stdout == b"here\n"


ORPHANS = {
    "in the group": "",
    "in a session of its own": "os.setsid()",
    "deaf": "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "stopped": "os.kill(os.getpid(), signal.SIGSTOP)",
    "another program": "os.setsid(); os.execvp('sleep', ['sleep', '600'])",
}


@pytest.mark.parametrize("habit", ORPHANS.values(), ids=ORPHANS)
@linux
def test_what_a_child_leaves_behind_is_stopped(marked: str, habit: str) -> None:
    assert marked
    code = (
        f"import os, signal, time\nif os.fork() == 0:\n    {habit or 'pass'}\n    time.sleep(600)\n"
    )
    ended = python(code + "time.sleep(0.2); print('done')", seconds=60)
    assert (ended.returncode, ended.stdout) == (0, b"done\n")
    assert ended.seconds < 30


@linux
def test_a_stranger_in_the_same_machine_is_left_alone(marked: str) -> None:
    stranger = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "600")  # noqa: S606
    try:
        assert python("pass").returncode == 0
        assert python("import time; time.sleep(60)", seconds=0.3).timed_out
        assert str(stranger) in carriers(marked)
    finally:
        os.kill(stranger, signal.SIGKILL)
        os.waitpid(stranger, 0)


def test_only_the_last_bytes_of_a_flood_are_kept() -> None:
    code = (
        "import sys\nfor _ in range(500): sys.stdout.write('x' * 100000)\nsys.stdout.write('end')"
    )
    ended = python(code, keep_bytes=1000)
    assert ended.returncode == 0
    assert ended.stdout == b"x" * 997 + b"end"


@linux
def test_memory_of_the_whole_group_is_bounded(marked: str) -> None:
    assert marked
    code = """
import os, time
for _ in range(3):
    if os.fork() == 0:
        eaten = bytearray(b"x" * (100 << 20))
        time.sleep(600)
time.sleep(600)
"""
    ended = python(code, memory_mib=250)
    assert ended.over_memory
    assert ended.peak_mib is not None
    assert 250 < ended.peak_mib < 500


@linux
def test_address_space_is_not_memory() -> None:
    ended = python("import mmap, time; m = mmap.mmap(-1, 8 << 30); time.sleep(0.2)", memory_mib=200)
    assert (ended.returncode, ended.over_memory) == (0, False)


def test_the_folder_is_bounded(tmp_path: Path) -> None:
    code = f"""
import os, time
os.makedirs({str(tmp_path / "a" / "b")!r})
for number in range(1000):
    with open(os.path.join({str(tmp_path / "a" / "b")!r}, str(number)), "wb") as file:
        file.write(os.urandom(1 << 20))
time.sleep(600)
"""
    ended = python(code, watch_folder=tmp_path, folder_mib=20, seconds=60)
    assert (ended.over_disk, ended.timed_out) == (True, False)


@linux
def test_one_file_cannot_outgrow_the_bound_between_two_looks(tmp_path: Path) -> None:
    code = f"""
import os
with open({str(tmp_path / "big")!r}, "wb", buffering=0) as file:
    while True:
        file.write(b"x" * (64 << 20))
"""
    ended = python(code, watch_folder=tmp_path, folder_mib=4)
    assert ended.over_disk
    assert (tmp_path / "big").stat().st_size <= 16 << 20


def test_a_folder_outside_the_bound_stays_unnoticed_when_small(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/")
    ended = python("pass", watch_folder=tmp_path, folder_mib=1)
    assert (ended.returncode, ended.over_disk) == (0, False)


@linux
def test_an_interrupt_kills_the_group_and_goes_on(marked: str) -> None:
    assert marked
    code = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
time.sleep(600)
"""
    began = time.monotonic()
    with interrupt_after(0.5), pytest.raises(KeyboardInterrupt):
        python(code, seconds=60)
    assert time.monotonic() - began < 20


class interrupt_after:  # noqa: N801 - used as a word
    def __init__(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
        self._before: Callable[..., object] | int | None = None

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()
        signal.signal(signal.SIGINT, self._before)


@linux
def test_no_zombie_and_no_descriptor_is_left(marked: str) -> None:
    assert marked
    for _ in range(20):
        python("pass")
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@linux
def test_once_collected_a_child_is_sent_no_signal(
    marked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number may be somebody else's by then."""
    assert marked
    child = process.start([sys.executable, "-c", "print(1)"], process.Bounds(20))
    assert isinstance(child, process.Child)
    while (ended := child.poll()) is None:
        child.wait()
    sent: list[tuple[int, ...]] = []
    for name in ("kill", "killpg"):
        monkeypatch.setattr(os, name, lambda *words: sent.append(words))
    child.strike()
    process.kill([child])
    assert child.poll() == ended
    assert (ended.returncode, ended.stdout, sent) == (0, b"1\n", [])


class Starting:
    """/proc as it is while a program is exchanged for another: for a moment without environment."""

    def __init__(self, at: Path, seen: set[Path]) -> None:
        self._at, self._seen = at, seen

    def __truediv__(self, name: str) -> Starting:
        return Starting(self._at / name, self._seen)

    def __fspath__(self) -> str:
        return str(self._at)

    def read_bytes(self) -> bytes:
        if self._at.name == "environ" and self._at not in self._seen:
            self._seen.add(self._at)
            return b""
        return self._at.read_bytes()


@linux
def test_a_child_that_has_no_environment_yet_is_ended_too(
    marked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert marked
    real, made = process._popen, list[subprocess.Popen[bytes]]()

    def fail(
        argv: Sequence[str], env: Mapping[str, str], cwd: Path | None, pass_fds: Sequence[int]
    ) -> None:
        made.append(real(argv, env, cwd, pass_fds))
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(process, "_popen", fail)
    monkeypatch.setattr("qdoctor._family._PROC", Starting(Path("/proc"), set()))
    assert python("import time; time.sleep(600)").start_error == "Too many open files"
    assert made[0].wait(20) == -signal.SIGKILL
    for pipe in process._pipes_of(made[0]):
        pipe.close()


@linux
@pytest.mark.parametrize("trouble", [OSError(24, "Too many open files"), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["_popen", "drain_pipes"])
def test_what_cannot_be_watched_is_ended(
    marked: str, monkeypatch: pytest.MonkeyPatch, trouble: BaseException, where: str
) -> None:
    """A child that started, of which we do not hear: of an interrupt, for want of descriptors."""
    assert marked
    real = getattr(process, where)

    def fail(*words: object) -> object:
        if where == "_popen":
            made.append(real(*words))
        raise trouble

    made: list[subprocess.Popen[bytes]] = []
    monkeypatch.setattr(process, where, fail)
    if isinstance(trouble, OSError):
        ended = python("import time; time.sleep(600)")
        assert ended.start_error == "Too many open files"
    else:
        with pytest.raises(KeyboardInterrupt):
            python("import time; time.sleep(600)")
    for one in made:
        assert one.wait(20) == -signal.SIGKILL
        for pipe in (one.stdout, one.stderr):
            assert pipe is not None
            pipe.close()


@linux
def test_it_works_where_the_parent_ignores_its_children() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        ended = python("print('done')")
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert ended.stdout == b"done\n"
    assert (ended.returncode, ended.signal) == (None, None)  # unknown, so not a success


@linux
def test_children_may_run_side_by_side(marked: str) -> None:
    assert marked
    ends: dict[int, process.Ended] = {}

    def one(number: int) -> None:
        ends[number] = python(f"import time; time.sleep(0.2); print({number})")

    threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number: int(ended.stdout) for number, ended in ends.items()} == {n: n for n in range(4)}


@linux
def test_without_proc_and_pidfd_the_group_is_still_ended(
    marked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS, and in sandboxes that hide /proc."""
    assert marked
    monkeypatch.setattr("qdoctor.process.HAS_PROC", False)
    monkeypatch.setattr("qdoctor._family.HAS_PROC", False)
    monkeypatch.setattr("os.pidfd_open", _refuse)
    code = "import os, time\nif os.fork() == 0: time.sleep(600)\nprint('done')"
    ended = python(code)
    assert (ended.returncode, ended.stdout, ended.peak_mib) == (0, b"done\n", None)
    assert python("import time; time.sleep(60)", seconds=0.3).timed_out


def _refuse(_: int) -> int:
    raise PermissionError
