"""What the matrix expects of Triton's products, casts and tools, by release and SM."""

from __future__ import annotations

from typing import Any

import pytest

from qdoctor.expectation import annotate
from qdoctor.machine import complete
from qdoctor.matrix import shipped
from qdoctor.model import Observation
from tests.layers.conftest import facts_with

H100 = [{"index": 0, "name": "NVIDIA H100 80GB HBM3"}]


def expected(probe: str, variant: str, device: str, **changes: Any) -> str:  # noqa: ANN401
    ran = not device.startswith("sm_")
    seen = Observation(probe=probe, outcome="passed", variant=variant, device=device, ran=ran)
    return annotate([seen], complete(facts_with(**changes), shipped()), shipped())[0].expected


@pytest.mark.parametrize(
    ("sm", "triton", "int8", "e4m3", "e5m2"),
    [
        ("9.0", "3.6.0", "pass", "pass", "pass"),
        ("8.0", "3.6.0", "pass", "fail", "pass"),
        ("7.5", "3.1.0", "pass", "fail", "pass"),
        ("7.5", "3.6.0", "fail", "fail", "pass"),
        ("8.9", "2.3.1", "pass", "fail", "pass"),  # its compiler aborts
        ("9.0", "9.9.9", "unknown", "unknown", "unknown"),
    ],
)
def test_tritons_products_and_casts_by_what_each_release_compiles(
    sm: str, triton: str, int8: str, e4m3: str, e5m2: str
) -> None:
    device, packages = f"sm_{sm.replace('.', '')}", {"triton": triton}
    for variant in ("k-major", "n-major"):
        assert expected("triton_int8_dot", variant, device, packages=packages) == int8
    for variant, wanted in (("e4m3", e4m3), ("e4m3-from-bf16", e4m3), ("e5m2", e5m2)):
        assert expected("triton_fp8_cast", variant, device, packages=packages) == wanted


def test_what_triton_builds_with_by_what_is_there() -> None:
    both = {"host": {"c_compiler": True}, "python": {"headers": True}}
    for device, changes in (("cuda:0", {"gpus": H100}), ("cpu", {"gpus": []})):
        for variant in ("compiler", "headers"):
            assert expected("triton_toolchain", variant, device, **both, **changes) == "pass"
    bare = {"host": {"c_compiler": True}, "python": {"headers": False}, "gpus": H100}
    assert expected("triton_toolchain", "compiler", "cuda:0", **bare) == "pass"
    assert expected("triton_toolchain", "headers", "cuda:0", **bare) == "fail"
    assert expected("triton_toolchain", "ptxas", "sm_120", packages={"triton": "3.1.0"}) == "fail"
    assert expected("triton_toolchain", "cache", "cuda:0", **bare) == "unknown"
