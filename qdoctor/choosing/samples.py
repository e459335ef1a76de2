"""Repeated times of one candidate, and which of them count; runs in the examined interpreter.

Where other programs want the cores, a call lasts as long as the scheduler makes it wait: on two
cores beside two busy programs half took 6.2 ms and an int8 layer 30 ms, instead of 2.3 and 2.6.
Of the calls that were not interrupted the medians were 2.1 and 2.6. So those count that were
interrupted least, and how often says the kernel itself (getrusage(2): involuntary context switches
of all threads of the process).
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

try:
    import resource
except ImportError:  # Windows counts no interruptions: there all calls count
    resource = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable

ENOUGH = 3
"""Calls that a median is taken of at least."""


class Samples:
    """Times in milliseconds, each with how often its call was interrupted."""

    def __init__(self) -> None:
        """Begin with none."""
        self._taken: list[tuple[int, float]] = []

    def __len__(self) -> int:
        """How many calls were timed, whether they count or not."""
        return len(self._taken)

    def take(self, timed: Callable[[], float], *, by_host: bool = True) -> None:
        """Do once what is timed, and keep what it says that it took.

        What a device's own clock timed (not ``by_host``) does not suffer where the host is stopped.
        """
        before = interruptions()
        took = timed()
        self._taken.append((interruptions() - before if by_host else 0, took))

    def counted(self) -> list[float]:
        """Return the times that count, the least first: of the least interrupted calls."""
        borne = sorted(times for times, _ in self._taken)[:ENOUGH][-1:]
        return sorted(took for times, took in self._taken if times <= max(borne, default=0))

    def differing(self) -> list[float]:
        """Return in order the times that a spread is of: all, where others disturbed most."""
        return sorted(took for _, took in self._taken) if self.is_disturbed() else self.counted()

    def median(self) -> float:
        """Return the median of what counts; raises ``StatisticsError`` where nothing was timed."""
        return statistics.median(self.counted())

    def least(self) -> float:
        """Return the shortest time; 0.0 where nothing was timed."""
        return min((took for _, took in self._taken), default=0.0)

    def is_disturbed(self) -> bool:
        """Say whether most of the calls that count were interrupted: hardly any were not."""
        return 2 * sum(times == 0 for times, _ in self._taken) < len(self.counted())


def interruptions() -> int:
    """Return how often this process has had to give up a core so far; 0 where nobody counts."""
    return 0 if resource is None else resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
