"""A thousand runs in a row leave nothing behind, in our process or beside it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.probes.wards import HARMED, HEALTHY, Ward

if TYPE_CHECKING:
    from collections.abc import Iterator

ENGINES, RUNS = 10, 50  # for each of the two routes


@pytest.fixture
def _nothing_more_shared(clean_world: str) -> Iterator[None]:
    """What ``clean_world`` does not look at: threads, and memory shared by name or by number."""
    assert clean_world
    before = shared()
    yield
    assert shared() == before


def shared() -> tuple[int, list[str], int]:
    """Threads of ours, POSIX shared memory, and System V's segments (with one line of titles)."""
    named = Path("/dev/shm")  # noqa: S108 - looked at, not used
    names = sorted(path.name for path in named.iterdir()) if named.is_dir() else []
    table = Path("/proc/sysvipc/shm")
    segments = len(table.read_text().splitlines()) if table.exists() else 0
    return threading.active_count(), names, segments


@pytest.mark.usefixtures("_nothing_more_shared")
@pytest.mark.parametrize("route", ["fresh", "forked"])
def test_half_a_thousand_runs_leave_nothing(route: str, packages: Path, clean_world: str) -> None:
    ward = Ward(route, packages, clean_world)
    for _ in range(ENGINES):
        seen = ward.run_alone(RUNS)
        assert [one.outcome for one in seen] == ["passed"] * RUNS
        assert not [
            one for one in seen if any("fresh interpreter" in text for text in one.evidence)
        ]


@pytest.mark.usefixtures("_nothing_more_shared")
@pytest.mark.parametrize("route", ["fresh", "forked"])
def test_daemons_of_probes_are_found(route: str, packages: Path, clean_world: str) -> None:
    ward = Ward(route, packages, clean_world)
    for _ in range(5):
        seen = ward.run(f"{HARMED}:fork@run,{HEALTHY}:fork@load")
        assert {one.outcome for one in seen} == {"passed"}
