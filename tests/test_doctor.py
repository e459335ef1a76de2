from __future__ import annotations

import errno
import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import qdoctor
from qdoctor import doctor, model
from qdoctor.model import BadInput, Driver, Facts, Gpu, Observation, Target
from qdoctor.question import BACKENDS, Question

V100: dict[str, Any] = {
    "host": {"os": "linux", "machine": "x86_64", "libc": "glibc 2.31", "c_compiler": True},
    "python": {"version": "3.10.12", "headers": True},
    "packages": {"torch": "2.5.1+cu121", "triton": "3.1.0", "bitsandbytes": "0.44.1"},
    "torch_cuda": "12.1",
    "torch_arch_list": ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"],
    "driver": {"version": "535.104.05", "cuda": "12.2"},
    "gpus": [{"index": 0, "name": "Tesla V100-SXM2-16GB", "sm": "7.0"}],
}
NO_CUBLASLT = "NotImplementedError: igemmlt not available (probably built with NO_CUBLASLT)"
LIBDEVICE = "AttributeError: module 'triton.language' has no attribute 'libdevice'"


def described(facts: dict[str, Any], **options: Any) -> model.Report:  # noqa: ANN401 - of Question
    question = Question(facts_file="-", **options)
    return doctor.examine(question, stdin=io.BytesIO(json.dumps(facts).encode()))


def test_every_backend_gets_a_verdict_with_a_reason() -> None:
    verdicts = qdoctor.diagnose(V100).verdicts
    assert [one.backend for one in verdicts] == list(BACKENDS)
    assert all(one.reason for one in verdicts)


def test_plain_facts_and_facts_get_the_same_diagnosis() -> None:
    facts = model.from_plain(V100, Facts, "test")
    assert qdoctor.diagnose(V100) == qdoctor.diagnose(facts)


def test_diagnosing_does_not_change_what_it_is_given() -> None:
    before = json.dumps(V100)
    qdoctor.diagnose(V100, error=NO_CUBLASLT, need=("bnb-int8",))
    assert json.dumps(V100) == before


def test_a_v100_without_igemmlt_is_told_the_cause_and_what_works() -> None:
    diagnosis = qdoctor.diagnose(V100, error=NO_CUBLASLT)
    assert diagnosis.findings[0].rule == "sm-lacks-int8-tensor-cores"
    assert diagnosis.findings[0].explains_error
    assert diagnosis.selected in {"half", "bnb-nf4"}


def test_open_clips_libdevice_error_is_told_the_cause() -> None:
    facts = {
        "host": {"os": "linux"},
        "packages": {"torch": "2.1.2", "bitsandbytes": "0.41.1"},
        "gpus": [{"name": "NVIDIA A100"}],
    }
    first = qdoctor.diagnose(facts, error=LIBDEVICE).findings[0]
    assert first.rule == "triton-libdevice-removed"
    assert first.explains_error
    assert first.severity == "error"


def test_severity_follows_need() -> None:
    def severities(*need: str) -> set[str]:
        found = qdoctor.diagnose(V100, need=need).findings
        return {one.severity for one in found if one.rule == "sm-lacks-int8-tensor-cores"}

    assert "error" not in severities()
    assert severities("bnb-int8") == {"error"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"facts": None}, "facts: a dict is meant"),
        ({"facts": "torch 2.1"}, "facts: a dict is meant"),
        ({"facts": {}, "error": 5}, "error: a text is meant, not int"),
        ({"facts": {}, "error": ValueError("x")}, "not ValueError"),
        ({"facts": {}, "observations": ["half_gemm"]}, "observations: a dict is meant"),
        ({"facts": {}, "need": "bnb-nf"}, "'bnb-nf'; did you mean bnb-nf4"),
    ],
)
def test_what_cannot_be_judged_is_bad_input(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=re.escape(said)):
        qdoctor.diagnose(**wrong)


def test_one_need_may_be_a_string() -> None:
    assert qdoctor.diagnose(V100, need="bnb-int8") == qdoctor.diagnose(V100, need=["bnb-int8"])


def test_plain_observations_of_a_report_are_taken() -> None:
    seen = {"probe": "half_gemm", "outcome": "passed", "device": "cuda:0"}
    assert qdoctor.diagnose(V100, observations=[seen]) == qdoctor.diagnose(
        V100, observations=[Observation(probe="half_gemm", outcome="passed", device="cuda:0")]
    )


@pytest.mark.parametrize(
    ("facts", "options"),
    [
        ({"gpu": []}, {}),
        ({"gpus": "V100"}, {}),
        (V100, {"need": ("bnb-int9",)}),
        (V100, {"observations": [{"probe": "x", "outcome": "fine"}]}),
    ],
)
def test_what_cannot_be_diagnosed_is_refused(
    facts: dict[str, Any], options: dict[str, Any]
) -> None:
    with pytest.raises(BadInput):
        qdoctor.diagnose(facts, **options)


def test_a_report_is_replayed_with_its_observations() -> None:
    first = described(V100)
    seen = [Observation(probe="half_gemm", outcome="passed", device="cuda:0")]
    saved = {**model.to_plain(first), "observations": [model.to_plain(one) for one in seen]}
    again = described(saved)
    assert [(one.probe, one.outcome) for one in again.observations] == [("half_gemm", "passed")]


def test_observations_of_what_is_replaced_are_not_replayed() -> None:
    seen = model.to_plain(Observation(probe="half_gemm", outcome="passed", device="cuda:0"))
    saved = {**model.to_plain(described(V100)), "observations": [seen]}
    report = described(saved, gpu="A100")
    assert report.observations == []
    assert any("observations are left out" in line for line in report.target.assumptions)


