"""A decision without a measurement: by the probes and the matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.choosing.conftest import choose, loser, measured, verdict, verdicts

if TYPE_CHECKING:
    from qdoctor.choosing.measured import Measured


@pytest.mark.parametrize("found", [None, measured({}, failed={"half": "gpu-busy: in use"})])
def test_without_a_measurement_the_probes_and_the_matrix_decide_and_it_says_so(
    found: Measured | None,
) -> None:
    balanced = choose("balanced", found)
    assert (balanced.selected, balanced.measured) == ("bnb-int8", False)
    assert ("gpu-busy: in use" in balanced.reason) == (found is not None)
    assert "the probes and the matrix decide" in balanced.reason
    assert choose("latency", found).selected == "half"
    assert choose("accuracy", found).selected == "half"
    assert choose("memory", found).selected == "bnb-nf4"
    lost = loser(choose("latency", found), "qdoctor-switchback").lost
    assert lost == "only a measurement can show that it is not slower than half"
    assert choose("balanced", found, max_error=0.005).selected == "half"


@pytest.mark.parametrize("speed", [0.5, 2.0])
def test_what_a_probe_took_decides_nothing(speed: float) -> None:
    """One small product, beside whatever else runs: the same machine gave two answers."""
    timed = [
        msgspec.structs.replace(one, speedup_vs_half=speed if one.backend == "torch-fp8" else 0.5)
        for one in verdicts()
    ]
    assert choose("balanced", None, timed).selected == "bnb-int8"


def test_nothing_usable_selects_nothing_and_says_why() -> None:
    nothing = [verdict(name, "no") for name in ("half", "bnb-int8")]
    found = choose("balanced", None, nothing)
    assert found.selected is None
    assert "why no" in found.reason
