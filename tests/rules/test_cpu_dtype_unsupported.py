"""cpu-dtype-unsupported: where it fires, where not, and where torch is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.diagnosis import diagnose
from qdoctor.model import Facts, Finding, Host

Ask = Callable[..., dict[str, Finding]]

NAME = "cpu-dtype-unsupported"
TEXT = "RuntimeError: \"addmm_impl_cpu_\" not implemented for 'Half'"
CUDA = "RuntimeError: \"addmm_cuda\" not implemented for 'Half'"


def test_asks_for_another_type_or_the_gpu() -> None:
    found = diagnose(Facts(), error=TEXT)[1][0]
    assert (found.rule, found.severity) == (NAME, "error")
    assert found.fixes[0].action == "change-code"


def test_follows_from_a_cpu_build_beside_a_gpu(ask: Ask) -> None:
    found = ask("h100", error=TEXT, packages={"torch": "2.5.1+cpu"}, torch_cuda="")
    assert next(iter(found)) == "torch-cpu-only"
    assert found[NAME].symptom_of == "torch-cpu-only"


def test_is_silent_on_a_kernel_of_cuda_and_without_a_text(ask: Ask) -> None:
    assert NAME not in ask("h100", error=CUDA)
    assert NAME not in ask("h100")


def test_a_mac_is_not_sent_to_cuda() -> None:
    text = "RuntimeError: \"arange_mps\" not implemented for 'BFloat16'"
    found = diagnose(Facts(host=Host(os="macos")), error=text)[1][0]
    assert found.rule == NAME
    assert [fix.action for fix in found.fixes] == ["change-code", "upgrade"]
    assert "mps" in found.fixes[0].why
    assert "cuda" not in found.fixes[0].why
