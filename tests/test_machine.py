"""What facts imply, with the evidence for it."""

from __future__ import annotations

from typing import Any

import pytest

from qdoctor.machine import Machine, complete
from qdoctor.matrix import shipped
from qdoctor.model import Facts, from_plain

LINUX = {"os": "linux"}
WINDOWS = {"os": "windows"}


def machine(*, assume_driver: bool = False, **facts: Any) -> Machine:  # noqa: ANN401 - JSON
    return complete(from_plain(facts, Facts, "test"), shipped(), assume_driver=assume_driver)


def test_torch_alone_implies_its_default_cuda_and_its_triton_on_linux() -> None:
    found = machine(host=LINUX, packages={"torch": "2.1.2"})
    assert (found.torch_cuda.value, found.triton.value) == ("12.1", "2.1.0")
    assert found.triton_pin.value == "==2.1.0"
    assert found.torch_cuda.because is not None
    assert found.torch_cuda.because.strength == "mined"
    assert "torch-2.1.2" in found.torch_cuda.because.source


def test_the_default_torch_on_windows_is_a_cpu_build_without_triton() -> None:
    found = machine(host=WINDOWS, packages={"torch": "2.1.2"})
    assert (found.torch_cuda.value, found.triton.value, found.torch_sm.value) == ("", "", [])


def test_an_unknown_system_implies_nothing_and_says_why() -> None:
    found = machine(packages={"torch": "2.1.2"})
    assert (found.torch_cuda.value, found.triton.value) == (None, None)
    assert "operating system" in found.torch_cuda.reason


@pytest.mark.parametrize(
    ("version", "cuda"), [("2.5.1+cu118", "11.8"), ("2.9.0+cu130", "13.0"), ("2.5.1+cpu", "")]
)
def test_a_build_tag_names_another_cuda(version: str, cuda: str) -> None:
    assert machine(host=LINUX, packages={"torch": version}).torch_cuda.value == cuda


def test_a_build_tag_that_names_no_cuda_we_know_stays_unknown() -> None:
    found = machine(host=LINUX, packages={"torch": "2.5.0a0+872d972e41.nv24.08"})
    assert found.torch_cuda.value is None


@pytest.mark.parametrize("host", [LINUX, WINDOWS])
def test_a_nightly_build_has_no_default(host: dict[str, str]) -> None:
    found = machine(host=host, packages={"torch": "2.7.0.dev20250310"})
    assert found.torch_cuda.value is None
    assert "nightly" in found.torch_cuda.reason


def test_the_aarch64_default_became_a_cuda_build() -> None:
    arm = {"os": "linux", "machine": "aarch64"}
    assert machine(host=arm, packages={"torch": "2.9.0"}).torch_cuda.value == ""
    assert machine(host=arm, packages={"torch": "2.12.0"}).torch_cuda.value == "13.0"
    newest = machine(host=arm, packages={"torch": "2.15.0"}).torch_cuda
    assert (newest.value, "on linux aarch64" in newest.reason) == (None, True)


def test_a_package_is_unknown_absent_or_of_an_unknown_version() -> None:
    found = machine(host=LINUX, packages={"torch": "2.1.2", "triton": "", "bitsandbytes": "?"})
    assert (found.triton.value, found.installed("triton")) == ("", "no")
    assert (found.bitsandbytes.value, found.installed("bitsandbytes")) == (None, "yes")
    assert (found.package("torchao").value, found.installed("torchao")) == (None, "unknown")


def test_a_marker_is_read_for_the_described_python_not_for_ours() -> None:
    packages = {"torch": "2.5.1"}
    old = machine(host=LINUX, packages=packages, python={"version": "3.12.1"})
    new = machine(host=LINUX, packages=packages, python={"version": "3.13.0"})
    assert (old.triton.value, new.triton.value) == ("3.1.0", "")


def test_what_was_read_on_the_machine_outranks_the_release_and_is_remembered() -> None:
    found = machine(host=LINUX, packages={"torch": "2.1.2+cu121"}, torch_cuda="11.8")
    assert found.torch_cuda.value == "11.8"
    assert [one.subject for one in found.contradictions] == ["torch_cuda"]


def test_an_arch_list_that_differs_from_the_released_one_is_a_contradiction() -> None:
    found = machine(host=LINUX, packages={"torch": "2.1.2"}, torch_arch_list=["sm_90"])
    assert [one.subject for one in found.contradictions] == ["torch_sm"]
    assert found.contradictions[0].kept.strength == "inspected"


def test_a_version_prefix_is_known_only_where_its_releases_agree() -> None:
    found = machine(host=LINUX, packages={"torch": "2.1.x"})
    assert found.torch_cuda.value == "12.1"
    assert machine(host=LINUX, packages={"torch": "2.x"}).torch_cuda.value is None


def test_a_driver_implies_its_cuda_and_a_compat_package_lifts_it() -> None:
    assert machine(driver={"version": "535.104.05"}).driver_cuda.value == "12.2"
    lifted = machine(driver={"version": "535.104.05", "compat_cuda": "12.8"})
    assert lifted.driver_cuda.value == "12.8"
    assert machine(driver={"version": ""}).driver_cuda.value == ""
    assert machine(driver={"version": "31.0.15"}).driver_cuda.value is None


def test_a_driver_that_says_less_than_its_branch_is_a_contradiction() -> None:
    found = machine(driver={"version": "535.104.05", "cuda": "11.8"})
    assert found.driver_cuda.value == "11.8"
    assert [one.subject for one in found.contradictions] == ["driver_cuda"]


def test_an_assumed_driver_says_so_and_gives_way_to_a_stated_one() -> None:
    assert machine(assume_driver=True).driver_assumed
    assert "assumed" in machine(assume_driver=True).driver_cuda.reason
    assert not machine(assume_driver=True, driver={"version": "535.1"}).driver_assumed


def test_a_gpu_name_implies_its_sm_where_it_names_one_model() -> None:
    assert machine(gpus=[{"name": "Tesla V100-SXM2-16GB"}]).sm.value == "7.0"
    unknown = machine(gpus=[{"name": "NVIDIA Somecard 9999"}]).sm
    assert unknown.value is None
    assert "Somecard" in unknown.reason


def test_the_judged_gpu_is_the_first_visible_nvidia_one() -> None:
    gpus = [
        {"index": 0, "name": "AMD Radeon Pro", "vendor": "amd"},
        {"index": 1, "name": "Tesla T4", "visible": False},
        {"index": 2, "name": "NVIDIA A10"},
    ]
    found = machine(gpus=gpus)
    assert found.gpu is not None
    assert (found.gpu.index, found.sm.value) == (2, "8.6")
    assert machine(gpus=[]).gpu is None
    assert machine().gpus.value is None


def test_an_installed_triton_implies_linux() -> None:
    assert machine(packages={"triton": "3.1.0"}).os.value == "linux"
