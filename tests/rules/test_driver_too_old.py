"""driver-too-old: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from packaging.specifiers import SpecifierSet

from qdoctor.diagnosis import diagnose
from qdoctor.model import Facts, Finding, Host

Ask = Callable[..., dict[str, Finding]]

NAME = "driver-too-old"

OLD = {"version": "470.141.03", "cuda": "11.4"}


def test_fires_on_an_older_driver(ask: Ask) -> None:
    found = ask("a100", driver=OLD)[NAME]
    assert found.severity == "error"
    assert "gpu" in found.affects
    driver = next(fix for fix in found.fixes if fix.action == "upgrade-driver")
    assert driver.spec == ">=525.60.13"


def test_the_build_that_is_offered_needs_no_newer_driver(ask: Ask) -> None:
    fix = ask("a100", driver=OLD)[NAME].fixes[0]
    release = max(one.version for one in SpecifierSet(fix.spec or "") if "=" in one.operator)
    packages = {"torch": f"{release}+{fix.index}", "triton": None}
    assert fix.action == "install-build"
    assert NAME not in ask("a100", driver=OLD, packages=packages, torch_cuda=None)


def test_minor_version_compatibility_counts(ask: Ask) -> None:
    assert NAME not in ask("a100", driver={"version": "525.60.13", "cuda": "12.0"})


def test_is_silent_where_the_driver_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("a100", driver=None)


def test_a_text_accuses_where_torch_is_unknown(ask: Ask) -> None:
    text = "RuntimeError: The NVIDIA driver on your system is too old (found version 11060)."
    found = ask("a100", error=text, packages={"torch": None}, torch_cuda=None, driver=None)[NAME]
    assert found.explains_error
    assert found.fixes[0].action == "upgrade-driver"  # no torch is known that could be changed
    assert found.fixes[0].spec == ">=525.60.13"


@pytest.mark.parametrize(
    ("found", "needed"),
    [("11040", "525.60.13"), ("12020", "580.65.06"), ("10020", "450.51.05")],
)
def test_the_driver_that_is_asked_for_serves_more_than_the_one_that_is_too_old(
    found: str, needed: str
) -> None:
    text = f"The NVIDIA driver on your system is too old (found version {found})"
    told = diagnose(Facts(), error=text)[1][0]
    assert (told.rule, told.fixes[0].spec) == (NAME, f">={needed}")


def test_another_release_of_torch_comes_after_a_newer_driver(ask: Ask) -> None:
    """Of one release another build changes less; without one the driver does."""
    packages = {"torch": "2.13.0", "triton": "3.7.1"}
    driver = {"version": "575.57.08", "cuda": "12.9"}
    gpus = [{"index": 0, "name": "NVIDIA GB200", "sm": "10.0"}]
    found = ask("h100", packages=packages, driver=driver, gpus=gpus, torch_cuda=None, native=None)
    fixes = found["driver-too-old"].fixes
    same = [one.spec == "==2.13.0" for one in fixes]
    assert any(same[:1]) or fixes[0].action == "upgrade-driver"


def test_torch_s_own_word_outweighs_what_the_versions_say(ask: Ask) -> None:
    text = "RuntimeError: The NVIDIA driver on your system is too old (found version 11020)."
    packages, driver = {"torch": "2.0.1"}, {"version": None, "cuda": None}
    found = ask("h100", text, packages=packages, driver=driver, torch_cuda=None, native=None)
    assert found["driver-too-old"].explains_error


def test_a_text_accuses_no_driver_where_there_is_no_gpu_of_nvidia(ask: Ask) -> None:
    text = "CUDA driver version is insufficient for CUDA runtime version"
    intel = [{"index": 0, "name": "Intel Iris Xe", "vendor": "intel"}]
    found = ask("a100", error=text, gpus=intel, driver=None)
    assert NAME not in found
    assert found["no-cuda-gpu"].explains_error
    assert ask("a100", error=text, driver=OLD)[NAME].explains_error


def test_a_function_that_the_driver_lacks_accuses_it(ask: Ask) -> None:
    text = "ImportError: /x/common_ops.abi3.so: undefined symbol: cuGreenCtxStreamCreate"
    found = ask("h100", error=text, driver=None, torch_cuda=None)[NAME]
    assert found.explains_error
    assert "upgrade-driver" in {one.action for one in found.fixes}


def test_the_build_that_the_driver_refuses_is_not_offered_again() -> None:
    facts = Facts(host=Host(os="linux"), packages={"torch": "2.1.2+cu121"})
    text = "RuntimeError: The NVIDIA driver on your system is too old"
    found = diagnose(facts, error=text)[1][0]
    assert found.rule == NAME
    assert [fix.index for fix in found.fixes if fix.action == "install-build"] == ["cu118"]
