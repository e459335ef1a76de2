"""The lock that saves work: taken once, given back, broken where its owner is dead."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import IO, TYPE_CHECKING

import pytest

from qdoctor.choosing import lock as locks
from qdoctor.choosing.lock import Lock, NoTurnError, turn, wait_or_take

if TYPE_CHECKING:
    from pathlib import Path

linux_only = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="reads /proc")  # noqa: PTH110


def never() -> bool:
    return False


def test_only_one_can_take_it(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    first, second = Lock(path), Lock(path)
    assert first.take()
    assert not second.take()
    assert not second.owner_is_dead()
    with first.held():
        pass
    assert second.take()


def test_the_owner_beats_while_it_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_BEAT_SECONDS", 0.02)
    path = tmp_path / "lock"
    lock = Lock(str(path))
    assert lock.take()
    os.utime(path, (1, 1))
    with lock.held():
        until = time.monotonic() + 20
        while path.stat().st_mtime == 1 and time.monotonic() < until:
            time.sleep(0.01)
        assert path.stat().st_mtime > 1
    assert not path.exists()


def test_a_silent_owner_of_another_host_is_dead_after_a_while(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("elsewhere/pid:[1] 17 4711 abc\n")
    lock = Lock(str(path), silent=0.2)
    assert not lock.owner_is_dead()
    time.sleep(0.15)
    os.utime(path)  # it beats
    assert not lock.owner_is_dead()
    time.sleep(0.15)
    assert not lock.owner_is_dead()
    time.sleep(0.15)
    assert lock.owner_is_dead()


@linux_only
def test_a_live_owner_of_this_host_is_believed_though_it_is_silent(tmp_path: Path) -> None:
    """A disk that is slow for long, or a signal, may keep it from beating."""
    path = str(tmp_path / "lock")
    assert Lock(path).take()
    os.utime(path, (1, 1))
    lock = Lock(path, silent=0.0)
    assert not lock.owner_is_dead()
    time.sleep(0.05)
    assert not lock.owner_is_dead()


@linux_only
def test_an_owner_of_this_host_that_ended_is_seen_at_once(tmp_path: Path) -> None:
    code = "from qdoctor.choosing.lock import Lock; import sys; Lock(sys.argv[1]).take()"
    path = str(tmp_path / "lock")
    subprocess.run([sys.executable, "-c", code, path], check=True)
    lock = Lock(path)
    assert not lock.take()
    assert lock.owner_is_dead()
    lock.break_up()
    assert lock.take()
    assert os.listdir(tmp_path) == ["lock"]  # noqa: PTH208


@linux_only
def test_a_number_that_another_process_has_now_is_not_the_owner(tmp_path: Path) -> None:
    words = locks.identity().split(" ")
    (tmp_path / "lock").write_text(" ".join([words[0], str(os.getpid()), "1", words[3]]))
    assert Lock(str(tmp_path / "lock")).owner_is_dead()


def test_a_live_owner_that_came_between_is_put_back(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("elsewhere 1 1 dead\n")
    late = Lock(str(path), silent=0.0)
    late.owner_is_dead()
    path.write_text("elsewhere 2 2 alive\n")
    late.break_up()
    assert path.read_text() == "elsewhere 2 2 alive\n"


def test_an_owner_that_lost_its_file_leaves_the_next_ones(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = Lock(str(path))
    assert lock.take()
    with lock.held():
        path.write_text("elsewhere 2 2 next\n")
    assert path.exists()


def test_who_waits_gets_the_answer_or_its_turn(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    owner = Lock(path)
    assert owner.take()
    answered = threading.Event()
    threading.Timer(0.2, answered.set).start()
    assert not wait_or_take(Lock(path), answered.is_set, 30)
    threading.Timer(0.2, owner.release).start()
    assert wait_or_take(Lock(path), never, 30)


def test_nobody_waits_for_ever(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    assert Lock(path).take()
    began = time.monotonic()
    assert wait_or_take(Lock(path), never, 0.3) is None
    assert time.monotonic() - began >= 0.3


def test_of_many_that_lose_patience_two_work_beside_a_live_owner_and_no_more(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "lock")
    assert Lock(path).take()
    ends: list[str] = []

    def wait() -> None:
        try:
            lock = turn(path, never, 0.3)
        except NoTurnError as error:
            ends.append(str(error))
        else:
            assert lock is not None
            ends.append(lock.path)  # and goes on working

    threads = [threading.Thread(target=wait) for _ in range(12)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert sorted(ends)[:2] == [f"{path}.2", f"{path}.3"]
    assert ends.count("3 processes have worked at it for 1 s") == 10


def test_who_lost_patience_with_the_first_is_told_by_whoever_answers(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    assert Lock(path).take()
    assert Lock(f"{path}.2").take()
    answered = threading.Event()
    threading.Timer(0.5, answered.set).start()
    assert turn(path, answered.is_set, 0.3) is None


def test_a_dead_second_owner_is_replaced_too(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    assert Lock(path).take()
    words = locks.identity().split(" ")
    (tmp_path / "lock.2").write_text(" ".join([words[0], str(os.getpid()), "1", words[3]]))
    if words[0] == "?":
        pytest.skip("this host has no name")
    lock = turn(path, never, 0.3)
    assert lock is not None
    assert lock.path == f"{path}.2"


def test_an_answer_that_came_with_the_lock_is_taken_and_the_lock_given_back(tmp_path: Path) -> None:
    assert not wait_or_take(Lock(str(tmp_path / "lock")), lambda: True, 1)
    assert not (tmp_path / "lock").exists()


def test_where_no_file_can_be_made_that_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        wait_or_take(Lock(str(tmp_path / "missing" / "lock")), never, 1)


def test_of_a_host_that_has_no_name_nobody_is_said_to_be_dead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(locks, "_host", lambda: "?")
    words = locks.identity().split(" ")
    assert not locks.is_dead_here(" ".join(["?", "999999999", "1", words[3]]))
    assert not locks.is_dead_here("")
    assert not locks.is_dead_here("one two three")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no disk to be full")  # noqa: PTH110
def test_on_a_full_disk_no_lock_is_left_that_nobody_owns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody else would wait for its owner, one after the other."""

    def full(handle: int, mode: str) -> IO[bytes]:
        os.close(handle)
        return open("/dev/full", mode)  # noqa: PTH123

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(OSError, match="No space left"):
        Lock(str(tmp_path / "lock")).take()
    assert list(tmp_path.iterdir()) == []


def test_where_no_thread_can_be_started_the_work_is_done_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    lock = Lock(str(tmp_path / "lock"))
    assert lock.take()
    with lock.held():
        (tmp_path / "done").touch()
    assert [each.name for each in tmp_path.iterdir()] == ["done"]
