"""Verdicts on all backends: by the matrix, by what ran here, and the one that is selected."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from qdoctor import layers
from qdoctor.machine import complete
from qdoctor.matrix import shipped
from qdoctor.model import Finding, Observation, Verdict
from qdoctor.selection import judge, select
from tests.layers.conftest import facts_with

BACKENDS = [
    *("half", "bnb-int8", "bnb-nf4", "bnb-fp4", "bnb-switchback", "qdoctor-switchback"),
    *("torch-fp8", "torchao-int8", "torchao-fp8", "torchao-int4", "torchao-mxfp4", "torchao-nvfp4"),
]
SHAPE = {"rows": 4096.0, "depth": 1280.0, "columns": 5120.0}
CURRENT = {"torch": "2.11.0", "triton": "3.6.0", "bitsandbytes": "0.50.2", "torchao": ""}
H200: dict[str, Any] = {
    "packages": CURRENT,
    "driver": {"version": "580.95.05"},
    "gpus": [{"index": 0, "name": "NVIDIA H200"}],
}
V100 = {"gpus": [{"index": 0, "name": "Tesla V100-SXM2-16GB"}]}
CPU = {"packages": {**CURRENT, "torch": "2.13.0+cpu"}, "gpus": []}


def seen(probe: str, outcome: str = "passed", **more: Any) -> Observation:  # noqa: ANN401
    fields = {"device": "cuda:0", **more}
    return msgspec.convert({"probe": probe, "outcome": outcome, **fields}, Observation)


HALF = seen(
    "half_gemm", variant="half", numbers={"rel_error": 0.003, "milliseconds": 0.08, **SHAPE}
)
OURS = seen(
    "switchback_forward",
    variant="qdoctor",
    numbers={"max_rel_error": 0.013, "timed_rel_error": 0.012, "milliseconds": 0.04, **SHAPE},
)


def verdicts(
    changes: dict[str, Any], *observations: Observation, findings: tuple[Finding, ...] = ()
) -> dict[str, Verdict]:
    machine = complete(facts_with(**changes), shipped())
    found = judge(machine, observations, findings, shipped())
    return {one.backend: one for one in found}


def usable(found: dict[str, Verdict]) -> list[str]:
    return [name for name, one in found.items() if one.usable == "yes"]


def test_all_in_the_contracts_order_each_with_a_reason() -> None:
    found = verdicts({})
    assert list(found) == BACKENDS
    assert all(one.reason for one in found.values())


def test_a_v100_is_offered_four_bit() -> None:
    found = verdicts(V100)
    assert usable(found) == ["half", "bnb-nf4", "bnb-fp4"]
    assert found["bnb-int8"].rule == "sm-lacks-int8-tensor-cores"
    assert "merging" in found["bnb-int8"].reason
    assert select(list(found.values())) == "bnb-nf4"


def test_openclips_switchback_is_answered_with_linear8bitlt() -> None:
    found = verdicts({})
    assert found["bnb-switchback"].rule == "triton-libdevice-removed"
    assert select(list(found.values())) == "bnb-int8"


def test_a_current_h200_by_the_matrix_alone_claims_no_numbers_of_speed() -> None:
    found = verdicts(H200)
    assert usable(found) == [
        "half",
        "bnb-int8",
        "bnb-nf4",
        "bnb-fp4",
        "qdoctor-switchback",
        "torch-fp8",
    ]
    assert {one.milliseconds for one in found.values()} == {None}
    assert {one.measured_on for one in found.values()} == {None}
    assert all("not run here" in found[name].reason for name in usable(found))


def test_without_a_gpu_the_cpu_is_judged() -> None:
    found = verdicts(CPU)
    on_cpu = ["half", "bnb-int8", "bnb-nf4", "bnb-fp4", "qdoctor-switchback", "torch-fp8"]
    assert usable(found) == on_cpu
    assert found["torchao-nvfp4"].rule == "no-cuda-gpu"


def test_without_torch_nothing_works() -> None:
    found = verdicts({"packages": {"torch": ""}, "gpus": []})
    assert {one.usable for one in found.values()} == {"no"}
    assert select(list(found.values())) is None


def test_an_unknown_gpu_is_never_green() -> None:
    found = verdicts({"gpus": None})
    assert usable(found) == []
    assert found["half"].usable == "unknown"


def test_what_fails_with_and_without_a_gpu_fails_where_the_gpu_is_unknown() -> None:
    found = verdicts({"gpus": None, "packages": {"bitsandbytes": ""}})
    assert (found["bnb-nf4"].usable, found["half"].usable) == ("no", "unknown")


def test_a_passed_probe_brings_numbers_and_where_they_were_measured() -> None:
    found = verdicts(H200, HALF, OURS)
    ours = found["qdoctor-switchback"]
    assert (ours.usable, ours.rel_error, ours.milliseconds) == ("yes", 0.012, 0.04)
    assert ours.speedup_vs_half == pytest.approx(2.0)
    assert ours.measured_on is not None
    assert "H200" in ours.measured_on


def test_no_speedup_between_different_shapes() -> None:
    other = msgspec.structs.replace(HALF, numbers={**HALF.numbers, "rows": 1.0})
    assert verdicts(H200, other, OURS)["qdoctor-switchback"].speedup_vs_half is None


def test_what_ran_outranks_the_matrix_both_ways() -> None:
    unread = {**H200, "packages": {**CURRENT, "torch": "9.9.9"}}
    assert verdicts(unread)["half"].usable == "unknown"
    assert verdicts(unread, HALF)["half"].usable == "yes"
    wrong = seen("switchback_forward", "wrong", variant="qdoctor", detail="error 0.5")
    found = verdicts(H200, HALF, wrong)["qdoctor-switchback"]
    assert (found.usable, found.rule) == ("no", "probe-contradicts-matrix")
    assert "switchback_forward" in found.reason
    assert found.rel_error is None


def test_a_slow_path_is_named_as_such() -> None:
    slow = seen("switchback_forward", "wrong", variant="qdoctor", code="silent-slow-path")
    assert verdicts(H200, slow)["qdoctor-switchback"].rule == "silent-slow-path"


@pytest.mark.parametrize(
    ("version", "variant"), [("0.50.2", "row-major"), ("0.42.0", "col32_2r_4r4")]
)
def test_int8_stands_with_the_layout_that_its_release_uses(version: str, variant: str) -> None:
    changes = {"packages": {"torch": "2.4.0", "triton": "3.0.0", "bitsandbytes": version}}
    failed = seen("cublaslt_igemm", "failed", variant=variant, code="not-supported")
    assert verdicts(changes)["bnb-int8"].usable == "yes"
    assert verdicts(changes, failed)["bnb-int8"].usable == "no"
    other = "col4_4r2_8c"
    assert (
        verdicts(changes, msgspec.structs.replace(failed, variant=other))["bnb-int8"].usable
        == "yes"
    )


INT8 = {
    "linear": seen(
        "bnb_int8", variant="linear", numbers={"timed_rel_error": 0.011, "milliseconds": 0.16}
    ),
    "linear-outliers": seen("bnb_int8", variant="linear-outliers", numbers={"rel_error": 0.009}),
    "matmul": seen("bnb_int8", variant="matmul", numbers={"sums": 20_000.0}),
}


def without(variant: str, **more: Any) -> tuple[Observation, ...]:  # noqa: ANN401
    worse = seen("bnb_int8", variant=variant, **more)
    return tuple({**INT8, variant: worse}.values())


def test_bitsandbytes_int8_rests_on_its_own_layer() -> None:
    found = verdicts(H200, *INT8.values())["bnb-int8"]
    assert (found.usable, found.rel_error, found.milliseconds) == ("yes", 0.011, 0.16)
    assert "bnb_int8 (linear) passed" in found.reason


@pytest.mark.parametrize("variant", ["matmul", "linear", "linear-outliers"])
def test_int8_falls_with_any_part_that_it_needs(variant: str) -> None:
    broken = without(variant, outcome="wrong", code="wrong-value", detail="too far")
    found = verdicts(H200, *broken)["bnb-int8"]
    assert (found.usable, found.rule) == ("no", "probe-contradicts-matrix")
    assert f"bnb_int8 ({variant}) computed wrongly: too far" in found.reason


def test_an_int8_layer_on_the_slow_path_is_no_int8() -> None:
    slow = without("linear", outcome="wrong", code="silent-slow-path")
    found = verdicts(H200, *slow)["bnb-int8"]
    assert (found.usable, found.rule) == ("no", "silent-slow-path")


def test_an_odd_depth_and_a_bare_product_decide_nothing_about_the_layer() -> None:
    odd = seen("bnb_int8", "wrong", variant="matmul-odd-k", code="silent-slow-path")
    assert verdicts(H200, *INT8.values(), odd)["bnb-int8"].usable == "yes"
    found = verdicts(H200, INT8["matmul"])["bnb-int8"]
    assert (found.usable, found.measured_on) == ("yes", None)
    assert "not run here" in found.reason


def test_a_layer_that_was_left_out_changes_nothing_of_one_that_ran() -> None:
    starved = without("linear-outliers", outcome="skipped", code="out-of-memory")
    assert verdicts(H200, *starved)["bnb-int8"].usable == "yes"


def test_each_four_bit_format_by_its_own_variant() -> None:
    numbers = {"rel_error": 0.0917, "milliseconds": 0.05, **SHAPE}
    nf4 = seen("bnb_4bit", variant="nf4", numbers=numbers)
    fp4 = seen("bnb_4bit", "failed", variant="fp4", detail="no kernel image")
    found = verdicts(H200, HALF, nf4, fp4)
    assert found["bnb-nf4"].usable == "yes"
    assert found["bnb-nf4"].speedup_vs_half == pytest.approx(1.6)
    assert (found["bnb-fp4"].usable, found["bnb-fp4"].rule) == ("no", "probe-contradicts-matrix")


def test_four_bit_that_ran_on_the_cpu_says_nothing_of_a_gpu() -> None:
    nf4 = seen("bnb_4bit", variant="nf4", device="cpu", numbers={"rel_error": 0.09})
    assert verdicts(H200, nf4)["bnb-nf4"].measured_on is None
    on_cpu = verdicts(CPU, nf4)["bnb-nf4"]
    assert (on_cpu.usable, on_cpu.measured_on) == ("yes", "the CPU")


AVX512 = {**CPU, "host": {"os": "linux", "machine": "x86_64", "cpu_features": ["avx512f"]}}
NF4_ON_CPU = seen("bnb_4bit", variant="nf4", device="cpu", numbers={"rel_error": 0.09})
LIMIT = "a multiple of 16 and not of 64"


def test_four_bit_that_is_wrong_for_some_sizes_is_usable_and_says_so() -> None:
    uneven = seen("bnb_4bit", "wrong", variant="nf4-uneven", device="cpu", code="wrong-value")
    for found in (verdicts(AVX512, NF4_ON_CPU, uneven), verdicts(AVX512, NF4_ON_CPU)):
        assert found["bnb-nf4"].usable == "yes"
        assert LIMIT in found["bnb-nf4"].reason
    assert LIMIT in verdicts(AVX512)["bnb-fp4"].reason
    assert LIMIT not in verdicts(AVX512)["bnb-int8"].reason


def test_no_limit_is_told_where_all_sizes_passed_or_nothing_is_known_of_the_cpu() -> None:
    uneven = seen("bnb_4bit", variant="nf4-uneven", device="cpu")
    assert "; but " not in verdicts(AVX512, NF4_ON_CPU, uneven)["bnb-nf4"].reason
    assert "; but " not in verdicts(CPU, NF4_ON_CPU)["bnb-nf4"].reason
    assert "; but " not in verdicts({**H200, "host": AVX512["host"]})["bnb-nf4"].reason


def test_a_wrong_size_that_the_matrix_does_not_know_of_is_told_too() -> None:
    nf4 = seen("bnb_4bit", variant="nf4", numbers={"rel_error": 0.09})
    uneven = seen("bnb_4bit", "wrong", variant="nf4-uneven", detail="wrong for 16, 48")
    found = verdicts(H200, nf4, uneven)["bnb-nf4"]
    assert found.usable == "yes"
    assert found.reason.endswith("; but the probe bnb_4bit (nf4-uneven) wrong: wrong for 16, 48")


def test_torch_failing_on_the_gpu_takes_every_backend_of_torch_with_it() -> None:
    found = verdicts(H200, seen("half_gemm", "crashed", variant="half", detail="SIGSEGV"))
    assert usable(found) == []
    assert "half_gemm" in found["bnb-nf4"].reason


def test_a_timeout_tells_nothing() -> None:
    slow = seen("switchback_forward", "timed-out", variant="qdoctor")
    assert verdicts(H200, slow)["qdoctor-switchback"].usable == "unknown"


def test_a_skipped_probe_changes_nothing() -> None:
    skipped = seen("switchback_forward", "skipped", variant="qdoctor", code="no-gpu")
    assert verdicts(H200, skipped) == verdicts(H200)


def test_compiling_proves_a_failure_but_no_success() -> None:
    compiled: dict[str, Any] = {"variant": "qdoctor", "device": "sm_90", "ran": False}
    assert verdicts(H200, seen("switchback_forward", **compiled)) == verdicts(H200)
    failed = seen("switchback_forward", "failed", **compiled)
    assert verdicts(H200, failed)["qdoctor-switchback"].usable == "no"
    elsewhere = msgspec.structs.replace(failed, device="sm_70")
    assert verdicts(H200, elsewhere) == verdicts(H200)


def test_another_device_proves_nothing_here() -> None:
    assert verdicts(H200, msgspec.structs.replace(OURS, device="cuda:1")) == verdicts(H200)


def test_a_sure_finding_takes_away_what_it_affects() -> None:
    finding = Finding(rule="some-rule", severity="error", title="it is broken", affects=["bnb-nf4"])
    found = verdicts(H200, findings=(finding,))["bnb-nf4"]
    assert (found.usable, found.rule, found.reason) == ("no", "some-rule", "it is broken")
    open_one = msgspec.structs.replace(finding, undecided="the driver's version")
    assert verdicts(H200, findings=(open_one,))["bnb-nf4"].usable == "yes"


def test_only_what_is_usable_is_selected() -> None:
    no = Verdict(backend="bnb-int8", usable="no", reason="")
    unknown = Verdict(backend="bnb-nf4", usable="unknown", reason="")
    half = Verdict(backend="half", usable="yes", reason="")
    assert select([no, unknown, half]) == "half"
    assert select([no, unknown]) is None


def test_the_table_names_layers_that_exist_and_ranks_each_backend_once() -> None:
    table = shipped().table("backends")
    rows = table["rows"].values()
    named = [name for row in rows for name in [*row["layers"], *(row["cpu_layers"] or ())]]
    named += [name for proof in table["proofs"] for name in [*proof["layers"], *proof["denies"]]]
    assert not [name for name in named if name not in layers.__all__]
    assert sorted(row["preference"] for row in rows) == list(range(1, len(BACKENDS) + 1))


def test_a_product_on_the_cpu_opens_no_layer_of_the_gpu() -> None:
    on_cpu = seen("half_gemm", variant="half", device="cpu", numbers={"rel_error": 0.0017})
    found = verdicts(CPU, on_cpu)
    assert found["half"].measured_on == "the CPU"
    assert found["bnb-int8"].usable == "yes"
    assert found["bnb-switchback"].usable == "no"
    assert found["torchao-nvfp4"].reason == "there is no NVIDIA GPU"
    assert found["torchao-nvfp4"].usable == "no"


def test_an_absent_torch_is_not_called_a_cpu_build() -> None:
    found = verdicts({"packages": {**CURRENT, "torch": ""}})
    assert {one.rule for one in found.values()} == {"torch-not-installed"}


def test_what_ran_faster_than_half_is_selected_before_what_was_not_measured() -> None:
    slow = msgspec.structs.replace(OURS, numbers={**OURS.numbers, "milliseconds": 0.16})
    faster, slower, unmeasured = (
        verdicts(H200, HALF, OURS),
        verdicts(H200, HALF, slow),
        verdicts(H200),
    )
    assert select(list(faster.values())) == "qdoctor-switchback"
    assert select(list(slower.values())) == "bnb-int8"
    assert select(list(unmeasured.values())) == "bnb-int8"


def told(backend: str, speedup: float | None) -> Verdict:
    return Verdict(backend=backend, usable="yes", reason="told", speedup_vs_half=speedup)


def test_what_ran_slower_than_half_comes_after_half() -> None:
    slow = [told("half", 1.0), told("bnb-int8", 0.45), told("bnb-nf4", 0.7)]
    assert select(slow) == "half"
    assert select([*slow, told("qdoctor-switchback", None)]) == "qdoctor-switchback"
    assert select(slow[1:]) == "bnb-int8"


def test_a_difference_inside_the_spread_decides_nothing() -> None:
    for speed in (0.98, 1.0, 1.02):
        assert (
            select([told("half", 1.0), told("qdoctor-switchback", speed)]) == "qdoctor-switchback"
        )


@pytest.mark.parametrize(
    ("backend", "probe", "variant", "other"),
    [
        ("torch-fp8", "torch_fp8_scaled_mm", "tensorwise", "rowwise"),
        ("torchao-int8", "torchao_int8", "plain", "awkward"),
        ("torchao-fp8", "torchao_formats", "fp8", "int4"),
        ("torchao-int4", "torchao_formats", "int4", "fp8"),
    ],
)
def test_torchs_and_torchaos_verdicts_rest_on_their_probes(
    backend: str, probe: str, variant: str, other: str
) -> None:
    numbers = {"rel_error": 0.02, "timed_rel_error": 0.03, "milliseconds": 0.04, **SHAPE}
    passed = seen(probe, variant=variant, numbers=numbers)
    slow = {"outcome": "wrong", "code": "silent-slow-path"}
    aside = seen(probe, variant=other, **slow)
    changes = {**H200, "packages": {**CURRENT, "torchao": "0.18.0"}}
    found = verdicts(changes, HALF, passed, aside)[backend]
    assert (found.usable, found.rel_error, found.speedup_vs_half) == ("yes", 0.03, 2.0)
    found = verdicts(changes, HALF, seen(probe, variant=variant, **slow))[backend]
    assert (found.usable, found.rule) == ("no", "silent-slow-path")
    unasked = verdicts(changes, HALF)[backend]
    assert unasked.milliseconds is None


def test_a_driver_that_opens_no_gpu_takes_every_backend_of_the_gpu_with_it() -> None:
    words = "cuInit answered CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803)"
    broken = seen("cuda_alive", "failed", variant="context", code="driver-mismatch", detail=words)
    found = verdicts(H200, broken)
    assert usable(found) == []
    assert words in found["half"].reason
    assert usable(verdicts(H200, seen("cuda_alive", variant="context"))) == usable(verdicts(H200))
    taken = seen("cuda_alive", "skipped", variant="context", code="gpu-busy", ran=False)
    assert usable(verdicts(H200, taken)) == usable(verdicts(H200))
