"""cuda-libs-not-found: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "cuda-libs-not-found"

TORCH = {
    "package": "torch",
    "file": "libc10_cuda.so",
    "resolved": {"libcudart.so.13": "/x/libcudart.so.13"},
}
FLASH = {
    "package": "flash-attn",
    "file": "flash_attn_2_cuda.so",
    "resolved": {"libcudart.so.12": ""},
}


def test_fires_on_a_package_for_another_major(ask: Ask) -> None:
    found = ask("h100", native=[TORCH, FLASH])[NAME]
    assert found.severity == "warning"
    assert found.title == "flash-attn does not find libcudart.so.12"
    assert "torch has libcudart.so.13" in found.because[0].text
    assert (found.fixes[0].action, found.fixes[0].package) == ("install-matching", "flash-attn")


def test_fires_on_a_torch_without_its_libraries(ask: Ask) -> None:
    found = ask("h100", native=[{**TORCH, "resolved": {"libcudart.so.13": ""}}])[NAME]
    assert found.severity == "error"
    assert "half" in found.affects
    assert found.fixes[0].spec == "==2.11.0"


def test_the_driver_s_library_is_another_matter(ask: Ask) -> None:
    native = [{**TORCH, "resolved": {"libcuda.so.1": "", "libnvidia-ml.so.1": ""}}]
    assert NAME not in ask("cpu", native=native)


def test_an_optional_library_that_torch_lacks_too_is_no_finding(ask: Ask) -> None:
    native = [TORCH, {**FLASH, "resolved": {"libnppicc.so.12": ""}}]
    assert NAME not in ask("h100", native=native)


def test_is_silent_where_all_is_found(ask: Ask) -> None:
    native = [TORCH, {**FLASH, "resolved": {"libcudart.so.12": "/usr/local/cuda/libcudart.so.12"}}]
    assert NAME not in ask("h100", native=native)


def test_is_silent_where_nobody_followed_the_loader(ask: Ask) -> None:
    assert NAME not in ask("h100", native=[TORCH, {**FLASH, "resolved": None}])
