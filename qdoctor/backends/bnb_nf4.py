"""Backend ``bnb-nf4``: bitsandbytes' Linear4bit with the nf4 code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.backends.bnb_fourbit import BnbFourBit

if TYPE_CHECKING:
    from qdoctor.backends.kind import Kind


def kind() -> Kind:
    """Return the backend. Raises BackendUnavailable without a bitsandbytes that imports."""
    return BnbFourBit("bnb-nf4", "nf4")
