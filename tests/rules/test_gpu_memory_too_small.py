"""gpu-memory-too-small: where it fires, where not, and where no GPU is known."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.diagnosis import diagnose
from qdoctor.model import Facts, Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "gpu-memory-too-small"
TEXT = "ValueError: Some modules are dispatched on the CPU or the disk. Make sure you have enough"


def test_names_the_gpu_first_and_the_split_as_another_way(ask: Ask) -> None:
    found = ask("v100", error=TEXT)
    assert list(found)[:2] == [NAME, "offload-needs-fp32-cpu-offload"]
    assert found[NAME].fixes[0].action == "change-hardware"
    assert "llm_int8_enable_fp32_cpu_offload" in found[NAME].fixes[-1].why
    assert found[NAME].undecided


def test_without_a_known_gpu_it_is_a_question_of_size_not_of_this_machine() -> None:
    found = diagnose(Facts(), error=TEXT)[1]
    assert [(one.rule, one.severity) for one in found] == [("not-environment", "note")]
    assert found[0].fixes[0].action == "change-hardware"


def test_is_silent_without_the_text(ask: Ask) -> None:
    assert NAME not in ask("v100")
