"""sm75-without-tensor-cores: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "sm75-without-tensor-cores"

GTX = [{"index": 0, "name": "NVIDIA GeForce GTX 1660 Ti", "sm": "7.5", "vendor": "nvidia"}]
RTX = [{"index": 0, "name": "NVIDIA GeForce RTX 2080 Ti", "sm": "7.5", "vendor": "nvidia"}]


def test_fires_on_a_gtx_16(ask: Ask) -> None:
    found = ask("a100", gpus=GTX)
    assert "bnb-int8" in found[NAME].affects
    assert "sm-lacks-int8-tensor-cores" not in found


def test_explains_the_text(ask: Ask) -> None:
    text = "ERROR: Your GPU does not support Int8 Matmul!"
    assert ask("a100", error=text, gpus=GTX)[NAME].explains_error


def test_is_silent_on_an_rtx_20(ask: Ask) -> None:
    assert NAME not in ask("a100", gpus=RTX)


def test_is_silent_where_the_gpu_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("a100", gpus=None)
