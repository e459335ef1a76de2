"""The Python sources of a package in a wheel, ready to be asked for names and uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.mining.errors import UnreadableRelease
from qdoctor.sources.modules import Sources, UnreadableSources

if TYPE_CHECKING:
    from qdoctor.mining.wheel import Wheel


def sources_of(wheel: Wheel, package: str) -> Sources:
    """Read all ``.py`` members of ``package`` in a wheel.

    Raises ``UnreadableRelease`` for a wheel whose package has no readable ``__init__.py``.
    """
    members = [n for n in wheel.names if n.startswith(f"{package}/") and n.endswith(".py")]
    try:
        return Sources(package, {member: wheel.text(member) for member in members})
    except UnreadableSources as error:
        raise UnreadableRelease(f"the wheel has {error}") from error
