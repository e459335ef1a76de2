"""bnb-source-build-incomplete: where it fires, where not, where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "bnb-source-build-incomplete"

CPU_ONLY = [{"package": "bitsandbytes", "file": "libbitsandbytes_cpu.so", "sm": [], "ptx": []}]
NOTHING = [{"package": "bitsandbytes", "file": ""}]
BUILT = [{"package": "bitsandbytes", "file": "libbitsandbytes_cuda130.so", "sm": ["sm_90"]}]
TEXT = "AttributeError: 'NoneType' object has no attribute 'cquantize_blockwise_fp16_nf4'"


def test_fires_where_only_the_cpu_library_was_built(ask: Ask) -> None:
    found = ask("h100", native=CPU_ONLY)[NAME]
    assert found.title == "bitsandbytes 0.50.2 was installed without its library for CUDA"
    assert "bnb-nf4" in found.affects
    assert (found.fixes[0].action, found.fixes[0].package) == ("reinstall", "bitsandbytes")
    assert found.fixes[-1].action == "rebuild"


def test_fires_where_nothing_was_built(ask: Ask) -> None:
    assert NAME in ask("h100", native=NOTHING)


def test_fires_on_a_version_that_was_never_released(ask: Ask) -> None:
    found = ask("h100", native=CPU_ONLY, packages={"bitsandbytes": "0.43.2.dev0"})
    assert NAME in found
    assert "bnb-platform-unsupported" not in found


def test_is_silent_where_it_was_built(ask: Ask) -> None:
    assert NAME not in ask("h100", native=BUILT)


def test_is_silent_where_the_release_has_none_for_the_platform(ask: Ask) -> None:
    found = ask("h100", native=CPU_ONLY, host={"os": "macos", "machine": "arm64"})
    assert NAME not in found


def test_is_silent_where_the_folder_was_not_read(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_a_text_accuses_where_the_folder_was_not_read(ask: Ask) -> None:
    t4 = [{"index": 0, "name": "T4", "sm": "7.5"}]
    packages = {"torch": "2.3.0", "bitsandbytes": "0.43.2", "triton": None}
    found = ask("h100", error=TEXT, packages=packages, torch_cuda=None, host={"os": None}, gpus=t4)
    assert next(name for name, one in found.items() if one.explains_error) == NAME


MISSED = "CUDA SETUP: Required library version not found: libbitsandbytes_cuda118.so."


def test_a_library_that_the_release_holds_and_the_text_misses(ask: Ask) -> None:
    packages = {"bitsandbytes": "0.39.1", "torch": "2.0.1+cu118"}
    found = ask("h100", MISSED, packages=packages, torch_cuda=None, native=None)
    assert next(iter(found)) == NAME
    assert found[NAME].undecided is None


def test_a_wording_of_other_releases_is_another_copy(ask: Ask) -> None:
    packages = {"bitsandbytes": "0.48.2", "torch": "2.6.0+cu118"}
    found = ask("h100", MISSED, packages=packages, torch_cuda=None, native=None)
    assert next(iter(found)) == "stale-package-shadowing"
