"""The one file of an installed distribution whose stamp stands for all of its files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qdoctor.facts.interpreter import Distribution


def record_of(distribution: Distribution) -> str:
    """Return the file that an installer rewrites whenever it changes the distribution's files."""
    folder = os.path.dirname(distribution.file)  # noqa: PTH120 - a Path costs more than the rest
    record = os.path.join(folder, "RECORD")  # noqa: PTH118 - likewise
    return record if os.path.isfile(record) else distribution.file  # noqa: PTH113 - likewise
