"""What the ranks of a process group tell each other: keys and values, each wait bounded.

A group's own key-value store carries it, for gloo and NCCL alike: no tensor is sent, so no CUDA
context comes into being. Each store operation runs in a thread of its own: one to a host that has
vanished can block for ever, and the rank that asked must not.

Source: ``_world.pg_map`` in torch/distributed/distributed_c10d.py, and ``Store`` in
torch/_C/_distributed_c10d.pyi, read in the wheels of torch 2.1 to 2.13. ``Store.check`` came with
2.9; before, a counter beside a value tells that it is there, since ``get`` and ``wait`` block.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from qdoctor.choosing.lock import identity, is_dead_here
from qdoctor.model import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable

_OPERATION_SECONDS = 30.0
_BEAT_SECONDS = 1.0
_POLL_SECONDS = (0.01, 0.25)
_UNTOLD_SECONDS = 300.0
_PREFIX = "qdoctor"


class Silence(Exception):  # noqa: N818 - it names what happened
    """Another rank (``whose``), or the store, did not answer in time; the text says which."""

    def __init__(self, text: str, whose: int | None = None) -> None:
        """See the class."""
        super().__init__(text)
        self.whose = whose


class Board:
    """The store of one group, as this rank uses it in one round of agreement."""

    def __init__(self, store: Any, rank: int, size: int) -> None:  # noqa: ANN401 - torch's Store
        """Join the next round: the first ``size`` who join belong to the first one, and so on."""
        self.rank, self.size = rank, size
        self._store = store
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()
        ticket = self._do(lambda: store.add(f"{_PREFIX}/joined", 1))
        self._round = f"{_PREFIX}/{(int(ticket) - 1) // size}"

    def post(self, name: str, value: Any) -> None:  # noqa: ANN401 - any JSON
        """Let all ranks see a value."""
        text = json.dumps(value)

        def write() -> None:
            self._store.set(self._key(name), text)
            self._store.add(f"{self._key(name)}/there", 1)

        self._do(write)

    def posted(self, name: str) -> Any:  # noqa: ANN401
        """Return a value, None where it is not there yet."""

        def look() -> Any:  # noqa: ANN401
            key = self._key(name)
            check = getattr(self._store, "check", None)
            there = check([key]) if check else self._store.add(f"{key}/there", 0)
            return self._store.get(key) if there else None

        data = self._do(look)
        return None if data is None else json.loads(bytes(data))

    def settle(self, name: str, value: Any) -> Any:  # noqa: ANN401
        """Post a value that only one rank can post; return the one that is there from then on."""
        text = json.dumps(value)
        data = self._do(lambda: self._store.compare_set(self._key(name), "", text))
        return json.loads(bytes(data))

    def wait(self, name: str, seconds: float, whose: int, *, silent: float = 0.0) -> Any:  # noqa: ANN401
        """Wait for a value of rank ``whose``. Raises ``Silence`` after ``seconds``.

        With ``silent``, it is also raised when that rank has not beaten for so many seconds, or is
        a process of this host that has ended.
        """
        until, heard = time.monotonic() + seconds, (None, time.monotonic())
        pause, longest = _POLL_SECONDS
        while (found := self.posted(name)) is None:
            now = time.monotonic()
            if silent:
                beat = self.posted(f"beat/{whose}")
                heard = heard if beat == heard[0] else (beat, now)
                if now - heard[1] > silent or is_dead_here(str((beat or [""])[0])):
                    raise Silence(
                        f"rank {whose} ended, or cannot be reached, while it measured", whose
                    )
            if now > until:
                raise Silence(f"rank {whose} gave no answer within {seconds:.0f} s", whose)
            time.sleep(pause)
            pause = min(longest, pause * 1.5)
        return found

    def see_off(self, seconds: float, silent: int | None) -> None:
        """Say that this rank has heard, and stay until all but ``silent`` have; or ``seconds``.

        The first rank often hosts the store: where it ends, the others would not hear the outcome.
        """
        until = time.monotonic() + seconds
        try:
            self.post(f"heard/{self.rank}", True)  # noqa: FBT003 - the value does not matter
            for rank in range(self.size):
                if rank != silent:
                    self.wait(f"heard/{rank}", until - time.monotonic(), rank)
        except Silence:
            return

    def close(self) -> None:
        """Let go of the store: no further operation will be asked for."""
        self._jobs.put(None)

    def beating(self) -> Beating:
        """Let the others hear, while the block runs, that this rank lives."""
        return Beating(self)

    def _key(self, name: str) -> str:
        return f"{self._round}/{name}"

    def _do(self, operation: Callable[[], Any]) -> Any:  # noqa: ANN401
        done: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

        def run() -> None:
            try:
                done.put((True, operation()))
            except Exception as error:  # noqa: BLE001 - torch raises RuntimeErrors of many names
                done.put((False, error))

        self._jobs.put(run)
        try:
            well, value = done.get(timeout=_OPERATION_SECONDS)
        except queue.Empty:
            raise Silence("the process group's store does not answer") from None
        if not well:
            raise Silence(f"the process group's store failed: {value}") from value
        return value

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


class Beating:
    """Posts a beat every second."""

    def __init__(self, board: Board) -> None:
        """Begin with the block."""
        self._board, self._done = board, threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> None:
        """Beat at once, then every second."""
        self._own = identity()
        self._board.post(f"beat/{self._board.rank}", [self._own, 0])
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._done.set()
        self._thread.join(_BEAT_SECONDS)

    def _beat(self) -> None:
        count = 0
        while not self._done.wait(_BEAT_SECONDS):
            count += 1
            try:
                self._board.post(f"beat/{self._board.rank}", [self._own, count])
            except Silence:
                return


def board_of(group: Any) -> tuple[Any, int, int, float]:  # noqa: ANN401 - a ProcessGroup
    """Return a group's store, this process's rank in it, its size, and its timeout in seconds.

    Raises ``BadInput`` for what is no process group that this process belongs to.
    """
    module = sys.modules.get("torch.distributed.distributed_c10d")
    if module is None or not module.is_initialized():
        raise BadInput("group: torch.distributed is not initialized (init_process_group)")
    if _rank(module, group) < 0:
        raise BadInput("group: this process is no member of it; only members may ask")
    found = module._world.pg_map.get(group)  # noqa: SLF001 - torch has no public name for it
    store = found[1] if found else None
    if store is None:
        raise BadInput("group: it has no key-value store (MPI?), which agreeing needs")
    return store, _rank(module, group), module.get_world_size(group), _timeout(group, store)


def _rank(distributed: Any, group: Any) -> int:  # noqa: ANN401
    if group is distributed.GroupMember.NON_GROUP_MEMBER:
        return -1
    try:
        return int(distributed.get_rank(group))
    except (AttributeError, TypeError, ValueError) as error:  # torch asks its register of groups
        raise BadInput(
            f"group {group!r}: a process group of torch.distributed is meant that is not destroyed,"
            " such as torch.distributed.group.WORLD"
        ) from error


def _timeout(group: Any, store: Any) -> float:  # noqa: ANN401
    """Return the shorter of the store's timeout and the group's own, as far as torch tells them."""
    told = [getattr(store, "timeout", None)]
    for device in getattr(group, "_device_types", ()):
        options = getattr(group._get_backend(device), "options", None)  # noqa: SLF001 - likewise
        told.append(getattr(options, "_timeout", None))
    return min((one.total_seconds() for one in told if one is not None), default=_UNTOLD_SECONDS)
