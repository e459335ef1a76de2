"""fp8-needs-sm89: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "fp8-needs-sm89"

TEXT = "ValueError: type fp8e4nv not supported in this architecture."


def test_fires_on_an_older_gpu(ask: Ask) -> None:
    found = ask("a100")[NAME]
    assert found.severity == "note"
    assert "torch-fp8" in found.affects


def test_is_an_error_where_fp8_is_needed(ask: Ask) -> None:
    assert ask("a100", need=("torch-fp8",))[NAME].severity == "error"


def test_explains_the_text(ask: Ask) -> None:
    found = ask("a100", error=TEXT)[NAME]
    assert found.explains_error
    assert "torch-fp8" not in [fix.backend for fix in found.fixes]


def test_is_silent_on_a_gpu_that_can(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_is_silent_where_the_sm_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("a100", gpus=[{"index": 0, "name": "NVIDIA Graphics Device"}])


def test_is_said_after_everything_else_where_nobody_asked_for_fp8(ask: Ask) -> None:
    noted = ask("v100", toolkit_cuda="11.0")
    assert noted[NAME].severity == "note"
    asides = {NAME, "bf16-needs-sm80", "version-misreading"}
    order = [rule in asides for rule in noted]
    assert order == sorted(order)
    assert not all(order)
    assert next(iter(ask("v100", need=("torch-fp8",)))) == NAME


def test_a_triton_that_misses_fp8_on_sm_8_9_is_blamed_itself(ask: Ask) -> None:
    text = "Conversion from/to f8e4m3nv is only supported on compute capability >= 90"
    ada = {"gpus": [{"index": 0, "name": "L40S", "sm": "8.9"}], "packages": {"torch": None}}
    found = ask("a100", error=text, **ada)
    assert NAME not in found
    fix = found["triton-too-old-for-package"].fixes[0]
    assert (fix.action, fix.package, fix.spec) == ("upgrade", "triton", ">=3.0.0")
    older = ask("a100", error=text)
    assert older[NAME].explains_error
    assert "triton-too-old-for-package" not in older
