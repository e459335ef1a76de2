"""Which names of triton the Python code of each installed package uses, by syntax trees.

Every installed distribution is looked at, for many that hold Triton kernels require neither torch
nor triton by their metadata. Left out are triton itself, whose own names are no use of it, and
torch, whose use of it its exact requirement speaks for. A file without the bytes ``triton`` is
not parsed, unless importing a package leads through it to one that has them. What was read is kept
until an installer rewrites the distribution's RECORD, or one of the files that counted changes.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from qdoctor.facts.distribution import record_of
from qdoctor.facts.inspected import Inspections, Stamp, stamp_of
from qdoctor.model import Noun, TritonUse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from qdoctor.facts.interpreter import Distribution

FILE = "sources-1.json"
"""The number changes with what is read from sources, or how."""
SECONDS = 10.0
"""How long reading may take in all; a full environment takes 3 s once, and 0.01 s from then on."""
_OWN = frozenset({"torch", "triton", "pytorch-triton", "pytorch-triton-rocm", "pytorch-triton-xpu"})
_OWN_TOO = ("triton-", "nvidia-", "torch-", "pip", "setuptools")


class Held(Noun, frozen=True):
    """What one distribution uses, the files that this depends on, and what could not be read."""

    uses: list[TritonUse]
    depends: dict[str, Stamp]
    unread: list[str]


def read_triton_uses(
    distributions: Iterable[Distribution],
    environ: Mapping[str, str],
    *,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[list[TritonUse], dict[str, str]]:
    """Read what ``distributions`` use of triton; what is left out comes with a reason.

    Sorted by package and file. Nothing is imported, and nothing in the files can make it raise.
    """
    wanted = {record_of(one): one for one in distributions if _looked_at(one.name)}
    inspections = Inspections(lambda path: _read(wanted[str(path)]), environ, file=FILE, kind=Held)
    found: list[TritonUse] = []
    unread: dict[str, str] = {}
    late: list[str] = []
    end = clock() + seconds
    for path in sorted(wanted, key=_size):
        name = wanted[path].name
        if clock() > end:
            late.append(name)
            continue
        held, reason = _current(inspections, path)
        found += held.uses if held else []
        if reason:
            unread[f"triton_names.{name}"] = reason
    inspections.keep()
    if late:
        unread["triton_names"] = _left_out(late, seconds)
    return sorted(found, key=lambda use: (use.package, use.file, use.when)), unread


def _size(path: str) -> int:
    """Order distributions by size, so that one huge package holds up no other."""
    return _stamp(path)[0]


def _left_out(names: list[str], seconds: float) -> str:
    return (
        f"{len(names)} packages are left out, for reading took more than {seconds:.0f} s; the next "
        f"check goes on with them: {', '.join(names[:10])}"
    )


def _looked_at(name: str) -> bool:
    return name not in _OWN and not name.startswith(_OWN_TOO)


def _current(inspections: Inspections[Held], path: str) -> tuple[Held | None, str]:
    """Return what is remembered of a distribution, if no file that counts has changed.

    Beside it the reason why something could not be read, ``""`` for nothing.
    """
    try:
        held = inspections.read(path)
        if any(_stamp(file) != stamp for file, stamp in held.depends.items()):
            inspections.forget(path)
            held = inspections.read(path)
    except OSError as error:
        return None, error.strerror or str(error)
    return held, "; ".join(held.unread)


def _stamp(path: str) -> Stamp:
    try:
        return stamp_of(os.stat(path))  # noqa: PTH116 - thousands of them, and a Path costs more
    except (OSError, ValueError):
        return (0, 0, 0)


def _read(distribution: Distribution) -> Held:
    # Here, because parsing code takes longer to import than all that is remembered to load.
    from qdoctor.facts.members import members_of  # noqa: PLC0415
    from qdoctor.facts.reading_sources import uses_in  # noqa: PLC0415

    members = members_of(distribution)
    uses, counted, unread = uses_in(distribution.name, members.files)
    watched = members.files.values() if members.loose else counted
    return Held(uses, {str(path): _stamp(str(path)) for path in watched}, unread)
