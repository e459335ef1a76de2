"""torch-cpu-only: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "torch-cpu-only"

CPU_BUILD = {"torch": "2.11.0+cpu"}


def test_fires_on_a_cpu_build_beside_a_gpu(ask: Ask) -> None:
    found = ask("h100", packages=CPU_BUILD, torch_cuda="")[NAME]
    assert found.severity == "error"
    fix = found.fixes[0]
    assert (fix.action, fix.package, fix.spec) == ("install-build", "torch", "==2.11.0")
    assert fix.index is not None
    assert f"download.pytorch.org/whl/{fix.index}" in (fix.command or "")


def test_the_build_that_is_offered_suits_the_driver(ask: Ask) -> None:
    old = {"version": "525.60.13", "cuda": "12.0"}
    found = ask("h100", packages=CPU_BUILD, torch_cuda="", driver=old)[NAME]
    assert [fix.index for fix in found.fixes if fix.index and fix.index.startswith("cu13")] == []


def test_is_silent_without_a_gpu(ask: Ask) -> None:
    assert NAME not in ask("cpu")


def test_is_silent_on_a_cuda_build(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_is_silent_where_the_build_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("h100", packages={"torch": None}, torch_cuda=None)


def test_only_notes_a_cpu_build_where_the_gpus_are_unknown(ask: Ask) -> None:
    found = ask("cpu", gpus=None, driver=None)[NAME]
    assert (found.severity, found.explains_error) == ("note", False)


def test_a_text_accuses_where_the_build_is_unknown(ask: Ask) -> None:
    text = "AssertionError: Torch not compiled with CUDA enabled"
    found = ask("h100", error=text, packages={"torch": None}, torch_cuda=None)[NAME]
    assert found.explains_error
    assert found.severity == "error"


def test_notes_that_the_default_of_windows_is_a_cpu_build_where_torch_is_unknown(ask: Ask) -> None:
    unknown = {"packages": {"torch": None}, "torch_cuda": None}
    found = ask("h100", host={"os": "windows", "libc": None}, **unknown)[NAME]
    assert (found.severity, found.explains_error) == ("note", False)
    assert found.fixes[0].action == "install-build"


def test_a_mac_is_told_to_ask_for_another_device(ask: Ask) -> None:
    text = "AssertionError: Torch not compiled with CUDA enabled"
    unknown = {"packages": {"torch": None}, "torch_cuda": None, "gpus": None, "driver": None}
    found = ask("h100", error=text, host={"os": "macos", "libc": None}, **unknown)[NAME]
    assert (found.explains_error, found.fixes[0].action) == (True, "change-code")
    assert "install-build" not in {fix.action for fix in found.fixes}


def test_an_unknown_driver_is_not_asked_for_the_newest_cuda(ask: Ask) -> None:
    text = "AssertionError: Torch not compiled with CUDA enabled"
    unknown = {"packages": {"torch": None}, "torch_cuda": None, "driver": None}
    tags = [fix.index or "" for fix in ask("h100", error=text, **unknown)[NAME].fixes]
    assert tags
    assert all(tag.startswith("cu12") for tag in tags)


def test_a_build_for_rocm_is_no_build_without_a_gpu(ask: Ask) -> None:
    packages, gpus = {"torch": "2.1.0+rocm5.6"}, [{"index": 0, "name": "AMD Radeon RX 7900 XTX"}]
    found = ask("h100", "No HIP GPUs are available", packages=packages, gpus=gpus, torch_cuda=None)
    assert "torch-cpu-only" not in found
    assert found["no-cuda-gpu"].fixes[0].action == "run"


def test_a_text_outweighs_the_build_that_a_system_has_by_default(ask: Ask) -> None:
    packages = {"torch": "2.1.2", "triton": None}
    text = "AssertionError: Torch not compiled with CUDA enabled"
    found = ask("a100", text, packages=packages, torch_cuda=None, native=None)
    assert next(iter(found)) == "torch-cpu-only"
    assert found["torch-cpu-only"].fixes[0].action == "install-build"


def test_a_build_that_was_stated_outweighs_the_text(ask: Ask) -> None:
    text = "AssertionError: Torch not compiled with CUDA enabled"
    found = ask("a100", text, packages={"torch": "2.1.2+cu121"}, torch_cuda=None, native=None)
    assert "torch-cpu-only" not in found


def test_a_text_of_something_else_outweighs_what_the_default_of_windows_makes_likely(
    ask: Ask,
) -> None:
    """Who reports an error mostly leaves the build out of torch's version."""
    likely = {
        "host": {"os": "windows", "libc": None},
        "packages": {"torch": "2.4.0"},
        "torch_cuda": None,
        "torch_arch_list": None,
    }
    assert ask("h100", **likely)[NAME].severity == "error"
    other = "safetensors_rust.SafetensorError: Error while deserializing header: InvalidHeader"
    found = ask("h100", error=other, **likely)[NAME]
    assert (found.severity, found.explains_error) == ("note", False)
    said = {**likely, "packages": {"torch": "2.4.0+cpu"}, "torch_cuda": ""}
    assert ask("h100", error=other, **said)[NAME].severity == "error"


