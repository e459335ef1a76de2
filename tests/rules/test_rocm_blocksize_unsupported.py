"""rocm-blocksize-unsupported: where it fires, where not, and where the GPU is unknown."""

from __future__ import annotations

from qdoctor.diagnosis import diagnose
from qdoctor.model import Facts, Finding, Gpu

NAME = "rocm-blocksize-unsupported"
TEXT = "ValueError: The blockwise of 64 is not supported. Supported values: [2048, 1024, 128]"


def found(text: str | None = TEXT, *gpus: Gpu) -> list[Finding]:
    facts = Facts(gpus=list(gpus) or None, packages={"bitsandbytes": "0.48.1"})
    return [one for one in diagnose(facts, error=text)[1] if one.rule == NAME]


def test_an_amd_gpu_asks_for_a_newer_release() -> None:
    (one,) = found(TEXT, Gpu(index=0, name="Radeon RX 6600", vendor="amd"))
    assert (one.fixes[0].action, one.fixes[0].spec, one.undecided) == ("upgrade", ">=0.49.0", None)


def test_an_unknown_gpu_is_suspected_too() -> None:
    assert found()[0].explains_error


def test_is_silent_on_nvidia_on_other_sizes_and_without_a_text() -> None:
    assert found(TEXT, Gpu(index=0, name="NVIDIA A100", sm="8.0", vendor="nvidia")) == []
    assert found("ValueError: The blockwise of 32 is not supported.") == []
    assert found(None, Gpu(index=0, name="Radeon RX 6600", vendor="amd")) == []
