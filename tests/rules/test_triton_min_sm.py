"""triton-min-sm: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "triton-min-sm"

PASCAL = [{"index": 0, "name": "NVIDIA GeForce GTX 1080", "sm": "6.1", "vendor": "nvidia"}]
TEXT = "Found NVIDIA GeForce GTX 1080 which is too old to be supported by the triton GPU compiler"


def test_fires_on_a_gpu_below_the_floor(ask: Ask) -> None:
    found = ask("v100", gpus=PASCAL)[NAME]
    assert found.severity == "note"
    assert "qdoctor-switchback" in found.affects


def test_explains_the_refusal_of_torch_compile(ask: Ask) -> None:
    first = next(iter(ask("v100", error=TEXT, gpus=PASCAL).values()))
    assert (first.rule, first.fixes[0].action) == (NAME, "disable")


def test_is_silent_on_a_gpu_that_is_served(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_is_silent_where_the_sm_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("v100", gpus=[{"index": 0, "name": "NVIDIA Graphics Device"}])


MMA = (
    "python: /project/lib/Analysis/Utility.cpp:136: bool mlir::supportMMA(mlir::Value, int): "
    'Assertion `(version == 1 || version == 2) && "Unexpected MMA layout version found"\' failed.'
)


def test_explains_how_the_compiler_of_old_releases_ended(ask: Ask) -> None:
    assert next(iter(ask("v100", error=MMA, gpus=PASCAL))) == NAME
    assert NAME not in ask("v100", error=MMA)