def test_a_build_for_the_cpu_beside_an_amd_gpu_is_told_by_its_text(ask: Ask) -> None:
    amd = [{"index": 0, "vendor": "amd", "arch": "gfx1100"}]
    text = "AssertionError: Torch not compiled with CUDA enabled"
    packages = {"torch": None, "triton": None, "bitsandbytes": None}
    found = ask("a100", error=text, gpus=amd, packages=packages, torch_cuda=None, native=None)
    first = next(iter(found.values()))
    assert (first.rule, first.fixes[0].action) == (NAME, "install-matching")
    assert NAME not in ask("a100", gpus=amd, packages=packages, torch_cuda=None, native=None)


INTEL = {
    "gpus": [{"index": 0, "name": "Intel Arc A770"}],
    "packages": {"torch": None, "triton": None, "bitsandbytes": None},
    "torch_cuda": None,
    "native": None,
}


def test_a_build_for_the_cpu_beside_an_intel_gpu_is_told_by_its_text(ask: Ask) -> None:
    for device in ("CUDA", "XPU"):
        text = f"AssertionError: Torch not compiled with {device} enabled"
        first = next(iter(ask("a100", error=text, **INTEL).values()))
        fix = first.fixes[0]
        assert (first.rule, fix.action, fix.index) == (NAME, "install-build", "xpu")
    assert NAME not in ask("a100", **INTEL)


def test_a_program_that_asks_for_intel_gpus_needs_their_build_on_an_unknown_machine(
    ask: Ask,
) -> None:
    text = "AssertionError: Torch not compiled with XPU enabled"
    unknown = {**INTEL, "gpus": None, "driver": None}
    assert ask("a100", error=text, **unknown)[NAME].fixes[0].index == "xpu"


def test_people_who_found_a_build_for_the_cpu_say_so_in_their_words(ask: Ask) -> None:
    text = "environment.yml: conda installs the cpu version of pytorch"
    unknown = {"packages": {"torch": None}, "torch_cuda": None, "native": None}
    assert ask("h100", error=text, **unknown)[NAME].explains_error
    known = {"packages": {"torch": "2.9.1+cu128"}, "torch_cuda": "12.8", "native": None}
    assert NAME not in ask("h100", error=text, **known)


NO_ACCELERATOR = [
    "RuntimeError: Cannot access accelerator device when none is available.",
    "RuntimeError: Accelerator expected",
    "ValueError: cuda doesn't match the current accelerator None.",
    "RuntimeError: pin_memory=True requires a CUDA or other accelerator backend; no pinned memory",
    "ValueError: torch.cuda.is_available() should be True but is False. xformers' memory efficient",
    "ImportError: Flash Attention 2 is not available on CPU. Please make sure torch can access it",
    "RuntimeError: OffloadedCache can only be used with a GPU",
]


@pytest.mark.parametrize("text", NO_ACCELERATOR)
def test_a_missing_accelerator_is_that_of_the_build(ask: Ask, text: str) -> None:
    changes = {"packages": {"torch": "2.6.0+cpu"}, "torch_cuda": ""}
    assert next(iter(ask("h100", error=text, **changes).values())).rule == NAME


@pytest.mark.parametrize("text", NO_ACCELERATOR)
def test_a_missing_accelerator_is_that_of_the_machine(ask: Ask, text: str) -> None:
    found = ask("h100", error=text, gpus=[], driver={"version": ""})
    first = next(iter(found.values()))
    assert (first.rule, first.explains_error) == ("no-cuda-gpu", True)


def test_a_device_that_torch_is_not_linked_with(ask: Ask) -> None:
    text = "RuntimeError: PyTorch is not linked with support for cuda devices"
    changes = {"packages": {"torch": "2.13.0+cpu"}, "torch_cuda": ""}
    assert ask("h100", error=text, **changes)[NAME].explains_error
