"""no-sm-binary: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor.diagnosis import diagnose
from qdoctor.model import Facts, Finding, from_plain

Ask = Callable[..., dict[str, Finding]]

NAME = "no-sm-binary"

FLASH = {"package": "flash-attn", "file": "flash_attn_2_cuda.so", "sm": ["sm_80"], "ptx": []}
HOPPER_ONLY = {"package": "vllm", "file": "_vllm_fa3_C.abi3.so", "sm": ["sm_90"], "ptx": []}
VLLM = {"package": "vllm", "file": "_C.abi3.so", "sm": ["sm_80", "sm_90"], "ptx": []}
TORCHAO = {"package": "torchao", "file": "_C.abi3.so", "sm": ["sm_80"], "ptx": []}


def test_fires_on_a_package_without_kernels_for_the_gpu(ask: Ask) -> None:
    found = ask("h100", native=[FLASH], packages={"flash-attn": "2.5.8"})[NAME]
    assert found.title == "flash-attn holds no kernels for SM 9.0"
    newer, build = found.fixes
    assert (newer.action, newer.package, newer.spec) == ("upgrade", "flash-attn", ">2.5.8")
    assert (build.action, build.name, build.value) == ("rebuild", "TORCH_CUDA_ARCH_LIST", "9.0")
    assert build.command is not None
    assert '"flash-attn==2.5.8"' in build.command


def test_a_gpu_that_is_too_old_needs_a_build_of_its_own(ask: Ask) -> None:
    found = ask("v100", native=[FLASH], packages={"flash-attn": "2.5.8"})[NAME]
    assert [fix.action for fix in found.fixes] == ["rebuild"]


def test_an_extension_of_ones_own_has_no_release_to_name(ask: Ask) -> None:
    found = ask("h100", native=[{**FLASH, "package": "my_kernels"}])[NAME]
    assert [(fix.action, fix.package, fix.command) for fix in found.fixes] == [
        ("rebuild", None, None)
    ]


def test_kernels_that_a_package_does_without_are_a_note(ask: Ask) -> None:
    found = ask("h100", native=[TORCHAO], packages={"torchao": "0.18.0"})[NAME]
    assert (found.severity, found.affects) == ("note", [])
    assert "int8" in found.because[-1].text


def test_is_silent_where_an_older_minor_serves(ask: Ask) -> None:
    a10 = [{"index": 0, "name": "NVIDIA A10", "sm": "8.6", "vendor": "nvidia"}]
    assert NAME not in ask("a100", native=[FLASH], gpus=a10)


def test_is_silent_where_the_driver_can_compile_ptx(ask: Ask) -> None:
    assert NAME not in ask("h100", native=[{**FLASH, "ptx": ["sm_80"]}])


def test_one_library_of_several_is_enough(ask: Ask) -> None:
    assert NAME not in ask("a100", native=[HOPPER_ONLY, VLLM])


def test_nvidia_s_own_libraries_are_left_alone(ask: Ask) -> None:
    assert NAME not in ask("v100", native=[{**FLASH, "package": "nvidia-cusparselt-cu12"}])


def test_is_silent_where_the_library_was_not_read(ask: Ask) -> None:
    assert NAME not in ask("h100", native=[{"package": "flash-attn", "file": "x.so"}])


def test_is_silent_where_the_gpu_is_not_known(ask: Ask) -> None:
    assert NAME not in ask("h100", native=[FLASH], gpus=None)


def test_facts_confirm_the_package_that_a_text_is_about(ask: Ask) -> None:
    text = "RuntimeError: CUDA error: no kernel image is available for execution on the device"
    found = ask("h100", error=text, native=[FLASH])
    assert [name for name, one in found.items() if one.explains_error] == [NAME]


@pytest.mark.parametrize(
    "text",
    [
        "NotImplementedError: Marlin kernel only supports compute capability >= 8.0.",
        "RuntimeError: SGLang only supports sm75 and above.",
        "ValueError: nvfp4_per_token online quantization requires a Blackwell (SM100) GPU.",
    ],
)
def test_a_text_that_refuses_the_gpu_is_believed(ask: Ask, text: str) -> None:
    found = ask("v100", error=text)[NAME]
    assert found.explains_error
    assert "change-hardware" in {fix.action for fix in found.fixes}


def test_a_text_that_goes_on_with_another_kernel_refuses_nothing(ask: Ask) -> None:
    text = "Flashinfer backend is only supported on SM100 and later, using CUTLASS backend instead"
    assert NAME not in ask("h100", error=text)


@pytest.mark.parametrize(("sm", "action"), [("sm75", "downgrade"), ("sm103", "upgrade")])
def test_sageattention_is_exchanged_for_the_release_that_serves_the_gpu(
    ask: Ask, sm: str, action: str
) -> None:
    found = ask("h100", error=f"ValueError: Unsupported CUDA architecture: {sm}", gpus=None)[NAME]
    assert found.explains_error
    assert (found.fixes[0].action, found.fixes[0].package) == (action, "sageattention")


def test_sageattention_without_its_kernels_is_built_anew(ask: Ask) -> None:
    text = "SM80 kernel is not available. make sure you GPUs with compute capability 8.0 or higher."
    found = ask("a100", error=f"AssertionError: {text}")[NAME]
    assert [fix.action for fix in found.fixes] == ["rebuild", "disable", "change-hardware"]


def test_the_package_whose_sources_launched_a_kernel_is_named(ask: Ask) -> None:
    text = (
        "CUDA error (/__w/xformers/xformers/third_party/flash-attention/hopper/"
        "flash_fwd_launch_template.h:175): no kernel image is available for execution on the device"
    )
    found = ask("a100", error=text)[NAME]
    assert found.explains_error
    assert (found.fixes[0].action, found.fixes[0].package) == ("upgrade", "xformers")
    assert next(iter(ask("a100", error=text))) == NAME


NO_IMAGE = "RuntimeError: CUDA error: no kernel image is available for execution on the device"
GB10 = [{"index": 0, "name": "NVIDIA GB10", "sm": "12.1"}]


def on_gb10(packages: dict[str, str], **facts: str) -> list[Finding]:
    told = {"packages": packages, "gpus": GB10, **facts}
    return diagnose(from_plain(told, Facts, "test"), error=NO_IMAGE)[1]


@pytest.mark.parametrize("facts", [{"torch_cuda": "13.0"}, {}])
def test_where_torch_serves_the_gpu_the_kernel_is_an_extensions(facts: dict[str, str]) -> None:
    torch = {} if facts else {"torch": "2.9.1+cu130"}
    first = on_gb10({"causal-conv1d": "1.6.2", **torch}, **facts)[0]
    assert (first.rule, first.explains_error) == (NAME, True)
    assert (first.fixes[0].action, first.fixes[0].package) == ("rebuild", "causal-conv1d")
    unknown_torch = ["each torch that may be installed" in one.text for one in first.because]
    assert any(unknown_torch) is bool(facts)


def test_of_several_extensions_none_is_named() -> None:
    first = on_gb10({"causal-conv1d": "1.6.2", "flash-attn": "2.8.3"}, torch_cuda="13.0")[0]
    assert (first.rule, first.fixes[0].package) == (NAME, None)


@pytest.mark.parametrize(
    ("packages", "cuda", "rule"),
    [
        ({"causal-conv1d": "1.6.2"}, "11.8", "torch-no-sm-binary"),  # no torch of it serves SM 12
        ({"causal-conv1d": "1.6.2", "bitsandbytes": "0.42.0"}, "13.0", "bnb-no-sm-binary"),
        ({"transformers": "4.57.3"}, "13.0", "bnb-no-sm-binary"),  # has no kernels of its own
    ],
)
def test_an_extension_is_not_blamed(packages: dict[str, str], cuda: str, rule: str) -> None:
    found = on_gb10(packages, torch_cuda=cuda)
    assert found[0].rule == rule
    assert NAME not in [one.rule for one in found]


def test_a_kernel_of_a_package_s_own_file_is_no_fault_of_torch() -> None:
    gone = 'RuntimeError: CUDA error: "named symbol not found" at run_fmha.cu:160'
    unbuilt = (
        "CUDA error: no kernel image is available for execution on the device\n"
        "  current device: 0, in function launch at /x/ggml-cuda/fattn.cu:88"
    )
    facts = {"gpus": [{"index": 0, "name": "TITAN RTX"}]}
    for text, action in ((gone, "disable"), (unbuilt, "rebuild")):
        found = [
            one
            for one in diagnose(from_plain(facts, Facts, "test"), error=text)[1]
            if one.explains_error
        ]
        assert [one.rule for one in found] == [NAME]
        assert found[0].fixes[0].action == action


def test_beside_a_torch_of_nvidias_own_a_missing_kernel_is_an_extensions() -> None:
    facts = {"packages": {"torch": "2.3.0a0+6ddf5cf85e.nv24.04.14026654"}}
    every = diagnose(from_plain(facts, Facts, "test"), error=NO_IMAGE)[1]
    told = [one for one in every if one.explains_error]
    assert told[0].rule == NAME
    assert told[0].fixes[0].action == "rebuild"


def test_an_operator_that_serves_no_newer_gpu_asks_for_another_xformers() -> None:
    text = (
        "No operator found for `memory_efficient_attention_forward` with inputs:\n"
        "`fa2F@0.0.0` is not supported because:\n    operator wasn't built\n"
        "    requires device with capability <= (9, 0)"
        " but your GPU has capability (12, 0) (too new)"
    )
    found = diagnose(Facts(), error=text)[1][0]
    assert (found.rule, found.fixes[0].package) == (NAME, "xformers")
