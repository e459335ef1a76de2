"""What is planned replaces what is there, and what depended on it becomes unknown."""

from __future__ import annotations

import pytest

from qdoctor.facts.plan import overlay
from qdoctor.model import Driver, Facts, FoundPackage, Gpu, NativeLibrary

HERE = Facts(
    packages={
        "torch": "2.1.2+cu121",
        "triton": "2.1.0",
        "bitsandbytes": "0.41.1",
        "nvidia-cublas-cu12": "12.1.3.1",
        "nvidia-ml-py": "12.535",
        "numpy": "1.26.4",
    },
    packages_found=[FoundPackage("torch"), FoundPackage("triton"), FoundPackage("bitsandbytes")],
    requires={"torch": ["triton==2.1.0"], "bitsandbytes": ["scipy"]},
    torch_cuda="12.1",
    torch_arch_list=["sm_80"],
    driver=Driver(version="", compat_cuda=""),
    gpus=[],
    env={"CUDA_VISIBLE_DEVICES": "", "BNB_CUDA_VERSION": "118"},
    native=[NativeLibrary(package="bitsandbytes", file="libbitsandbytes_cuda121.so")],
    unread={"gpus": "x", "driver.cuda": "y", "torch_arch_list": "z", "toolkit_cuda": "w"},
)


def test_nothing_planned_changes_nothing() -> None:
    assert overlay(HERE, packages={}) == HERE


@pytest.mark.parametrize("version", ["2.1.2", "2.1.2+cu121"])
def test_what_is_already_installed_changes_nothing(version: str) -> None:
    assert overlay(HERE, packages={"torch": version, "numpy": "1.26.4"}) == HERE


def test_another_torch_takes_along_what_it_pins() -> None:
    planned = overlay(HERE, packages={"torch": "2.5.1"})
    assert planned.packages == {
        "torch": "2.5.1",
        "bitsandbytes": "0.41.1",
        "nvidia-ml-py": "12.535",
        "numpy": "1.26.4",
    }
    assert (planned.torch_cuda, planned.torch_arch_list) == (None, None)
    assert planned.requires == {"bitsandbytes": ["scipy"]}
    assert planned.packages_found == [FoundPackage("bitsandbytes")]
    assert planned.native == HERE.native
    assert "torch_arch_list" not in (planned.unread or {})
    assert (planned.unread or {})["toolkit_cuda"] == "w"


def test_another_torch_brings_other_libraries_along() -> None:
    library = NativeLibrary(
        package="flash-attn", file="x.so", sm=["sm_80"], resolved={"a": "/a"}, shadowed={"a": "/b"}
    )
    here = Facts(packages={"torch": "2.1.2+cu121"}, native=[library])
    (kept,) = overlay(here, packages={"torch": "2.5.1"}).native or []
    assert (kept.sm, kept.resolved, kept.shadowed) == (["sm_80"], None, None)


def test_another_build_of_the_same_release_is_another_torch() -> None:
    planned = overlay(HERE, packages={"torch": "2.1.2+cpu"})
    assert planned.torch_cuda is None
    assert (planned.packages or {})["torch"] == "2.1.2+cpu"


def test_a_planned_triton_stays_beside_a_planned_torch() -> None:
    planned = overlay(HERE, packages={"torch": "2.5.1", "triton": "3.1.0"})
    assert (planned.packages or {})["triton"] == "3.1.0"


def test_another_bitsandbytes_makes_its_libraries_unknown() -> None:
    planned = overlay(HERE, packages={"bitsandbytes": "0.45.0"})
    assert planned.native is None
    assert planned.requires == {"torch": ["triton==2.1.0"]}
    assert planned.torch_cuda == "12.1"


def test_a_package_to_be_removed_is_known_to_be_absent() -> None:
    assert (overlay(HERE, packages={"triton": ""}).packages or {})["triton"] == ""


def test_a_planned_gpu_is_numbered_and_needs_a_driver_of_its_own() -> None:
    planned = overlay(HERE, packages={}, gpus=[Gpu(name="A100", sm="8.0")])
    assert planned.gpus == [Gpu(index=0, name="A100", sm="8.0", visible=True)]
    assert planned.driver is None
    assert planned.env == {"BNB_CUDA_VERSION": "118"}
    assert set(planned.unread or {}) == {"torch_arch_list", "toolkit_cuda"}


def test_a_planned_driver_replaces_the_present_one() -> None:
    driver = Driver(version="535.104.05")
    assert overlay(HERE, packages={}, driver=driver).driver == driver
    both = overlay(HERE, packages={}, gpus=[Gpu(sm="8.0")], driver=driver)
    assert both.driver == driver


def test_a_plan_over_nothing_known() -> None:
    assert overlay(Facts(), packages={"torch": "2.1.2"}) == Facts(packages={"torch": "2.1.2"})
