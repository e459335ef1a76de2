"""One process works for all: what happens where it dies at it, or gets nowhere."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.choosing.asking import posix_only

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.choosing.asking import Rig

IMPATIENT: dict[str, Any] = {"asks": {"budget": 0.5}, "patience": 0.2}


@posix_only
def test_a_process_that_dies_at_work_holds_nobody_up(rig: Rig) -> None:
    dead = rig.start(dies=True)
    dead.communicate(timeout=60)
    assert dead.returncode == -9
    began = time.monotonic()
    assert rig.ask()[0]["name"] == "half"
    assert rig.worked() == 2
    assert time.monotonic() - began < 60
    assert [path.name for path in (rig.cache / "selections").iterdir()] == [rig.kept()[0].name]


@pytest.mark.skipif(sys.platform != "linux", reason="variables that are no text")
def test_a_variable_that_is_no_utf8_is_part_of_the_key_and_no_error(rig: Rig) -> None:
    rig.environ["LD_LIBRARY_PATH"] = os.fsdecode(b"/lib/caf\xe9")
    assert rig.ask(selects="bnb-nf4")[0]["name"] == "bnb-nf4"
    assert rig.ask(selects="half")[0]["name"] == "bnb-nf4"
    rig.environ["LD_LIBRARY_PATH"] = os.fsdecode(b"/lib/caf\xe8")
    assert rig.ask(selects="half")[0]["name"] == "half"
    assert rig.worked() == 2


@contextlib.contextmanager
def hanging(rig: Rig, count: int) -> Iterator[None]:
    """Let so many processes begin to work, one beside the other, and get nowhere."""
    hung = []
    try:
        for number in range(count):
            hung.append(rig.start(takes=600, **IMPATIENT))
            until = time.monotonic() + 60
            while rig.worked() <= number and time.monotonic() < until:
                time.sleep(0.02)
        assert rig.worked() == count
        yield
    finally:
        for one in hung:
            one.kill()
            one.communicate()


def test_where_one_works_and_gets_nowhere_one_more_works_for_all(rig: Rig) -> None:
    with hanging(rig, 1):
        askers = [rig.start(takes=1.0, **IMPATIENT) for _ in range(8)]
        told = [one[-1] for one in rig.told(*askers)]
    assert len({one["reason"] for one in told}) == 1
    assert not any(one["said"] for one in told)
    assert rig.worked() == 2


def test_where_three_get_nowhere_the_others_take_the_matrix_and_say_so(rig: Rig) -> None:
    with hanging(rig, 3):
        told = rig.ask(times=2, **IMPATIENT)
    assert rig.worked() == 3
    assert told[0]["name"] == told[1]["name"]
    (said,) = told[-1]["said"]
    assert "3 processes have worked at it for 5 s" in said
    assert "the matrix decides alone for now" in said
    assert not rig.kept()
