"""Verdicts on qdoctor's own SwitchBack where there is no GPU: by torch's release and its probe."""

from __future__ import annotations

import msgspec
import pytest

from tests.test_selection import CPU, CURRENT, H200, HALF, OURS, seen, verdicts

SMALL = {"rows": 64.0, "depth": 1024.0, "columns": 512.0}
OURS_ON_CPU = msgspec.structs.replace(
    OURS, device="cpu", numbers={**OURS.numbers, "milliseconds": 1.0, **SMALL}
)


def test_our_switchback_on_a_cpu_is_shown_by_its_probe_there_alone() -> None:
    half = msgspec.structs.replace(
        HALF, device="cpu", numbers={**HALF.numbers, "milliseconds": 3.0, **SMALL}
    )
    ours = verdicts(CPU, half, OURS_ON_CPU)["qdoctor-switchback"]
    assert (ours.usable, ours.rel_error, ours.speedup_vs_half) == ("yes", 0.012, 3.0)
    assert ours.measured_on == "the CPU, 64 rows of 1024 to 512"
    for elsewhere in (OURS, msgspec.structs.replace(OURS, device="sm_90", ran=False)):
        assert verdicts(CPU, elsewhere)["qdoctor-switchback"].measured_on is None
    assert verdicts(H200, OURS_ON_CPU)["qdoctor-switchback"].measured_on is None


@pytest.mark.parametrize(
    ("torch", "usable", "words"),
    [
        ("2.0.1+cpu", "no", "torch.compiler, which came with 2.1"),
        ("2.3.1+cpu", "unknown", "multiplies in floats there"),
        ("2.4.0+cpu", "yes", "every layer fits on the CPU"),
    ],
)
def test_our_switchback_on_a_cpu_by_the_release_of_torch(
    torch: str, usable: str, words: str
) -> None:
    changes = {**CPU, "packages": {**CURRENT, "torch": torch}, "python": {"version": "3.11.7"}}
    found = verdicts(changes)["qdoctor-switchback"]
    assert found.usable == usable
    assert words in found.reason
    if usable == "unknown":
        assert verdicts(changes, OURS_ON_CPU)["qdoctor-switchback"].usable == "yes"


def test_our_switchback_that_fails_on_a_cpu_is_not_usable_there() -> None:
    wrong = seen("switchback_forward", "wrong", variant="qdoctor", device="cpu", detail="far off")
    found = verdicts(CPU, wrong)["qdoctor-switchback"]
    assert (found.usable, found.rule) == ("no", "probe-contradicts-matrix")
