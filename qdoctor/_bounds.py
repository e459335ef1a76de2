"""What a child may take: its time, its memory, its folder. Part of ``process``."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

_MIB = 1 << 20
_NAME_BYTES = 16384
_PROC = Path("/proc")


class Bounds(msgspec.Struct, frozen=True):
    """Seconds of wall time, MiB of memory of the whole family, and of what lies in a folder."""

    seconds: float
    memory_mib: int | None = None
    folder: Path | None = None
    folder_mib: int = 64

    @property
    def file_bytes(self) -> int:
        """How large a single file may get.

        Wider than the folder's bound, since it holds for whatever the child writes, shared memory
        included; with it no single file can outgrow that bound by far between two looks.
        """
        return 4 * self.folder_mib * _MIB


def restrain(pid: int, bounds: Bounds) -> None:
    """Let the kernel help, without running Python between fork and exec.

    No core file; if memory runs out, the child goes before us.
    """
    if sys.platform != "linux":
        return
    import resource  # noqa: PLC0415 - POSIX only

    with contextlib.suppress(OSError, ValueError):
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, ValueError):
        if bounds.folder is not None:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (bounds.file_bytes, bounds.file_bytes))
    with contextlib.suppress(OSError):
        (_PROC / str(pid) / "oom_score_adj").write_text("1000", encoding="ascii")


def over_disk(bounds: Bounds) -> bool:
    """Whether the folder holds more than it may."""
    if bounds.folder is None:
        return False
    limit = bounds.folder_mib * _MIB
    used = 0
    for size in _sizes(bounds.folder):
        used += size
        if used >= limit:
            return True
    return False


def _sizes(folder: Path) -> Iterator[int]:
    """Bytes that each entry below ``folder`` counts: what it takes on the disk, and its name.

    A name counts much, since a folder of a million empty files is as hard to look through and to
    remove as a large one.
    """
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    found = entry.stat(follow_symlinks=False)
                    blocks: int | None = getattr(found, "st_blocks", None)
                    yield _NAME_BYTES + (found.st_size if blocks is None else blocks * 512)
                if entry.is_dir(follow_symlinks=False):
                    yield from _sizes(Path(entry.path))
    except OSError:
        return
