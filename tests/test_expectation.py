"""What the matrix expects of a probe, from the layers its variant needs."""

from __future__ import annotations

from typing import Any

import pytest

from qdoctor import layers
from qdoctor.expectation import annotate, expect
from qdoctor.machine import complete
from qdoctor.matrix import shipped
from qdoctor.model import Observation
from tests.layers.conftest import facts_with

H100 = [{"index": 0, "name": "NVIDIA H100 80GB HBM3"}]
B200 = [{"index": 0, "sm": "10.0", "vendor": "nvidia"}]


def expected(probe: str, variant: str | None, device: str | None, **changes: Any) -> str:  # noqa: ANN401
    ran = device is not None and not device.startswith("sm_")
    seen = Observation(probe=probe, outcome="passed", variant=variant, device=device, ran=ran)
    return annotate([seen], complete(facts_with(**changes), shipped()), shipped())[0].expected


def test_half_multiplies_wherever_torch_does() -> None:
    assert expected("half_gemm", "half", "cuda:0") == "pass"
    assert expected("half_gemm", "half", "cpu", gpus=[]) == "pass"
    assert expected("half_gemm", "half", "cuda:0", gpus=B200) == "fail"
    assert expected("half_gemm", "half", "cuda:0", packages={"torch": "9.9.9"}) == "unknown"


@pytest.mark.parametrize(
    ("gpu", "row_major", "turing", "ampere"),
    [
        ("Tesla T4", "pass", "pass", "fail"),
        ("NVIDIA A100-SXM4-80GB", "pass", "pass", "pass"),
        ("NVIDIA H100 80GB HBM3", "pass", "fail", "fail"),
        ("Tesla V100-SXM2-16GB", "unknown", "fail", "fail"),
    ],
)
def test_each_int8_layout_by_generation(gpu: str, row_major: str, turing: str, ampere: str) -> None:
    gpus = [{"index": 0, "name": gpu}]
    variants = ("row-major", "col4_4r2_8c", "col32_2r_4r4")
    found = [expected("cublaslt_igemm", one, "cuda:0", gpus=gpus) for one in variants]
    assert found == [row_major, turing, ampere]


def test_bitsandbytes_int8_on_its_gpus_and_its_odd_depths_never() -> None:
    current = {"packages": {"torch": "2.11.0", "bitsandbytes": "0.50.2"}, "gpus": H100}
    driver = {"driver": {"version": "580.95.05"}}
    assert expected("bnb_int8", "linear", "cuda:0", **current, **driver) == "pass"
    assert expected("bnb_int8", "matmul", "cuda:0", **current, **driver) == "pass"
    assert expected("bnb_int8", "matmul-odd-k", "cuda:0", **current, **driver) == "fail"
    old = {"packages": {"bitsandbytes": "0.44.1"}}
    assert expected("bnb_int8", "linear", "cuda:0", gpus=H100, **old) == "fail"
    assert expected("bnb_int8", "matmul-odd-k", "cuda:0", **old) == "unknown"


@pytest.mark.parametrize(
    ("version", "nf4", "fp4"),
    [("0.50.2", "pass", "pass"), ("0.46.1", "pass", "fail"), ("0.44.1", "fail", "fail")],
)
def test_four_bit_on_a_cpu_by_release(version: str, nf4: str, fp4: str) -> None:
    cpu = {"packages": {"torch": "2.8.0+cpu", "triton": "", "bitsandbytes": version}, "gpus": []}
    assert expected("bnb_4bit", "nf4", "cpu", **cpu) == nf4
    assert expected("bnb_4bit", "nf4-double-quant", "cpu", **cpu) == nf4
    assert expected("bnb_4bit", "fp4", "cpu", **cpu) == fp4


@pytest.mark.parametrize(
    ("features", "version", "outcome"),
    [
        (["avx512f"], "0.50.2", "fail"),
        (["avx512f"], "0.48.2", "pass"),
        (["avx2"], "0.50.2", "pass"),
        (None, "0.50.2", "unknown"),
    ],
)
def test_uneven_four_bit_on_a_cpu_by_its_vectors(
    features: list[str] | None, version: str, outcome: str
) -> None:
    packages = {"torch": "2.8.0+cpu", "triton": "", "bitsandbytes": version}
    host = {"os": "linux", "machine": "x86_64", "libc": "glibc 2.35", "cpu_features": features}
    for kind in ("nf4-uneven", "fp4-uneven"):
        found = expected("bnb_4bit", kind, "cpu", packages=packages, gpus=[], host=host)
        assert found == outcome


