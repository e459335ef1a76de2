"""Which entry of a list of SMs serves a GPU."""

from __future__ import annotations

import pytest

from qdoctor.layers.sms import runs_on


@pytest.mark.parametrize(
    ("sm", "archs", "serving"),
    [
        ("8.6", ["sm_80", "sm_90"], "sm_80"),
        ("8.0", ["sm_86"], None),
        ("9.0", ["sm_80", "compute_80"], "compute_80"),
        ("9.0", ["sm_80"], None),
        ("12.0", ["sm_90", "sm_120"], "sm_120"),
        ("12.1", ["sm_120a"], None),
        ("10.3", ["sm_100f"], "sm_100f"),
        ("9.0", ["sm_90a"], "sm_90a"),
        ("7.0", ["compute_75"], None),
        ("10.0", ["compute_90a"], None),
        ("8.0", ["gfx90a", "nonsense"], None),
    ],
)
def test_machine_code_within_a_major_and_ptx_onwards(
    sm: str, archs: list[str], serving: str | None
) -> None:
    assert runs_on(sm, archs) == serving
