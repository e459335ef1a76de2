"""Which names an installed triton has, by its own files: for one that the matrix does not know."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from qdoctor.model import Facts
    from qdoctor.sources.names import Names

_TRITON = "triton"


def read_triton_has(facts: Facts) -> Facts:
    """Add which of the names that installed packages use the installed triton has.

    A name that its files leave open (made at run time, or in native code) is left out, and all are
    where triton's files cannot be read.
    """
    file = next((one.file for one in facts.packages_found or () if one.name == _TRITON), None)
    names = {name for use in facts.triton_names or () for name in use.names}
    if file is None or not names:
        return facts
    from qdoctor.facts.members import walked  # noqa: PLC0415 - only an unknown triton is read
    from qdoctor.sources.files import InstalledSources  # noqa: PLC0415
    from qdoctor.sources.names import Names  # noqa: PLC0415

    path = Path(file)
    in_folder = path.name.startswith("__init__.")
    root, top = (path.parent.parent, _TRITON) if in_folder else (path.parent, path.name)
    offered = Names(InstalledSources(_TRITON, dict(walked(root, top))))
    has = {name: found for name in sorted(names) if (found := _has(offered, name)) is not None}
    return msgspec.structs.replace(facts, triton_has=has)


def _has(offered: Names, name: str) -> bool | None:
    try:
        return offered.has(name)
    except RecursionError:  # a chain of imports without end, or code nested without measure
        return None
