"""Several GPUs: what is true of each, of all, and of the one that is used unless told otherwise."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from qdoctor import judging
from qdoctor.expectation import annotate
from qdoctor.machine import complete
from qdoctor.matrix import shipped
from qdoctor.model import Facts, Finding, GpuVerdicts, Observation
from qdoctor.plan import Plan
from qdoctor.several_gpus import holds_on, looks, merged, share_a_gpu
from tests.layers.conftest import facts_with

A100 = {"name": "NVIDIA A100-SXM4-80GB"}
V100 = {"name": "Tesla V100-SXM2-16GB"}
H100 = {"name": "NVIDIA H100 80GB HBM3"}
HIDDEN = {**V100, "vendor": "nvidia", "visible": False}
INT8 = {"variant": "row-major"}
CURRENT = {"torch": "2.7.1", "triton": "3.3.1", "bitsandbytes": "0.47.0"}


def numbered(*gpus: dict[str, Any]) -> list[dict[str, Any]]:
    """Number what can be used, as collecting does."""
    usable = [gpu for gpu in gpus if gpu.get("visible") is not False]
    return [{"index": at, "vendor": "nvidia", **gpu} for at, gpu in enumerate(usable)] + [
        gpu for gpu in gpus if gpu not in usable
    ]


def seen(probe: str, outcome: str, device: str, **more: Any) -> Observation:  # noqa: ANN401
    return msgspec.convert(
        {"probe": probe, "outcome": outcome, "device": device, **more}, Observation
    )


def judged(
    *gpus: dict[str, Any],
    observations: tuple[Observation, ...] = (),
    error: str | None = None,
    need: tuple[str, ...] = (),
    **changes: Any,  # noqa: ANN401 - any key of the facts
) -> judging.Opinion:
    changes = {"packages": CURRENT, "driver": {"version": "580.95.05"}, **changes}
    facts = facts_with(gpus=numbered(*gpus), **changes)
    return judging.judge(facts, observations, error, need, matrix=shipped(), plan=Plan())


def usable(gpu: GpuVerdicts) -> set[str]:
    return {one.backend for one in gpu.verdicts if one.usable == "yes"}


def of(opinion: judging.Opinion, backend: str) -> tuple[str, str]:
    (one,) = [each for each in opinion.diagnosis.verdicts if each.backend == backend]
    return one.usable, one.reason


def test_one_gpu_gets_no_list_of_several() -> None:
    for gpus in ((A100,), (A100, HIDDEN), ()):
        answer = judged(*gpus).diagnosis
        assert (answer.gpu_verdicts, answer.selected_on_every_gpu) == ([], None)


def test_two_equal_gpus_share_every_finding_and_verdict() -> None:
    alone, both = judged(A100).diagnosis, judged(A100, A100).diagnosis
    assert [one.rule for one in both.findings] == [one.rule for one in alone.findings]
    assert all(one.devices == [] for one in both.findings)
    assert both.verdicts == alone.verdicts
    first, second = both.gpu_verdicts
    assert (first.index, second.index) == (0, 1)
    assert first.verdicts == second.verdicts == alone.verdicts
    assert both.selected_on_every_gpu == both.selected == alone.selected


def test_mixed_gpus_are_judged_each_by_its_own_sm() -> None:
    opinion = judged(A100, V100)
    ampere, volta = opinion.diagnosis.gpu_verdicts
    assert (ampere.sm, volta.sm) == ("8.0", "7.0")
    assert "bnb-int8" in usable(ampere)
    assert "bnb-int8" not in usable(volta)
    assert (ampere.selected, volta.selected) == ("bnb-int8", "bnb-nf4")
    assert opinion.diagnosis.selected == "bnb-int8"
    assert opinion.diagnosis.selected_on_every_gpu == "bnb-nf4"
    answer, reason = of(opinion, "bnb-int8")
    assert answer == "yes"
    assert reason.endswith("; not on cuda:1")
    (lacking,) = [
        one for one in opinion.diagnosis.findings if one.rule == "sm-lacks-int8-tensor-cores"
    ]
    assert lacking.devices == ["cuda:1"]


def test_the_library_that_old_bitsandbytes_chose_for_the_newer_gpu_fails_on_the_older() -> None:
    old = {"torch": "2.1.2", "triton": "2.1.0", "bitsandbytes": "0.42.0"}
    alone, beside = judged(V100, packages=old), judged(A100, V100, packages=old)
    assert alone.diagnosis.selected == "bnb-nf4"
    assert beside.diagnosis.gpu_verdicts[1].selected == "half"


def test_the_order_of_cuda_visible_devices_decides_which_is_first() -> None:
    opinion = judged(V100, A100)
    assert opinion.diagnosis.selected == "bnb-nf4"
    assert [one.selected for one in opinion.diagnosis.gpu_verdicts] == ["bnb-nf4", "bnb-int8"]
    answer, reason = of(opinion, "bnb-int8")
    assert answer == "no"
    assert reason.endswith("; works on cuda:1")


def test_a_need_is_asked_of_the_first_gpu() -> None:
    def severity(*gpus: dict[str, Any]) -> str:
        found = judged(*gpus, need=("bnb-int8",)).diagnosis.findings
        return next(one.severity for one in found if one.rule == "sm-lacks-int8-tensor-cores")

    assert severity(A100, V100) == "note"
    assert severity(V100, A100) == "error"


def test_a_hidden_gpu_is_named_and_not_judged() -> None:
    opinion = judged(A100, HIDDEN)
    assert opinion.diagnosis.verdicts == judged(A100).diagnosis.verdicts
    assert opinion.diagnosis.findings == judged(A100).diagnosis.findings


def test_a_mig_slice_is_judged_alone() -> None:
    part = {**A100, "mig": "1g.10gb"}
    other = {**A100, "mig": "2g.20gb", "vendor": "nvidia", "visible": False}
    answer = judged(part, other).diagnosis
    assert answer.gpu_verdicts == []
    assert answer.selected == judged(A100).diagnosis.selected


def eight(failing: int, **failure: Any) -> tuple[Observation, ...]:  # noqa: ANN401
    return tuple(
        seen("half_gemm", "passed", f"cuda:{at}", variant="half")
        if at != failing
        else seen("half_gemm", device=f"cuda:{at}", variant="half", **failure)
        for at in range(8)
    )


def test_of_eight_gpus_the_broken_board_is_found() -> None:
    failure = {"outcome": "failed", "code": "failed", "detail": "uncorrectable ECC error"}
    opinion = judged(*[A100] * 8, observations=eight(5, **failure))
    (bad,) = [one for one in opinion.diagnosis.findings if one.severity == "error"]
    assert (bad.rule, bad.devices) == ("probe-contradicts-matrix", ["cuda:5"])
    assert "cuda:5" in bad.title
    assert [one.selected is None for one in opinion.diagnosis.gpu_verdicts] == [
        at == 5 for at in range(8)
    ]
    assert opinion.diagnosis.selected == "bnb-int8"
    assert opinion.diagnosis.selected_on_every_gpu is None
    answer, reason = of(opinion, "half")
    assert answer == "yes"
    assert reason.endswith("; not on cuda:5")


@pytest.mark.parametrize(
    ("gpus", "first", "action"),
    [
        ((A100, A100), "passed", "change-hardware"),
        ((A100, A100), "wrong", "reinstall"),  # both fail: it is not the board
        ((A100, A100), "timed-out", "reinstall"),  # unknown: nothing speaks against the board
        ((V100, A100), "passed", "reinstall"),  # another model proves nothing
    ],
)
def test_the_fix_is_about_the_board_only_where_an_equal_one_passes(
    gpus: tuple[dict[str, Any], ...], first: str, action: str
) -> None:
    ran = (
        seen("half_gemm", first, "cuda:0", variant="half"),
        seen("half_gemm", "wrong", "cuda:1", variant="half"),
    )
    found = judged(*gpus, observations=ran).diagnosis.findings
    (bad,) = [
        one for one in found if one.rule == "probe-contradicts-matrix" and one.devices == ["cuda:1"]
    ]
    assert [fix.action for fix in bad.fixes] == [action]


def test_a_board_that_did_not_answer_is_unknown_not_broken() -> None:
    opinion = judged(*[A100] * 8, observations=eight(5, outcome="timed-out", code="timed-out"))
    assert [one.rule for one in opinion.diagnosis.findings if one.severity == "warning"] == [
        "probe-failed"
    ]
    assert of(opinion, "half")[1].endswith("; not known on cuda:5")


def test_the_first_board_broken_takes_the_selection_away() -> None:
    opinion = judged(*[A100] * 2, observations=eight(0, outcome="crashed", code="sigsegv")[:2])
    assert opinion.diagnosis.selected is None
    assert of(opinion, "half")[1].endswith("; works on cuda:1")


def test_each_observation_is_held_against_its_own_gpu() -> None:
    machine = complete(facts_with(gpus=numbered(A100, V100)), shipped())
    each = [seen("cublaslt_igemm", "passed", f"cuda:{at}", variant="col32_2r_4r4") for at in (0, 1)]
    assert [one.expected for one in annotate(each, machine, shipped())] == ["pass", "fail"]


def test_what_was_measured_is_named_with_its_own_gpu() -> None:
    opinion = judged(A100, V100, observations=eight(-1)[:2])
    places = [
        next(one.measured_on for one in gpu.verdicts if one.backend == "half")
        for gpu in opinion.diagnosis.gpu_verdicts
    ]
    assert places == [
        "NVIDIA A100-SXM4-80GB (SM 8.0) (cuda:0)",
        "Tesla V100-SXM2-16GB (SM 7.0) (cuda:1)",
    ]


def test_an_error_text_of_the_second_gpu_is_explained() -> None:
    text = "NotImplementedError: igemmlt not available (probably built with NO_CUBLASLT)"
    found = judged(A100, V100, error=text).diagnosis.findings
    assert next(one.rule for one in found if one.explains_error and one.undecided is None) in {
        "sm-lacks-int8-tensor-cores",
        "bnb-mixed-sm-gpus",
    }


def unordered(*gpus: dict[str, Any]) -> Facts:
    """Mixed models whose order CUDA did not tell."""
    plain = [{"vendor": "nvidia", **gpu} for gpu in gpus]
    return facts_with(gpus=plain, packages=CURRENT, unread={"gpus": "CUDA did not tell the order"})


def test_where_the_order_is_unknown_so_is_what_differs() -> None:
    facts = unordered(A100, V100)
    ran = [seen("cublaslt_igemm", "passed", "cuda:0", **INT8)]
    answer = judging.judge(facts, ran, None, (), matrix=shipped(), plan=Plan()).diagnosis
    verdicts = {one.backend: one for one in answer.verdicts}
    assert verdicts["bnb-nf4"].usable == "yes"
    assert verdicts["bnb-int8"].usable == "unknown"
    assert "CUDA did not tell the order" in verdicts["bnb-int8"].reason
    assert [one.index for one in answer.gpu_verdicts] == [None, None]
    assert annotate(ran, complete(facts, shipped()), shipped())[0].expected == "unknown"


def test_equal_gpus_need_no_order() -> None:
    answer = judging.judge(
        unordered(A100, A100), (), None, (), matrix=shipped(), plan=Plan()
    ).diagnosis
    assert [one.index for one in answer.gpu_verdicts] == [0, 1]


NOTE = Finding(rule="r", severity="note", title="t")


def test_findings_of_all_looks_are_said_once() -> None:
    other = msgspec.structs.replace(NOTE, title="u")
    one, two = merged([[NOTE], [NOTE, other]])
    assert (one, two.devices) == (NOTE, ["cuda:1"])
    assert (holds_on(two, 0), holds_on(two, 1), holds_on(one, 7)) == (False, True, True)
    assert merged([[NOTE, NOTE]]) == [NOTE, NOTE]
    assert merged([]) == []


@pytest.mark.parametrize(
    ("mine", "others", "shared"),
    [([], ["cuda:1"], True), (["cuda:0"], ["cuda:1"], False), (["cuda:1"], ["cuda:1"], True)],
)
def test_a_cause_on_another_gpu_is_none(mine: list[str], others: list[str], shared: bool) -> None:  # noqa: FBT001
    one, other = (msgspec.structs.replace(NOTE, devices=each) for each in (mine, others))
    assert share_a_gpu(one, other) is share_a_gpu(other, one) is shared


def test_what_ran_on_no_gpu_or_an_unknown_one_is_not_lost() -> None:
    machine = complete(facts_with(gpus=numbered(A100, A100)), shipped())
    each = [seen("p", "passed", device) for device in ("cpu", "sm_70", "cuda:1", "cuda:7")]
    first, second = looks(machine, each)
    assert [one.device for one in first.observations] == ["cpu", "sm_70", "cuda:7"]
    assert [one.device for one in second.observations] == ["cpu", "sm_70", "cuda:1"]
