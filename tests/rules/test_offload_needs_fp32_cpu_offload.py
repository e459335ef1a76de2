"""offload-needs-fp32-cpu-offload: where it fires, where not, and where the release is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.diagnosis import diagnose
from qdoctor.model import Facts, Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "offload-needs-fp32-cpu-offload"
TEXT = "ValueError: 8-bit operations on `bitsandbytes` are not supported under CPU!"


def test_names_the_setting_and_the_release_that_has_it() -> None:
    found = diagnose(Facts(packages={"transformers": "4.26.1"}), error=TEXT)[1][0]
    assert (found.rule, found.severity, found.undecided) == (NAME, "error", None)
    assert "llm_int8_enable_fp32_cpu_offload" in found.fixes[0].why
    assert (found.fixes[1].action, found.fixes[1].spec) == ("upgrade", ">=4.27.0")


def test_a_newer_transformers_is_not_upgraded() -> None:
    found = diagnose(Facts(packages={"transformers": "4.40.0"}), error=TEXT)[1][0]
    assert "upgrade" not in {fix.action for fix in found.fixes}


def test_an_unknown_transformers_is() -> None:
    found = diagnose(Facts(), error=TEXT)[1][0]
    assert "upgrade" in {fix.action for fix in found.fixes}


def test_is_silent_without_the_text(ask: Ask) -> None:
    assert NAME not in ask("h100")
