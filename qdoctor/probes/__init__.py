"""Probes: what happens when tiny real kernels run in the examined interpreter."""

from __future__ import annotations

from qdoctor.probes.engine import Interrupted as Interrupted
from qdoctor.probes.runner import observe as observe

__all__ = ["Interrupted", "observe"]
