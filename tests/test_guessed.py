"""A guess about the machine accuses nothing of its own beside a text; without one it does."""

from __future__ import annotations

from typing import Any

import pytest

import qdoctor
from qdoctor.machine import complete
from qdoctor.matrix import shipped
from qdoctor.model import Facts, Gpu, from_plain

AMPERE = [{"index": 0, "name": "GeForce RTX 3060", "vendor": "nvidia"}]
WINDOWS: dict[str, Any] = {
    "host": {"os": "windows"},
    "packages": {"torch": "2.4.0"},
    "gpus": AMPERE,
}
OLD_DRIVER: dict[str, Any] = {
    "host": {"os": "linux", "machine": "x86_64"},
    "packages": {"torch": "2.11.0"},
    "driver": {"version": "470.57.02"},
    "gpus": AMPERE,
}
UNKNOWN = "SomeError: what nobody has ever printed"


def loud(facts: dict[str, Any], error: str | None, **asked: Any) -> set[str]:  # noqa: ANN401
    read = from_plain(facts, Facts, "a test")
    found = qdoctor.diagnose(read, error, **asked).findings
    return {one.rule for one in found if one.severity != "note"}


@pytest.mark.parametrize(
    ("facts", "rule"), [(WINDOWS, "torch-cpu-only"), (OLD_DRIVER, "driver-too-old")]
)
def test_the_default_build_of_a_release_is_a_note_beside_another_text(
    facts: dict[str, Any], rule: str
) -> None:
    assert rule in loud(facts, None)
    assert rule not in loud(facts, UNKNOWN)
    assert rule in loud(facts, UNKNOWN, need=["gpu"])


def test_a_build_that_is_stated_is_judged_beside_any_text() -> None:
    assert "torch-cpu-only" in loud({**WINDOWS, "torch_cuda": ""}, UNKNOWN)


def test_a_gpu_that_only_the_text_names_is_judged_by_what_explains_it() -> None:
    facts = {"host": {"os": "linux"}, "driver": {"version": "590.44.01"}}
    assert loud({**facts, "gpus": [{"name": "Tesla V100"}]}, None) == {"driver-dropped-gpu"}
    assert loud(facts, "It is slow on my Tesla V100.") == set()


def test_code_for_gpus_refutes_a_default_build_without() -> None:
    facts = from_plain({**WINDOWS, "torch_arch_list": ["sm_86"]}, Facts, "a test")
    assert complete(facts, shipped()).torch_cuda.value is None
    assert complete(Facts(gpus=[Gpu(index=0)]), shipped()).torch_cuda.value is None
