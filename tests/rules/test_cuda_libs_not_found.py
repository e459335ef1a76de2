"""cuda-libs-not-found: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor import diagnose
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


MISSING = "ImportError: {}: cannot open shared object file: No such file or directory"
OPENED = MISSING.replace("ImportError", "OSError")  # by ctypes, as bitsandbytes does
BARE = {"bitsandbytes": None, "torchao": None}


def test_a_text_names_the_package_that_brings_the_library(ask: Ask) -> None:
    found = ask("h100", MISSING.format("libcudnn.so.9"), packages=BARE, torch_cuda="12.6")[NAME]
    first = found.fixes[0]
    assert (first.action, first.package, first.spec) == ("install", "nvidia-cudnn-cu12", "==9.*")
    assert found.explains_error


def test_from_cuda_13_on_the_packages_have_no_suffix(ask: Ask) -> None:
    found = ask("h100", MISSING.format("libcufft.so.12"), packages=BARE, torch_cuda=None)[NAME]
    assert found.fixes[0].package == "nvidia-cufft"


def test_a_package_for_another_major_is_to_match_torch(ask: Ask) -> None:
    packages = {**BARE, "deepspeed": "0.12.0", "torch": "2.3.0+cu121"}
    found = ask("h100", MISSING.format("libcudart.so.11.0"), packages=packages, torch_cuda=None)
    first = found[NAME].fixes[0]
    assert (first.action, first.package) == ("install-matching", "deepspeed")
    assert "bnb-cuda-libs-not-found" not in found


def test_two_releases_of_one_toolkit_are_a_path_that_misleads(ask: Ask) -> None:
    text = (
        "ImportError: /x/site-packages/torch/lib/../../nvidia/cusparse/lib/libcusparse.so.12: "
        "undefined symbol: __nvJitLinkComplete_12_4, version libnvJitLink.so.12"
    )
    found = ask("h100", text)
    first = found[NAME].fixes[0]
    assert (first.action, first.name) == ("unset-env", "LD_LIBRARY_PATH")
    assert not found.get("bnb-cuda-libs-not-found")


def test_a_text_of_bitsandbytes_is_left_to_its_own_rule(ask: Ask) -> None:
    text = "Could not load bitsandbytes native library: " + MISSING.format("libcusparse.so.11")
    packages = {"bitsandbytes": "0.43.1", "torch": "2.3.0+cu118"}
    found = ask("h100", text, packages=packages, torch_cuda=None)
    assert NAME not in found
    assert found["bnb-cuda-libs-not-found"].explains_error


def test_without_a_word_on_who_asked_it_stays_open(ask: Ask) -> None:
    found = ask("h100", OPENED.format("libcudart.so.12"), packages={"torch": None, **BARE})[NAME]
    assert found.undecided


@pytest.mark.parametrize("library", ["libcudart.so.13", "libcublas.so.12", "libcusparse.so.11"])
def test_what_python_could_not_import_is_no_library_of_bitsandbytes(ask: Ask, library: str) -> None:
    missing = f"{library}: cannot open shared object file: No such file or directory"
    packages = {"torch": None, "bitsandbytes": None}
    machine = {"packages": packages, "torch_cuda": None, "native": None}
    assert next(iter(ask("h100", f"ImportError: {missing}", **machine))) == NAME


PROVIDER = (
    '[ONNXRuntimeError] : 1 : FAIL : Error loading "C:\\\\py\\\\site-packages\\\\onnxruntime\\\\'
    'capi\\\\onnxruntime_providers_cuda.dll" which depends on "cublasLt64_12.dll" which is missing.'
)
UNNAMED = (
    '[ONNXRuntimeError] : 1 : FAIL : LoadLibrary failed with error 126 "" when trying to load '
    '"C:\\\\py\\\\Lib\\\\site-packages\\\\onnxruntime\\\\capi\\\\onnxruntime_providers_cuda.dll"'
)
ON_LINUX = (
    "[ONNXRuntimeError] : 1 : FAIL : Failed to load library libonnxruntime_providers_cuda.so with "
    "error: libcublasLt.so.11: cannot open shared object file: No such file or directory"
)


@pytest.mark.parametrize(
    ("text", "action", "package"),
    [
        (PROVIDER, "install", "nvidia-cublas-cu12"),
        (UNNAMED, "install-matching", "onnxruntime-gpu"),
        (ON_LINUX, "install-matching", "onnxruntime-gpu"),
    ],
)
def test_a_provider_of_onnxruntime_is_told_from_bitsandbytes(
    text: str, action: str, package: str, ask: Ask
) -> None:
    host = {"os": "linux" if text == ON_LINUX else "windows", "libc": None}
    first = next(iter(ask("a100", error=text, host=host, native=None).values()))
    assert (first.rule, first.fixes[0].action, first.fixes[0].package) == (NAME, action, package)


def test_a_dll_that_is_named_in_words_is_brought_by_its_package(ask: Ask) -> None:
    text = "RuntimeError: Library cublas64_12.dll is not found or cannot be loaded"
    host = {"os": "windows", "libc": None}
    packages = {"torch": None, "triton": None, "bitsandbytes": None}
    found = ask("a100", error=text, host=host, packages=packages, native=None)[NAME]
    assert [one.package for one in found.fixes] == ["nvidia-cublas-cu12", "torch"]


def test_windows_is_told_of_no_variable_of_linux(ask: Ask) -> None:
    text = "Could not locate cublasLt64_12.dll. Please make sure it is in your library path!"
    host = {"os": "windows", "libc": None}
    found = ask("a100", error=text, host=host, packages={"torch": None}, native=None)[NAME]
    assert found.fixes[0].package == "nvidia-cublas-cu12"
    assert "LD_LIBRARY_PATH" not in {fix.name for fix in found.fixes}


def test_a_boards_torch_takes_the_libraries_of_its_system() -> None:
    error = (
        'File "/x/python3.6/dist-packages/torch/__init__.py", line 148, in _load_global_deps\n'
        + OPENED.format("libcurand.so.10")
    )
    board = {"host": {"os": "linux", "machine": "aarch64"}, "packages": {"torch": "1.10.0"}}
    found = diagnose(board, error).findings[0]
    assert [fix.action for fix in found.fixes] == ["install-system", "set-env"]
    assert found.fixes[0].package == "nvidia-jetpack"
    server = {"host": {"os": "linux", "machine": "aarch64"}, "packages": {"torch": "2.12.0"}}
    assert diagnose(server, error).findings[0].fixes[0].package != "nvidia-jetpack"


def test_a_torch_without_cuda_brings_no_dll_of_it() -> None:
    error = "Could not locate cudnn_ops64_9.dll. Please make sure it is in your library path!"
    windows = {"host": {"os": "windows"}, "packages": {"torch": "2.5.0"}}
    fix = diagnose(windows, error).findings[0].fixes[0]
    assert (fix.action, fix.package, fix.spec) == ("install-build", "torch", "==2.5.0")
    with_cuda = {"host": {"os": "windows"}, "packages": {"torch": "2.5.0+cu124"}}
    fix = diagnose(with_cuda, error).findings[0].fixes[0]
    assert (fix.action, fix.package, fix.index) == ("reinstall", "torch", "cu124")
