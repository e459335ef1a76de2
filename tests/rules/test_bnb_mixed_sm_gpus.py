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
