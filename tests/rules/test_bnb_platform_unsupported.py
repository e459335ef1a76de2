"""bnb-platform-unsupported: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor.diagnosis import diagnose
from qdoctor.model import Facts, Finding, Host, Python

Ask = Callable[..., dict[str, Finding]]

NAME = "bnb-platform-unsupported"

MAC = {"host": {"os": "macos", "machine": "arm64", "libc": None}, "gpus": []}


def test_fires_on_a_platform_without_a_library(ask: Ask) -> None:
    found = ask("a100", host={"machine": "aarch64"})[NAME]
    assert found.severity == "note"
    assert "bnb-int8" in found.affects


def test_explains_a_library_of_another_platform(ask: Ask) -> None:
    text = "OSError: '/x/libbitsandbytes_cpu.so' (not a mach-o file)"
    found = ask("cpu", error=text, packages={"bitsandbytes": None}, torch_cuda=None, **MAC)[NAME]
    assert found.explains_error
    told = [(one.action, one.package) for one in found.fixes]
    assert told == [("change-hardware", None), ("upgrade", "bitsandbytes")]


def test_is_silent_on_linux(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_is_silent_where_bitsandbytes_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("cpu", packages={"bitsandbytes": None}, torch_cuda=None, **MAC)


@pytest.mark.parametrize("name", ["macos", "darwin"])
def test_on_a_system_without_cuda_no_build_is_offered(ask: Ask, name: str) -> None:
    text = "The 8-bit optimizer is not available on your device, only available on CUDA for now."
    host = {"os": name, "machine": "arm64", "libc": ""}
    found = ask("cpu", text, host=host, packages={"bitsandbytes": None}, native=None)
    assert next(iter(found)) == NAME
    assert "install-build" not in {fix.action for one in found.values() for fix in one.fixes}


def test_a_board_with_some_bitsandbytes_is_noted_without_a_text(ask: Ask) -> None:
    host = {"machine": "aarch64"}
    gpus = [{"index": 0, "name": "Jetson AGX Orin", "sm": "8.7"}]
    packages = {"bitsandbytes": "?", "torch": None, "triton": None}
    found = ask("h100", host=host, gpus=gpus, packages=packages, torch_cuda=None, native=None)
    assert found[NAME].severity == "note"
    assert found[NAME].fixes[-1].action == "rebuild"


def test_a_release_without_a_library_for_rocm_is_told_on_an_amd_machine_without_a_text(
    ask: Ask,
) -> None:
    amd = {"gpus": [{"index": 0, "name": "RX 7900 XTX", "vendor": "amd"}], "native": None}
    torch = {"torch": "2.9.1+rocm6.4", "triton": None}
    old = ask("a100", packages={**torch, "bitsandbytes": "0.41.1"}, torch_cuda="", **amd)[NAME]
    assert (old.severity, old.fixes[0].action) == ("warning", "upgrade")
    new = ask("a100", packages={**torch, "bitsandbytes": "0.50.2"}, torch_cuda="", **amd)
    assert NAME not in new


def test_only_a_torch_for_rocm_has_a_gpu_and_no_cuda(ask: Ask) -> None:
    text = "Could not load bitsandbytes native library: 'NoneType' object has no attribute 'split'"
    unknown: dict[str, object] = {"packages": {}, **dict.fromkeys(("gpus", "driver", "torch_cuda"))}
    found = ask("a100", error=text, **unknown)[NAME]
    assert "ROCm" in found.title
    assert (found.fixes[0].action, found.fixes[0].package) == ("upgrade", "bitsandbytes")


@pytest.mark.parametrize(
    ("release", "machine", "first"),
    [
        ("0.42.0", None, "upgrade"),
        ("0.37.2", "arm64", "upgrade"),
        ("0.43.1", "x86_64", "change-hardware"),
    ],
)
def test_a_mac_s_release_without_a_library_for_it_is_named_without_any_text(
    release: str, machine: str | None, first: str
) -> None:
    facts = Facts(
        host=Host(os="macos", machine=machine),
        python=Python(version="3.12"),
        packages={"bitsandbytes": release},
    )
    found = diagnose(facts)[1][0]
    assert (found.rule, found.severity, found.fixes[0].action) == (NAME, "warning", first)
    assert first != "upgrade" or found.fixes[0].spec == ">=0.49.0"


def test_a_release_with_a_library_for_macs_is_not_accused() -> None:
    host = Host(os="macos", machine="arm64")
    found = diagnose(Facts(host=host, packages={"bitsandbytes": "0.49.2"}))[1]
    assert NAME not in {one.rule for one in found}


def test_a_mac_without_bitsandbytes_is_told_what_runs_on_it_first() -> None:
    first = diagnose(Facts(host=Host(os="macos"), python=Python(version="3.13")))[1][0]
    assert (first.rule, first.severity, first.fixes[0].action) == ("no-cuda-gpu", "note", "use")
    assert "Mac" in first.title


def test_on_a_mac_what_asked_for_cudas_kernels_gets_none_by_another_release() -> None:
    text = "AttributeError: 'NoneType' object has no attribute 'cadam32bit_grad_fp32'"
    host = Host(os="macos", machine="arm64")
    facts = Facts(host=host, python=Python(version="3.10"), packages={"bitsandbytes": "0.41.1"})
    first = diagnose(facts, error=text)[1][0]
    assert first.rule == NAME
    assert [one.action for one in first.fixes] == ["change-hardware", "upgrade"]