@pytest.mark.parametrize(("driver", "kept"), [("535.104.05", 1), ("580.65.06", 0), ("450.80", 0)])
def test_what_ran_on_one_driver_is_not_replayed_on_another(driver: str, kept: int) -> None:
    seen = [Observation(probe="half_gemm", outcome="passed", device="cuda:0")]
    saved = {**model.to_plain(described(V100)), "observations": [model.to_plain(seen[0])]}
    report = described(saved, driver=driver)
    assert len(report.observations) == kept
    assert any("left out" in one for one in report.target.assumptions) == (not kept)


def test_an_ignored_rule_is_left_out() -> None:
    rules = {one.rule for one in described(V100).findings}
    assert "sm-lacks-int8-tensor-cores" in rules
    left = described(V100, ignore=("sm-lacks-int8-tensor-cores",))
    assert rules - {one.rule for one in left.findings} == {"sm-lacks-int8-tensor-cores"}
    assert left.verdicts == described(V100).verdicts


def test_packages_that_are_only_planned_are_not_probed() -> None:
    question = Question(python=sys.executable, specs=("bitsandbytes==0.0.1",))
    report = doctor.examine(question)
    assert report.observations == []
    assert any("planned" in line for line in report.target.assumptions)
    assert report.facts.packages is not None
    assert report.facts.packages["bitsandbytes"] == "0.0.1"


@pytest.mark.skipif(sys.platform == "win32", reason="makes a POSIX virtual environment")
def test_an_interpreter_that_does_not_start_is_one_finding_and_runs_no_probe(
    tmp_path: Path,
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to("/nowhere/python")
    report = doctor.examine(Question(), environ={"VIRTUAL_ENV": str(tmp_path)})
    assert report.observations == []
    assert report.findings[0].severity == "error"
    assert report.exit_code == 1
    with pytest.raises(BadInput, match="leads to /nowhere/python"):
        doctor.examine(Question(python=str(tmp_path)))


@pytest.mark.parametrize("python", [None, sys.executable])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_full_temporary_folder_is_not_laid_to_the_interpreter(
    monkeypatch: pytest.MonkeyPatch, number: int, python: str | None
) -> None:
    def mkdtemp(*_: object, **__: object) -> str:
        raise OSError(number, os.strerror(number), "/tmp/qdoctor-facts-1")  # noqa: S108

    monkeypatch.setattr("tempfile.mkdtemp", mkdtemp)
    report = doctor.examine(Question(python=python))
    assert [one.rule for one in report.findings if one.severity == "error"] == [
        "no-temporary-folder"
    ]
    assert os.strerror(number) in report.findings[0].because[0].text
    assert (report.observations, report.exit_code) == ([], 1)


def test_a_check_without_probes_reads_this_interpreter() -> None:
    report = doctor.examine(Question(python=sys.executable, probe="none"))
    assert report.observations == []
    assert report.facts.python is not None
    assert report.facts.python.version == ".".join(map(str, sys.version_info[:3]))


def test_a_question_about_another_gpu_hides_those_that_are_here() -> None:
    here = Facts(gpus=[Gpu(sm="9.0")])
    target = Target("interpreter", "test")
    other = doctor._Patient(target, here, here, gpu=Gpu(sm="7.0"))
    facts, environ = doctor._without_foreign_gpus(other, {"PATH": "/bin"})
    assert facts.gpus == []
    assert environ == {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": ""}
    for gpu in (None, Gpu(sm="9.0")):
        same = doctor._Patient(target, here, here, gpu=gpu)
        assert doctor._without_foreign_gpus(same, {}) == (here, {})


def test_a_question_about_another_driver_hides_the_gpus_that_this_one_serves() -> None:
    target = Target(kind="interpreter", chosen_by="--python")
    here = Facts(gpus=[Gpu(index=0, sm="9.0")], driver=Driver(version="580.65.06", cuda="13.0"))
    for version, hidden in (("535.104.05", True), ("580.65.06", False), (None, False)):
        named = Facts(gpus=here.gpus, driver=Driver(version=version, cuda="13.0"))
        probed, environ = doctor._without_foreign_gpus(doctor._Patient(target, named, here), {})
        assert probed.gpus == ([] if hidden else here.gpus)
        assert ("CUDA_VISIBLE_DEVICES" in environ) == hidden


def test_without_torch_nothing_is_selected_and_nothing_fails() -> None:
    bare = {
        **V100,
        "packages": {"torch": "", "triton": "", "bitsandbytes": ""},
        "torch_cuda": None,
        "torch_arch_list": None,
    }
    report = described(bare)
    assert report.selected is None
    assert {one.usable for one in report.verdicts} == {"no"}
    assert report.exit_code == 0
    assert described(bare, need=("half",)).exit_code == 1


def test_the_running_interpreter_is_what_the_api_examines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path))
    report = qdoctor.check(probe="none")
    assert report.target.python is not None
    assert Path(report.target.python).samefile(sys.executable)
    assert report.target.chosen_by == "the running interpreter"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"need": None}, "need None: a list of names"),
        ({"need": [3]}, "is called 3"),
        ({"need": "bnb-nf5"}, "is called 'bnb-nf5'; did you mean"),
        ({"ignore": 7}, "ignore 7: a list of names"),
        ({"probe": "all"}, "no level of probing is called 'all'"),
    ],
    ids=str,
)
def test_what_the_api_cannot_be_asked_is_one_clear_error(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput) as error:
        qdoctor.check(**{"probe": "none", **wrong})
    assert said in str(error.value)


def test_every_rule_is_documented() -> None:
    assert "## What it finds" in doctor.documentation("triton-libdevice-removed")
    with pytest.raises(BadInput, match="did you mean triton-libdevice-removed"):
        doctor.documentation("triton-libdevice-remove")
