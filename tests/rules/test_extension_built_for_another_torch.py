"""extension-built-for-another-torch: what was compiled against another torch."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor.diagnosis import diagnose
from qdoctor.model import Facts, Finding, Fix

Ask = Callable[..., dict[str, Finding]]

NAME = "extension-built-for-another-torch"
XFORMERS = (
    "WARNING[XFORMERS]: xFormers can't load C++/CUDA extensions. xFormers was built for:\n"
    "    PyTorch 2.1.2+cu121 with CUDA 1201 (you have {torch})\n"
    "    Python  3.10.13 (you have 3.10.12)"
)
SYMBOL = (
    'File "/x/lib/python3.10/site-packages/flash_attn/flash_attn_interface.py", line 10\n'
    "ImportError: /x/flash_attn_2_cuda.cpython-310-x86_64-linux-gnu.so: undefined symbol: "
    "_ZN3c104cuda9SetDeviceEi"
)


def test_the_extension_of_another_release_is_named(ask: Ask) -> None:
    error = XFORMERS.format(torch="2.2.0+cu121")
    found = ask("h100", error=error, packages={"torch": "2.2.0+cu121", "triton": "2.2.0"})[NAME]
    assert found.explains_error
    assert "2.1.2" in found.title
    assert found.fixes[0].package == "xformers"
    assert found.fixes[-1].spec == "==2.1.2"


def test_a_cpu_build_of_the_same_release_is_another_problem(ask: Ask) -> None:
    packages = {"torch": "2.1.2+cpu", "triton": None}
    error = XFORMERS.format(torch="2.1.2+cpu")
    found = ask("h100", error=error, packages=packages, torch_cuda=None)
    assert NAME not in found
    assert next(iter(found)) == "torch-cpu-only"


def test_a_missing_symbol_of_torch_blames_what_asked_for_it(ask: Ask) -> None:
    found = ask("h100", error=SYMBOL)[NAME]
    assert found.fixes[0].package == "flash-attn"


def test_is_silent_without_a_text(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_kernels_that_take_other_inputs_were_built_for_this_torch() -> None:
    asked = "NotImplementedError: No operator found for `memory_efficient_attention_forward`\n"
    refused = (
        "`fa3F@0.0.0` is not supported because:\n"
        "    requires device with capability > (9, 0) but your GPU has capability (8, 9)\n"
        "`cutlassF-pt` is not supported because:\n"
        "    attn_bias.stride(-2) % 8 != 0\n"
    )
    assert [one.rule for one in diagnose(Facts(), error=asked)[1]] == [NAME]
    assert [one.rule for one in diagnose(Facts(), error=asked + refused)[1]] == ["not-environment"]


def test_files_of_two_torches_are_not_called_an_extension(ask: Ask) -> None:
    text = "ImportError: /x/torch/lib/libtorch_python.so: undefined symbol: _ZNK5torch8x"
    found = ask("a100", error=text)[NAME]
    assert "several releases of torch" in found.title
    assert (found.fixes[0].action, found.fixes[0].package) == ("reinstall", "torch")


def test_of_an_unknown_extension_the_build_from_source_comes_first(ask: Ask) -> None:
    text = "undefined symbol: _ZN2at4_ops5zeros4callEN3c108ArrayRefINS2_6SymIntEEE"
    found = ask("h100", error=text)[NAME]
    assert [(one.action, one.package) for one in found.fixes] == [
        ("rebuild", None),
        ("reinstall", None),
    ]


def test_for_a_torch_that_was_built_elsewhere_there_is_no_wheel(ask: Ask) -> None:
    packages = {"torch": "2.5.0a0+872d972e41.nv24.08"}
    assert ask("h100", error=SYMBOL, packages=packages)[NAME].fixes[0].action == "rebuild"
    packages = {"torch": "2.5.0+cu124"}
    assert ask("h100", error=SYMBOL, packages=packages)[NAME].fixes[0].action == "reinstall"


def test_the_package_of_an_operator_without_kernels_is_named(ask: Ask) -> None:
    text = "Could not run 'torchvision::nms' with arguments from the 'CUDA' backend."
    assert ask("h100", error=text)[NAME].fixes[0].package == "torchvision"


def test_a_build_of_the_same_release_for_another_cuda_is_another_torch(ask: Ask) -> None:
    packages = {"torch": "2.1.2+cu118", "triton": "2.1.0"}
    found = ask("h100", error=XFORMERS.format(torch="2.1.2+cu118"), packages=packages)
    assert found[NAME].explains_error
    assert "torch 2.1.2+cu121, installed is 2.1.2+cu118" in found[NAME].title
    again, _, moved = found[NAME].fixes
    assert "/cu118" in (again.command or "")
    assert (moved.package, moved.spec, moved.index) == ("torch", "==2.1.2", "cu121")


def test_a_wheel_with_its_extension_inside_is_the_same_when_installed_again() -> None:
    text = "ImportError: awq_inference_engine.so: undefined symbol: _ZN3c104cuda9SetDeviceEi"
    for release, offered in (("0.1.5", ("upgrade", "autoawq")), ("0.2.0", None), (None, None)):
        packages = {"torch": "2.2.0"} | ({"autoawq": release} if release else {})
        fix = diagnose(Facts(packages=packages), error=text)[1][0].fixes[0]
        assert (fix.action, fix.package) == (offered or ("reinstall", "autoawq-kernels"))


@pytest.mark.parametrize(
    ("text", "package"),
    [
        ("ImportError: flash_attn_2_cuda.so: undefined symbol", "flash-attn"),
        ("flash_attn_2_cuda ImportError: undefined symbol _ZN3c105ErrorC2", "flash-attn"),
        ("/x/fused_layer_norm_cuda.so: undefined symbol: _ZN2at4_ops5zeros4callE", "apex"),
        ("/x/sgl_kernel/sm100/common_ops.abi3.so: undefined symbol: _ZN3c106SymInt", "sgl-kernel"),
    ],
)
def test_an_extension_is_known_by_its_name(ask: Ask, text: str, package: str) -> None:
    found = ask("h100", error=text)[NAME]
    assert [fix.package for fix in found.fixes] == [package, package]


@pytest.mark.parametrize(
    ("packages", "package"),
    [
        ({"torch": "2.8.0+cu128", "nunchaku": "0.3.2+torch2.7"}, "nunchaku"),
        ({"torch": "2.9.0", "a": "1.0+cu12torch2.9", "b": "1.0+cu128torch2.8.0"}, "b"),
        ({"torch": "2.9.0", "a": "1.0+cu12torch2.9", "b": "1.0+torch2.9"}, None),
        ({"torch": "2.9.0+cu130", "a": "1.0"}, None),
    ],
)
def test_a_version_tells_which_torch_its_wheel_was_built_for(
    packages: dict[str, str], package: str | None
) -> None:
    """Where a text names no package: the one that names another torch, or the only one."""
    text = "ImportError: DLL load failed while importing _C: The specified procedure"
    found = diagnose(Facts(packages=packages), error=text)[1][0]
    assert (found.rule, found.fixes[0].package) == (NAME, package)


@pytest.mark.parametrize(
    ("text", "package"),
    [
        (
            (
                "ImportError: dlopen(/x/site-packages/torchaudio/lib/libtorchaudio.so, 0x0006): "
                "Symbol not found: __ZN3c1010TensorImpl17set_autograd_metaEv"
            ),
            "torchaudio",
        ),
        (
            (
                "OSError: dlopen(/x/site-packages/torch_scatter/_version_cpu.so, 0x0006): symbol "
                "not found in flat namespace '__ZN3c106detail14torchCheckFailEPKcS2_jRKSs'"
            ),
            "torch-scatter",
        ),
        (
            (
                "OSError: dlopen(/x/site-packages/torchaudio/lib/_torchaudio.abi3.so, 0x0006): "
                "Symbol not found: _torch_library_impl"
            ),
            "torchaudio",
        ),
        (
            (
                "ImportError: /x/site-packages/flash_attn_3/_C.abi3.so: undefined symbol: "
                "aoti_torch_create_device_guard"
            ),
            "flash-attn-3",
        ),
        (
            "OSError: Could not load this library: /x/site-packages/torchaudio/_torchaudio.so",
            "torchaudio",
        ),
        (
            (
                "dlopen(/x/site-packages/torch/_C.cpython-311-darwin.so, 0x0002): Symbol not "
                "found: __ZN5torch8autograd3fooE"
            ),
            "torch",
        ),
    ],
)
def test_loaders_name_whose_library_it_is(ask: Ask, text: str, package: str) -> None:
    assert ask("h100", error=text)[NAME].fixes[0].package == package


def test_torchaudio_says_itself_that_its_cuda_is_another(ask: Ask) -> None:
    text = "RuntimeError: Detected that PyTorch and TorchAudio were compiled with different\nCUDA"
    assert ask("h100", error=text)[NAME].fixes[0].package == "torchaudio"


def test_a_backend_that_torch_does_not_load_by_itself_is_named(ask: Ask) -> None:
    text = "RuntimeError: Failed to load the backend extension: intel_extension_for_pytorch. You"
    fix = ask("h100", error=text)[NAME].fixes[0]
    assert (fix.action, fix.package) == ("reinstall", "intel-extension-for-pytorch")


@pytest.mark.parametrize(
    ("torch", "package", "spec", "index"),
    [
        ("2.2.1", "torchvision", "==0.17.1", None),
        ("2.9.0+cpu", "torchvision", "==0.24.0", "cpu"),
        ("2.4.0+cu121", "torchaudio", "==2.4.0", None),
        ("2.4.0+cu118", "torchaudio", "==2.4.0", "cu118"),
        ("2.5.1+cu124", "xformers", "==0.0.29.post1", None),
    ],
)
def test_the_release_that_goes_with_this_torch_is_offered(
    torch: str, package: str, spec: str, index: str | None
) -> None:
    fix = first(f"RuntimeError: operator {package}::nms does not exist", {"torch": torch})
    assert (fix.package, fix.spec, fix.index) == (package, spec, index)
    assert f'"{package}{spec}"' in (fix.command or "")


def test_the_installed_release_stays_where_it_goes_with_this_torch() -> None:
    packages = {"torch": "2.5.1+cu124", "xformers": "0.0.28.post3"}
    text = "RuntimeError: operator xformers::efficient_attention does not exist"
    assert first(text, packages).spec == "==0.0.28.post3"


def test_no_release_is_offered_for_a_torch_that_is_not_known() -> None:
    fix = first("RuntimeError: operator torchvision::nms does not exist", {})
    assert (fix.action, fix.package, fix.command) == ("reinstall", "torchvision", None)
    assert "pip show torch" in fix.why


def test_the_torch_that_it_was_built_for_is_of_that_build() -> None:
    found = diagnose(
        Facts(packages={"torch": "2.6.0+cu126"}), (), XFORMERS.format(torch="2.6.0+cu126")
    )[1]
    other = next(one for one in found if one.rule == NAME).fixes[-1]
    assert (other.spec, other.index) == ("==2.1.2", "cu121")


def first(text: str, packages: dict[str, str]) -> Fix:
    found = diagnose(Facts(packages=packages), (), text)[1]
    return next(one for one in found if one.rule == NAME).fixes[0]
