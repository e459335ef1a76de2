"""torch-no-sm-binary: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from packaging.specifiers import SpecifierSet

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "torch-no-sm-binary"

BLACKWELL = [{"index": 0, "name": "NVIDIA GeForce RTX 5090", "sm": "12.0", "vendor": "nvidia"}]
VOLTA = [{"index": 0, "name": "Tesla V100-SXM2-16GB", "sm": "7.0", "vendor": "nvidia"}]


def test_fires_on_a_gpu_that_is_too_new(ask: Ask) -> None:
    found = ask("a100", gpus=BLACKWELL)[NAME]
    assert found.severity == "error"
    fix = found.fixes[0]
    release = max(one.version for one in SpecifierSet(fix.spec or "") if "=" in one.operator)
    packages = {"torch": f"{release}+{fix.index}", "triton": None}
    assert fix.action == "install-build"
    assert NAME not in ask("a100", gpus=BLACKWELL, packages=packages, torch_cuda=None)


def test_fires_on_a_gpu_that_was_dropped(ask: Ask) -> None:
    fix = ask("h100", gpus=VOLTA)[NAME].fixes[0]
    assert fix.action == "install-build"
    assert fix.index in {"cu126", "cu128"}


def test_is_silent_where_the_kernels_are_there(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_is_silent_where_the_sm_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("h100", gpus=[{"index": 0, "name": "NVIDIA Graphics Device"}])


def test_a_text_accuses_where_torch_is_unknown(ask: Ask) -> None:
    text = (
        "NVIDIA GeForce RTX 5090 with CUDA capability sm_120 is not compatible with the current "
        "PyTorch installation."
    )
    found = ask("a100", error=text, gpus=BLACKWELL, packages={"torch": None}, torch_cuda=None)[NAME]
    assert found.explains_error
    assert found.fixes[0].action == "install-build"


def test_the_gpu_code_of_its_library_tells_where_the_flags_were_not_read(ask: Ask) -> None:
    library = {"package": "torch", "file": "libtorch_cuda.so", "sm": ["sm_80"], "ptx": []}
    found = ask("h100", torch_arch_list=None, native=[library])[NAME]
    assert found.because[0].source == "facts: native"
    newer = {**library, "sm": ["sm_80", "sm_90"]}
    assert NAME not in ask("h100", torch_arch_list=None, native=[newer])


def test_a_text_of_cuda_refutes_the_default_build_of_windows(ask: Ask) -> None:
    text = "RuntimeError: CUDA error: no kernel image is available for execution on the device"
    gpus = [{"index": 0, "name": "NVIDIA GeForce RTX 5090"}]
    packages = {"torch": "2.6.0", "triton": None}
    host = {"os": "windows", "libc": ""}
    found = ask("h100", text, host=host, packages=packages, gpus=gpus, torch_cuda=None, native=None)
    assert next(iter(found)) == "torch-no-sm-binary"
    assert "torch-cpu-only" not in found
    assert found["torch-no-sm-binary"].fixes[0].action == "install-build"


def test_torchs_own_word_outweighs_ptx_that_was_listed(ask: Ask) -> None:
    text = (
        "NVIDIA GeForce RTX 5090 with CUDA capability sm_120 is not compatible with the current "
        "PyTorch installation."
    )
    held = ["sm_80", "sm_90", "compute_37"]
    changed = {"gpus": BLACKWELL, "torch_arch_list": held}
    assert NAME not in ask("a100", **changed)
    found = ask("a100", error=text, **changed)[NAME]
    assert found.explains_error
    assert found.fixes[0].action == "install-build"


def test_a_board_is_offered_its_maker_s_build(ask: Ask) -> None:
    gpus = [{"index": 0, "name": "Jetson AGX Orin", "sm": "8.7"}]
    text = "RuntimeError: CUDA error: no kernel image is available for execution on the device"
    found = ask(
        "h100",
        text,
        host={"machine": "aarch64"},
        gpus=gpus,
        packages={"torch": None},
        torch_cuda=None,
        native=None,
    )
    first = found[NAME].fixes[0]
    assert (first.action, first.package, first.index) == ("install-build", "torch", None)


def test_explains_a_torch_that_sees_no_cuda_where_the_facts_tell_so(ask: Ask) -> None:
    text = "CUDA Available: False"
    machine = {"gpus": [{"index": 0, "name": "RTX 5090"}], "native": None, "torch_arch_list": None}
    old = {"packages": {"torch": "2.2.0+cu121", "triton": None}, "torch_cuda": "12.1"}
    found = ask("a100", error=text, **machine, **old)
    assert next(iter(found)) == NAME
    new = {"packages": {"torch": "2.9.1+cu128", "triton": None}, "torch_cuda": "12.8"}
    assert NAME not in ask("a100", error=text, **machine, **new)


def test_builds_for_other_pythons_come_before_another_gpu(ask: Ask) -> None:
    found = ask(
        "a100",
        error="RuntimeError: nvrtc: error: invalid value for --gpu-architecture (-arch)",
        packages={"torch": None},
        torch_cuda="11.1",
        python={"version": "3.6"},
        gpus=[{"index": 0, "name": "NVIDIA GeForce RTX 3090", "sm": "8.6"}],
        driver=None,
    )[NAME]
    assert [(fix.action, fix.package) for fix in found.fixes] == [
        ("install-build", "torch"),
        ("use-python", None),
    ]
