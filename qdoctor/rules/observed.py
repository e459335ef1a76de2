"""Observations in words, and which of them say nothing about the kernel they were about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.answered import gave_no_answer
from qdoctor.model import Because

if TYPE_CHECKING:
    from qdoctor.model import Observation


def went_wrong(seen: Observation) -> bool:
    """Say whether a kernel failed, crashed or computed wrong numbers."""
    return seen.outcome in {"wrong", "failed", "crashed"} and not gave_no_answer(seen)


def named(seen: Observation) -> str:
    """Write a probe with its variant and device: ``cublaslt_igemm (plain) on cuda:0``."""
    variant = f" ({seen.variant})" if seen.variant else ""
    return f"{seen.probe}{variant}" + (f" on {seen.device}" if seen.device else "")


def what_happened(seen: Observation) -> Because:
    """Turn an observation into a reason."""
    text = f"{named(seen)}: {seen.outcome}" + (f": {seen.detail}" if seen.detail else "")
    return Because(text=text, source=f"probe {seen.probe}", strength="observed")
