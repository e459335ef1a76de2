"""bf16-needs-sm80: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "bf16-needs-sm80"

TEXT = "ValueError: Your setup doesn't support bf16/gpu. You need torch>=1.10, using Ampere GPU"


def test_explains_the_text_on_an_older_gpu(ask: Ask) -> None:
    found = ask("v100", error=TEXT)[NAME]
    assert found.explains_error
    assert (found.fixes[0].action, found.fixes[0].backend) == ("use", "half")


def test_is_silent_without_the_text(ask: Ask) -> None:
    assert NAME not in ask("v100")


def test_the_text_does_not_overrule_a_gpu_that_can(ask: Ask) -> None:
    assert NAME not in ask("h100", error=TEXT)


def test_a_text_accuses_where_the_gpu_is_unknown(ask: Ask) -> None:
    assert ask("v100", error=TEXT, gpus=None)[NAME].explains_error


def test_the_last_operator_that_serves_an_older_gpu_takes_no_bf16(ask: Ask) -> None:
    text = (
        "No operator found for `memory_efficient_attention_forward` with inputs:\n"
        "`fa2F@v2.6.3` is not supported because:\n"
        "    requires device with capability > (8, 0) but your GPU has capability (7, 5)\n"
        "`cutlassF-pt` is not supported because:\n    bf16 is only supported on A100+ GPUs"
    )
    assert next(iter(ask("v100", error=text))) == NAME
