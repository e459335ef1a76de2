"""Which entry of a list of SMs serves a GPU."""

from __future__ import annotations

import pytest

from qdoctor.layers.sms import is_integrated, runs_on
from qdoctor.matrix import shipped


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


def test_an_integrated_gpu_runs_only_its_own_machine_code() -> None:
    assert runs_on("8.7", ["sm_80", "sm_86"]) == "sm_86"
    assert runs_on("8.7", ["sm_80", "sm_86"], integrated=True) is None
    assert runs_on("8.7", ["sm_80", "sm_87"], integrated=True) == "sm_87"
    assert runs_on("8.7", ["sm_80", "compute_80"], integrated=True) == "compute_80"


def test_the_matrix_says_which_sms_are_integrated() -> None:
    assert is_integrated("8.7", shipped())
    assert not is_integrated("8.6", shipped())
    assert not is_integrated("99.0", shipped())
