"""What can be read about a machine without running third-party code: ``collect(target)``."""

from __future__ import annotations

from qdoctor.facts.collecting import collect
from qdoctor.facts.target import find_target

__all__ = ["collect", "find_target"]
