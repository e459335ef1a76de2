"""misleading-import-check: where it fires, where not, and where torch is unknown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor.diagnosis import diagnose
from qdoctor.model import Facts, Finding, Host

Ask = Callable[..., dict[str, Finding]]

NAME = "misleading-import-check"
OLD = "ImportError: Using `load_in_8bit=True` requires Accelerate: `pip install accelerate`"
NEW = "ImportError: Using `bitsandbytes` 4-bit quantization requires Accelerate: `pip install"
TRAINER = "ImportError: Using the `Trainer` with `PyTorch` requires `accelerate>=0.20.1`"


@pytest.mark.parametrize("text", [OLD, NEW])
def test_with_cuda_and_a_gpu_the_process_is_to_be_restarted(ask: Ask, text: str) -> None:
    found = ask("h100", error=text)
    assert next(iter(found)) == NAME
    assert (found[NAME].severity, found[NAME].fixes[0].action) == ("error", "restart-kernel")


METADATA = "importlib.metadata.PackageNotFoundError: No package metadata was found for bitsandbytes"


def test_what_nobody_says_to_be_installed_is_not_seen_by_the_process() -> None:
    found = diagnose(Facts(), error=METADATA)[1]
    assert [one.rule for one in found] == [NAME]
    assert [(fix.action, fix.package) for fix in found[0].fixes] == [
        ("install", "bitsandbytes"),
        ("restart-kernel", None),
    ]


def test_a_mac_needs_more_than_the_package() -> None:
    found = diagnose(Facts(host=Host(os="macos", machine="arm64")), error=METADATA)[1][0]
    assert (found.rule, found.fixes[0].action) == (NAME, "change-hardware")


def test_what_is_known_to_be_absent_is_missing_itself(ask: Ask) -> None:
    found = ask("h100", error=METADATA, packages={"bitsandbytes": ""})
    assert next(iter(found)) == "python-module-missing"


def test_the_metadata_of_another_package_is_no_check_for_a_gpu() -> None:
    text = METADATA.replace("bitsandbytes", "flash-attn")
    assert NAME not in {one.rule for one in diagnose(Facts(), error=text)[1]}


def test_what_is_known_to_be_absent_is_installed(ask: Ask) -> None:
    found = ask("h100", error=OLD, packages={"accelerate": ""})[NAME]
    assert (found.fixes[0].action, found.fixes[0].package) == ("install", "accelerate")


def test_an_accelerate_that_is_new_enough_is_not_seen_yet(ask: Ask) -> None:
    found = ask("h100", error=TRAINER, packages={"accelerate": "1.0.1"})
    assert next(iter(found)) == NAME
    assert found[NAME].fixes[0].action == "restart-kernel"


@pytest.mark.parametrize(
    ("text", "first"),
    [(NEW, ["restart-kernel", "install-build"]), (OLD, ["install-build", "restart-kernel"])],
)
def test_nothing_known_offers_a_restart_and_another_build_and_stays_open(
    text: str, first: list[str]
) -> None:
    found = diagnose(Facts(), error=text)[1]
    assert found[0].rule == NAME
    assert [fix.action for fix in found[0].fixes] == first
    assert found[0].undecided


def test_a_mac_is_never_offered_a_build_with_cuda() -> None:
    facts = Facts(host=Host(os="macos", machine="arm64"), packages={"torch": "2.1.2"})
    for text in (OLD, NEW, "RuntimeError: No GPU found. A GPU is needed for quantization."):
        found = diagnose(facts, error=text)[1]
        assert found[0].rule == "no-cuda-gpu"
        assert "install-build" not in {fix.action for one in found for fix in one.fixes}


def test_foresees_the_check_on_a_machine_without_cuda(ask: Ask) -> None:
    assert NAME in ask("cpu", packages={"transformers": "4.32.0"})
    assert NAME not in ask("cpu", packages={"transformers": "4.31.0"})
    assert NAME not in ask("h100", packages={"transformers": "4.32.0"})
    assert NAME not in ask("cpu", packages={"transformers": None})


def test_what_changes_nothing_comes_first_where_torch_is_not_known(ask: Ask) -> None:
    text = "ImportError: Using `bitsandbytes` 8-bit quantization requires Accelerate"
    packages = {"torch": None, "accelerate": "0.24.1"}
    found = ask("h100", text, packages=packages, torch_cuda=None, native=None, gpus=None)
    assert found["misleading-import-check"].fixes[0].action == "restart-kernel"


def test_where_the_default_torch_has_no_cuda_another_build_comes_first() -> None:
    for text in (OLD, NEW):
        found = diagnose(Facts(host=Host(os="windows")), error=text)[1]
        assert found[0].rule == NAME
        assert found[0].fixes[0].action == "install-build"


def test_the_later_words_ask_for_bitsandbytes_alone() -> None:
    text = "ImportError: Using `bitsandbytes` 8-bit quantization requires the latest version of"
    text += " bitsandbytes: `pip install -U bitsandbytes`"
    windows = Facts(host=Host(os="windows"))
    fix = diagnose(windows, error=text)[1][0].fixes[0]
    assert (fix.action, fix.package) == ("install", "bitsandbytes")
    old = Facts(host=Host(os="windows"), packages={"transformers": "4.44.2"})
    assert diagnose(old, error=text)[1][0].fixes[0].package == "torch"
    assert diagnose(Facts(), error=text)[1][0].fixes[0].action == "restart-kernel"
