"""What ranks tell each other, over a store that is made up or breaks."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from qdoctor.choosing import board as boards
from qdoctor.choosing.board import Board, Silence
from qdoctor.model import BadInput

if TYPE_CHECKING:
    from pathlib import Path


class Store:
    """As torch's HashStore."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.broken = ""

    def add(self, key: str, count: int) -> int:
        self._break()
        value = int(self.held.get(key, b"0")) + count
        self.held[key] = str(value).encode()
        return value

    def set(self, key: str, value: str) -> None:
        self._break()
        self.held[key] = value.encode()

    def get(self, key: str) -> bytes:
        self._break()
        return self.held[key]

    def check(self, keys: list[str]) -> bool:
        self._break()
        return all(key in self.held for key in keys)

    def compare_set(self, key: str, expected: str, value: str) -> bytes:
        self._break()
        assert expected == ""
        return self.held.setdefault(key, value.encode())

    def _break(self) -> None:
        if self.broken == "hangs":
            time.sleep(3600)
        if self.broken:
            raise RuntimeError(self.broken)


class OldStore(Store):
    """As before torch 2.9."""

    check = None  # type: ignore[assignment]


@pytest.mark.parametrize("kind", [Store, OldStore])
def test_what_one_posts_the_others_see(kind: type[Store]) -> None:
    store = kind()
    one, other = Board(store, 0, 2), Board(store, 1, 2)
    assert other.posted("kind/0") is None
    one.post("kind/0", {"a": [1, None]})
    assert other.wait("kind/0", 5, 0) == {"a": [1, None]}


def test_whoever_is_first_settles_it() -> None:
    store = Store()
    one, other = Board(store, 0, 2), Board(store, 1, 2)
    assert one.settle("outcome", "half") == "half"
    assert other.settle("outcome", "bnb-nf4") == "half"


def test_rounds_do_not_mix() -> None:
    store = Store()
    first = [Board(store, rank, 3) for rank in range(3)]
    first[0].post("kind/0", "old")
    second = [Board(store, rank, 3) for rank in range(3)]
    assert first[2].posted("kind/0") == "old"
    assert second[2].posted("kind/0") is None


def test_a_wait_ends() -> None:
    board = Board(Store(), 0, 2)
    began = time.monotonic()
    with pytest.raises(Silence, match="rank 1 gave no answer within 0 s"):
        board.wait("kind/1", 0.2, 1)
    assert time.monotonic() - began >= 0.2


def test_a_rank_that_stops_beating_is_missed() -> None:
    store = Store()
    one, other = Board(store, 0, 2), Board(store, 1, 2)
    one.post("beat/0", ["elsewhere 1 1 x", 0])
    with pytest.raises(Silence, match="rank 0 ended, or cannot be reached"):
        other.wait("answer/0", 60, 0, silent=0.2)


def test_a_rank_that_beats_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "_BEAT_SECONDS", 0.05)
    store = Store()
    one, other = Board(store, 0, 2), Board(store, 1, 2)

    def work() -> None:
        with one.beating():
            time.sleep(1.0)
            one.post("answer/0", "half")

    thread = threading.Thread(target=work)
    thread.start()
    assert other.wait("answer/0", 60, 0, silent=0.5) == "half"
    thread.join()


@pytest.mark.parametrize("broken", ["hangs", "Connection reset by peer"])
def test_a_store_that_fails_or_hangs_is_an_end(
    monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    monkeypatch.setattr(boards, "_OPERATION_SECONDS", 0.2)
    store = Store()
    board = Board(store, 0, 2)
    store.broken = broken
    with pytest.raises(Silence, match="store"):
        board.wait("kind/1", 60, 1)


def test_what_is_no_group_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Distributed:
        class GroupMember:
            NON_GROUP_MEMBER = object()

        class _world:  # noqa: N801 - torch's name
            pg_map: dict[Any, Any] = {}  # noqa: RUF012

        started = False

        @classmethod
        def is_initialized(cls) -> bool:
            return cls.started

        @staticmethod
        def get_rank(_: object) -> int:
            return 0

    monkeypatch.setitem(
        sys.modules, "torch.distributed.distributed_c10d", Distributed
    )  # fmt: skip
    with pytest.raises(BadInput, match="not initialized"):
        boards.board_of(object())
    Distributed.started = True
    with pytest.raises(BadInput, match="no member"):
        boards.board_of(Distributed.GroupMember.NON_GROUP_MEMBER)
    with pytest.raises(BadInput, match="no key-value store"):
        boards.board_of("a group of MPI's")


def test_what_is_no_group_is_told_so_by_torch_itself(tmp_path: Path) -> None:
    distributed = pytest.importorskip("torch.distributed")
    if not distributed.is_available() or not distributed.is_gloo_available():
        pytest.skip("this torch has no gloo")
    at = f"file://{tmp_path}/meeting"
    distributed.init_process_group("gloo", init_method=at, rank=0, world_size=1)
    try:
        gone = distributed.new_group([0])
        distributed.destroy_process_group(gone)
        for wrong in (3, [0], False, gone):
            with pytest.raises(BadInput, match="a process group of torch"):
                boards.board_of(wrong)
        assert boards.board_of(distributed.group.WORLD)[1:3] == (0, 1)
    finally:
        distributed.destroy_process_group()


def test_a_closed_board_leaves_no_thread() -> None:
    before = threading.active_count()
    boards_made = [Board(Store(), 0, 1) for _ in range(5)]
    for one in boards_made:
        one.post("kind/0", 1)
        one.close()
    until = time.monotonic() + 20
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() <= before
