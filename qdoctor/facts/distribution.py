"""The one file of an installed distribution whose stamp stands for all of its files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qdoctor.facts.interpreter import Distribution


def record_of(distribution: Distribution) -> Path:
    """Return the file that an installer rewrites whenever it changes the distribution's files."""
    metadata = Path(distribution.file)
    record = metadata.with_name("RECORD")
    return record if record.is_file() else metadata
