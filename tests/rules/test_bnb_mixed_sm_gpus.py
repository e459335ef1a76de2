"""bnb-mixed-sm-gpus: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "bnb-mixed-sm-gpus"

TEXT = "Error named symbol not found at line 528 in file /x/csrc/ops.cu"
OLD = {"index": 1, "name": "Tesla P40", "sm": "6.1", "vendor": "nvidia"}
NEW = {"index": 0, "name": "NVIDIA GeForce RTX 3060", "sm": "8.6", "vendor": "nvidia"}


def test_explains_the_text_on_gpus_of_both_kinds(ask: Ask) -> None:
    found = ask("a100", error=TEXT, gpus=[NEW, OLD])[NAME]
    assert found.explains_error
    assert found.fixes[0].name == "CUDA_VISIBLE_DEVICES"


def test_is_silent_on_one_kind(ask: Ask) -> None:
    assert NAME not in ask("a100", error=TEXT, gpus=[NEW])


def test_is_silent_where_the_sms_are_unknown(ask: Ask) -> None:
    gpus = [{"index": 0, "name": "NVIDIA Graphics Device"}, OLD]
    assert NAME not in ask("a100", error=TEXT, gpus=gpus)


def test_notes_it_without_the_text_where_one_library_serves_all(ask: Ask) -> None:
    found = ask("a100", gpus=[NEW, OLD], packages={"bitsandbytes": "0.42.0"})[NAME]
    assert found.severity == "note"


def test_is_silent_without_the_text_of_a_release_with_one_library(ask: Ask) -> None:
    assert NAME not in ask("a100", gpus=[NEW, OLD], packages={"bitsandbytes": "0.46.1"})


SLOW = (
    "WARNING: Compute capability < 7.5 detected! Only slow 8-bit matmul is supported for your GPU!"
)


def test_a_warning_of_the_gpu_that_was_looked_at_names_the_other_one(ask: Ask) -> None:
    for release in (None, "0.37.2"):
        found = ask("a100", error=SLOW, gpus=[NEW, OLD], packages={"bitsandbytes": release})
        first = next(iter(found.values()))
        assert (first.rule, first.explains_error) == (NAME, True)
        assert [fix.action for fix in first.fixes] == ["set-env", "upgrade"]
        assert "RTX 3060 alone" in first.fixes[0].why
        assert (first.fixes[1].spec or "").startswith(">=0.45.0")


def test_a_release_with_one_library_warns_of_the_gpu_that_computes(ask: Ask) -> None:
    found = ask("a100", error=SLOW, gpus=[NEW, OLD], packages={"bitsandbytes": "0.46.1"})
    assert NAME not in found
    assert found["sm-lacks-int8-tensor-cores"].explains_error
