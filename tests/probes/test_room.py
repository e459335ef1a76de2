from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from qdoctor import process
from qdoctor.probes import room
from qdoctor.probes.catalog import Header
from qdoctor.probes.room import Room

if TYPE_CHECKING:
    from pathlib import Path


def header(cores: int = 1, memory_mib: int = 8192) -> Header:
    return Header(
        name="tiny",
        title="Tiny",
        needs=(),
        modes=("run",),
        seconds=5,
        memory_mib=memory_mib,
        quick=True,
        variants=("only",),
        cores=cores,
    )


def proc(folder: Path, mib: int) -> Path:
    (folder / "meminfo").write_text(f"MemTotal: 99999999 kB\nMemAvailable: {mib * 1024} kB\n")
    return folder


def of(folder: Path, cores: int = 8, mib: int = 65536, *, side_by_side: bool = True) -> Room:
    return Room(cores, side_by_side, proc(folder, mib), folder / "no-cgroup")


def test_one_probe_may_always_run(tmp_path: Path) -> None:
    assert of(tmp_path, cores=1, mib=1).fits(header(cores=64), [], busy=9)


def test_cores_bound_how_many_run(tmp_path: Path) -> None:
    two = [(header(), 0.0), (header(), 0.0)]
    assert of(tmp_path, cores=3).fits(header(), two, busy=0)
    assert not of(tmp_path, cores=3).fits(header(), two, busy=1)
    assert not of(tmp_path, cores=3).fits(header(cores=2), two, busy=0)


def test_memory_that_is_promised_is_not_promised_again(tmp_path: Path) -> None:
    begun, grown = [(header(), 0.0)], [(header(), 1024.0)]
    assert not of(tmp_path, mib=2048).fits(header(), begun, busy=0)
    assert of(tmp_path, mib=2048).fits(header(), grown, busy=0)
    assert of(tmp_path, mib=2048).fits(header(memory_mib=256), begun, busy=0)


def test_where_memory_cannot_be_watched_probes_run_one_by_one(tmp_path: Path) -> None:
    assert not of(tmp_path, side_by_side=False).fits(header(), [(header(), 0.0)], busy=0)
    blind = Room(8, side_by_side=True, proc=tmp_path / "none", cgroup=tmp_path / "none")
    assert not blind.fits(header(), [(header(), 0.0)], busy=0)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 1),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "nonsense"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_a_control_groups_quota_counts(
    tmp_path: Path, files: dict[str, str], cores: int | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert room.usable_cores(tmp_path) == (mine if cores is None else cores)


@pytest.mark.parametrize(
    ("files", "mib"),
    [
        ({"memory.max": str(1 << 30), "memory.current": str(768 << 20)}, 256.0),
        (
            {
                "memory.max": str(1 << 30),
                "memory.current": str(768 << 20),
                "memory.stat": f"anon 5\ninactive_file {128 << 20}\n",
            },
            384.0,
        ),
        ({"memory.max": "max\n", "memory.current": "5"}, 4096.0),
        (
            {
                "memory/memory.limit_in_bytes": str(1 << 30),
                "memory/memory.usage_in_bytes": str(1 << 29),
            },
            512.0,
        ),
        ({"memory.max": "nonsense"}, 4096.0),
        ({}, 4096.0),
    ],
)
def test_the_tighter_of_machine_and_control_group_counts(
    tmp_path: Path, files: dict[str, str], mib: float
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert room.available_mib(proc(tmp_path, 4096), tmp_path) == mib


def test_this_machine_has_room_for_something() -> None:
    here = room.here()
    assert here.cores >= 1
    assert here.fits(header(), [], busy=0)


@pytest.mark.parametrize(("mib", "most"), [(None, 2), (0, 2), (8192, 2), (24576, 4), (81559, 13)])
def test_a_gpu_is_shared_with_whoever_else_uses_it(mib: int | None, most: int) -> None:
    assert room.contexts(mib) == most


def test_where_processes_cannot_be_looked_up_none_runs_beside_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A sandbox may show how much memory is free, and not who has it."""
    monkeypatch.setattr(room, "available_mib", lambda: 65536.0)
    assert room.here().side_by_side is process.HAS_PROC
    monkeypatch.setattr(process, "HAS_PROC", False)
    assert not room.here().side_by_side
