"""How much may run side by side: the cores and the memory that this process may use."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from qdoctor import process

if TYPE_CHECKING:
    from collections.abc import Collection

    from qdoctor.probes.catalog import Header

_PROC = Path("/proc")
_CGROUP = Path("/sys/fs/cgroup")
_KEPT_MIB = 512.0  # stays free for everybody else
_CONTEXT_MIB = 600.0
"""GPU memory of a CUDA context with torch's kernels loaded (about 500 on an H100)."""
_FEWEST_CONTEXTS = 2
_LIKELY_MIB = 1024.0
"""What a probe is expected to take; its bound is many times that, and few come near it."""


class Room(msgspec.Struct, frozen=True):
    """``cores`` to use, and whether memory can be watched, without which nothing runs beside."""

    cores: int
    side_by_side: bool
    proc: Path = _PROC
    cgroup: Path = _CGROUP

    def fits(self, header: Header, running: Collection[tuple[Header, float]], busy: int) -> bool:
        """Whether one more probe may begin.

        ``running`` holds each probe under way with the MiB it has taken so far; ``busy`` is how
        many cores other work of ours takes. One probe always may.
        """
        if not running:
            return True
        taken = busy + sum(other.cores for other, _ in running)
        if not self.side_by_side or taken + header.cores > self.cores:
            return False
        free = available_mib(self.proc, self.cgroup)
        if free is None:
            return False
        promised = sum(max(0.0, likely_mib(other) - used) for other, used in running)
        return free - promised - likely_mib(header) >= _KEPT_MIB


def here() -> Room:
    """The room on this machine. Side by side only where memory can be watched and locks exist."""
    watched = process.HAS_PROC and available_mib() is not None
    return Room(usable_cores(), watched)


def contexts(gpu_mib: int | None) -> int:
    """How many probes may use a GPU of this much memory at once: a tenth of it, but two at least.

    What each takes is the CUDA context and the libraries' code far more than its own data.
    """
    return (
        _FEWEST_CONTEXTS
        if gpu_mib is None
        else max(_FEWEST_CONTEXTS, int(gpu_mib / 10 / _CONTEXT_MIB))
    )


def likely_mib(header: Header) -> float:
    """How much host memory a probe is expected to take."""
    return min(_LIKELY_MIB, float(header.memory_mib))


def usable_cores(cgroup: Path = _CGROUP) -> int:
    """Cores that this process may run on: its affinity, and its control group's quota."""
    try:
        cores = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # not on this platform
        cores = os.cpu_count() or 1
    quota = _quota(cgroup)
    return max(1, min(cores, int(quota))) if quota is not None else cores


def _quota(cgroup: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        most, period = (cgroup / "cpu.max").read_text().split()
        return None if most == "max" else float(most) / float(period)
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        most = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text()
        period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text()
        return float(most) / float(period) if float(most) > 0 else None
    return None


def available_mib(proc: Path = _PROC, cgroup: Path = _CGROUP) -> float | None:
    """Memory to be had without swapping, in MiB: the machine's and the control group's."""
    found = [value for value in (_machine_mib(proc), _group_mib(cgroup)) if value is not None]
    return min(found) if found else None


def _machine_mib(proc: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in (proc / "meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) / 1024
    return None


def _group_mib(cgroup: Path) -> float | None:
    for most, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):
            limit = (cgroup / most).read_text().strip()
            if limit != "max":
                free = int(limit) - int((cgroup / used).read_text())
                return (free + _cache_bytes(cgroup / most)) / (1 << 20)
    return None


def _cache_bytes(limit: Path) -> int:
    """File pages that the kernel gives back before anything runs out."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in limit.with_name("memory.stat").read_text().splitlines():
            if line.startswith(("inactive_file ", "total_inactive_file ")):
                return int(line.split()[1])
    return 0