@pytest.mark.parametrize(("version", "zeros"), [("0.50.2", "pass"), ("0.48.2", "fail")])
def test_blocks_of_zeros_crash_some_releases_on_a_cpu(version: str, zeros: str) -> None:
    cpu = {"packages": {"torch": "2.8.0+cpu", "triton": "", "bitsandbytes": version}, "gpus": []}
    assert expected("bnb_blockwise_8bit", "dynamic", "cpu", **cpu) == "pass"
    assert expected("bnb_blockwise_8bit", "zeros", "cpu", **cpu) == zeros


def test_a_compiled_probe_is_judged_for_the_sm_it_compiled_for() -> None:
    assert expected("triton_libdevice", "llrint", "sm_70", gpus=H100) == "pass"
    assert expected("triton_libdevice", "llrint", "sm_100", gpus=[]) == "fail"


def test_switchback_by_its_triton_names() -> None:
    old = {"packages": {"torch": "2.0.1", "triton": "2.0.0"}}
    assert expected("switchback_forward", "bitsandbytes", "cuda:0", **old) == "pass"
    assert expected("switchback_forward", "bitsandbytes", "cuda:0") == "fail"
    assert expected("switchback_forward", "bitsandbytes", None) == "fail"
    assert (
        expected("switchback_forward", "bitsandbytes", "sm_80", packages={"triton": "9.9.9"})
        == "unknown"
    )


def test_our_switchback_by_what_triton_compiles() -> None:
    new = {"packages": {"torch": "2.5.1", "triton": "3.1.0"}}
    assert expected("switchback_forward", "qdoctor", "sm_75", **new) == "pass"
    assert (
        expected("switchback_forward", "qdoctor", "sm_75", packages={"triton": "3.7.1"}) == "fail"
    )
    assert expected("switchback_forward", "qdoctor", "sm_70", **new) == "fail"


@pytest.mark.parametrize(
    ("torch", "outcome"), [("2.0.1", "fail"), ("2.3.1", "unknown"), ("2.13.0+cpu", "pass")]
)
def test_our_switchback_on_a_cpu_by_torchs_int8_product(torch: str, outcome: str) -> None:
    packages = {"torch": torch, "triton": ""}
    found = expected("switchback_forward", "qdoctor", "cpu", packages=packages, gpus=[])
    assert found == outcome


CURRENT = {"packages": {"torch": "2.11.0", "torchao": "0.18.0"}, "driver": {"version": "580.95.05"}}


@pytest.mark.parametrize(
    ("gpu", "cuda", "int8", "fp8", "torchao"),
    [
        ("NVIDIA H100 80GB HBM3", "pass", "pass", "pass", "pass"),
        ("NVIDIA A100-SXM4-80GB", "pass", "pass", "fail", "unknown"),
        ("Tesla V100-SXM2-16GB", "pass", "fail", "fail", "fail"),
    ],
)
def test_products_of_torch_and_torchao_by_generation(
    gpu: str, cuda: str, int8: str, fp8: str, torchao: str
) -> None:
    """The default build of torch 2.11 has no kernels for a V100, whatever it could multiply."""
    asked = {
        "cuda_alive": ("copy", cuda),
        "torch_int_mm": ("plain", int8),
        "torch_fp8_scaled_mm": ("tensorwise", fp8),
        "torchao_int8": ("plain", torchao),
    }
    for probe, (variant, wanted) in asked.items():
        found = expected(probe, variant, "cuda:0", gpus=[{"index": 0, "name": gpu}], **CURRENT)
        assert (probe, found) == (probe, wanted)


def test_products_of_a_torch_that_the_matrix_does_not_know_are_unknown() -> None:
    unknown = {"packages": {"torch": "9.9.9", "torchao": "9.9.9"}, "gpus": H100}
    for probe in ("torch_int_mm", "torch_fp8_scaled_mm", "torchao_int8"):
        assert expected(probe, "plain", "cuda:0", **unknown) == "unknown"
    assert expected("torch_fp8_scaled_mm", "rowwise", "cuda:0", **CURRENT, gpus=H100) == "unknown"
    assert expected("torchao_int8", "awkward", "cuda:0", **unknown) == "unknown"


def test_torchao_leaves_int8_at_awkward_sizes() -> None:
    assert expected("torchao_int8", "awkward", "cuda:0", **CURRENT, gpus=H100) == "fail"


def test_nothing_is_expected_of_an_unknown_probe() -> None:
    assert expected("some_probe", None, "cuda:0") == "unknown"


def test_names_only_layers_that_exist() -> None:
    rows = shipped().table("expectations")["rows"]
    assert rows
    assert not [name for row in rows for name in row["needs"] if name not in layers.__all__]


def test_says_why() -> None:
    seen = Observation(probe="half_gemm", outcome="failed", device="cuda:0")
    machine = complete(facts_with(gpus=B200), shipped())
    assert expect(seen, machine, shipped()).rule == "torch-no-sm-binary"
