"""Which of repeated times count: those of the calls that were interrupted least."""

from __future__ import annotations

import sys

import pytest

from qdoctor.choosing import samples
from qdoctor.choosing.samples import ENOUGH, Samples


def taken(monkeypatch: pytest.MonkeyPatch, *calls: tuple[int, float]) -> Samples:
    """Time calls of so many interruptions and milliseconds each."""
    count = [0]
    monkeypatch.setattr(samples, "interruptions", lambda: count[0])
    made = Samples()

    def timed(times: int, took: float) -> float:
        count[0] += times
        return took

    for times, took in calls:
        made.take(lambda times=times, took=took: timed(times, took))  # type: ignore[misc]
    return made


def test_interrupted_calls_do_not_count_where_enough_were_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = taken(monkeypatch, (1, 30.0), (0, 2.0), (4, 35.0), (0, 2.2), (0, 2.1), (2, 31.0))
    assert (len(made), made.counted(), made.median()) == (6, [2.0, 2.1, 2.2], 2.1)
    assert made.differing() == made.counted()
    assert (made.least(), made.is_disturbed()) == (2.0, False)


def test_the_least_interrupted_count_where_all_were(monkeypatch: pytest.MonkeyPatch) -> None:
    made = taken(monkeypatch, (9, 90.0), (1, 10.0), (2, 12.0), (2, 11.0), (3, 20.0))
    assert made.counted() == [10.0, 11.0, 12.0]
    assert made.differing() == [10.0, 11.0, 12.0, 20.0, 90.0]  # all say how unsure that is
    assert made.is_disturbed()


def test_few_undisturbed_calls_are_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    made = taken(monkeypatch, (0, 2.0), (6, 26.0), (7, 30.0), (5, 25.0))
    assert (made.counted(), made.is_disturbed()) == ([2.0, 25.0, 26.0], True)
    made = taken(monkeypatch, (0, 2.0), (0, 2.1), (7, 30.0))
    assert (made.median(), made.is_disturbed()) == (2.1, False)  # the median is of an own
    assert not taken(monkeypatch, (0, 1.0)).is_disturbed()


def test_a_device_that_times_itself_is_not_disturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    count = iter(range(0, 1000, 7))
    monkeypatch.setattr(samples, "interruptions", lambda: next(count))
    made = Samples()
    for _ in range(ENOUGH):
        made.take(lambda: 1.0, by_host=False)
    assert not made.is_disturbed()


def test_without_interruptions_every_call_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    made = taken(monkeypatch, *[(0, float(one)) for one in range(9, 0, -1)])
    assert made.counted() == [float(one) for one in range(1, 10)]


def test_fewer_calls_than_are_enough_count_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    made = taken(monkeypatch, (0, 1.0), (5, 3.0))
    assert ENOUGH > 2
    assert (made.counted(), made.median()) == ([1.0, 3.0], 2.0)
    assert (len(Samples()), Samples().counted(), Samples().least()) == (0, [], 0.0)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows counts no interruptions")
def test_the_kernel_counts() -> None:
    before = samples.interruptions()
    assert samples.interruptions() >= before >= 0


def test_where_nobody_counts_every_call_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "resource", None)
    made = Samples()
    for took in (3.0, 1.0, 2.0):
        made.take(lambda took=took: took)  # type: ignore[misc]
    assert (made.counted(), samples.interruptions()) == ([1.0, 2.0, 3.0], 0)
