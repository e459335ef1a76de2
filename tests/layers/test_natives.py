"""What is read of native libraries, asked directly: the rules' tests ask it of whole machines."""

from __future__ import annotations

import pytest

from qdoctor.layers import natives
from qdoctor.machine import complete
from qdoctor.matrix import shipped
from qdoctor.model import Driver, Facts, Gpu, NativeLibrary


def facts(*libraries: NativeLibrary, sm: str = "9.0", cuda: str = "12.4") -> Facts:
    gpu = Gpu(index=0, sm=sm, vendor="nvidia")
    return Facts(native=list(libraries), gpus=[gpu], driver=Driver(version="550.54", cuda=cuda))


def library(sm: list[str], ptx: list[str] | None = None, **more: dict[str, str]) -> NativeLibrary:
    return NativeLibrary(package="ext", file="ext.so", sm=sm, ptx=ptx or [], **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("held", "sm", "serves"),
    [
        (["sm_90a"], "9.0", "yes"),
        (["sm_100a"], "10.3", "no"),
        (["sm_100f"], "10.3", "yes"),
        (["sm_100"], "10.3", "yes"),
        (["sm_80"], "8.6", "yes"),
        (["sm_86"], "8.0", "no"),
        (["sm_80"], "9.0", "no"),
    ],
)
def test_code_for_one_sm_or_family_serves_nothing_else(
    held: list[str], sm: str, serves: str
) -> None:
    machine = complete(facts(library(held), sm=sm), shipped())
    assert natives.package_has_sm(machine, "ext").value == serves


def test_ptx_of_the_driver_s_own_release_compiles() -> None:
    only = library([], ["sm_80"], ptx_isa={"sm_80": "8.4"})
    machine = complete(facts(only), shipped())
    assert natives.package_ptx_compiles(machine, shipped(), "ext").value == "yes"
    newer = library([], ["sm_80"], ptx_isa={"sm_80": "8.5"})
    machine = complete(facts(newer), shipped())
    assert natives.package_ptx_compiles(machine, shipped(), "ext").value == "no"


def test_ptx_of_a_version_that_nobody_knows_is_unknown() -> None:
    machine = complete(facts(library([], ["sm_80"], ptx_isa={"sm_80": "99.0"})), shipped())
    assert natives.package_ptx_compiles(machine, shipped(), "ext").value == "unknown"


def test_packages_without_gpu_code_and_nvidia_s_own_are_not_named() -> None:
    plain = NativeLibrary(package="plain", file="p.so", sm=[], ptx=[])
    own = NativeLibrary(package="nvidia-cublas", file="l.so", sm=["sm_90"])
    machine = complete(facts(plain, own, library(["sm_90"])), shipped())
    assert natives.packages_with_code(machine) == ["ext"]


def test_the_newest_version_is_the_highest_number() -> None:
    assert natives.highest(["2.4", "2.34", None, "", "2.17"]) == "2.34"
    assert natives.highest([None, ""]) is None
