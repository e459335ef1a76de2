"""Work in steps that are told as they begin and end, and that take no longer than they may."""

from __future__ import annotations

import contextlib
import signal
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Result = TypeVar("Result")


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise ``TimeoutError`` in what takes longer, if it is Python or waits; for the main thread.

    A call into a library that does not come back is not interrupted.
    """

    def late(*_: object) -> None:
        raise TimeoutError(f"not done after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, late)
    begun = time.monotonic()
    others, _ = signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if others:  # somebody else's alarm, which rings when it would have rung
            left = others - (time.monotonic() - begun)
            signal.setitimer(signal.ITIMER_REAL, max(left, 0.001))


class Phases:
    """The steps of a run within a budget of seconds; each is printed with the time that it took."""

    def __init__(self, budget: float) -> None:
        """Begin now."""
        self._begun = time.monotonic()
        self._end = self._begun + budget
        self.failed: dict[str, str] = {}

    def left(self) -> float:
        """Return the seconds that are left."""
        return self._end - time.monotonic()

    def run(self, name: str, seconds: float, step: Callable[[], Result]) -> Result | None:
        """Do a step in at most so many seconds. None, and ``failed`` says why, where it fails.

        A step that the budget has no time for is not begun.
        """
        if self.left() <= 0:
            self._fail(name, "left out: the budget is spent")
            return None
        begun = time.monotonic()
        self._say(f"{name} ...")
        try:
            with within(min(seconds, self.left())):
                result = step()
        except Exception as error:  # noqa: BLE001 - whatever fails is a result, and the next goes on
            self._fail(name, f"{type(error).__name__}: {error}"[:500])
            error.__traceback__ = None  # its frames hold tensors
            return None
        self.failed.pop(name, None)  # of an earlier run
        self._say(f"{name}: {time.monotonic() - begun:.1f} s")
        return result

    def _fail(self, name: str, why: str) -> None:
        self.failed[name] = why
        self._say(f"{name}: FAILED {why}")

    def _say(self, words: str) -> None:
        print(f"[{time.monotonic() - self._begun:6.1f}] {words}", flush=True)
