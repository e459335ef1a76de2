"""The stages in order: the only module that sees every one of them. Prints nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING, Any

import msgspec

import qdoctor
from qdoctor import (
    diagnosis,
    exit_code,
    expectation,
    freshness,
    local_data,
    plan_verdict,
    planned,
    platforms,
    selection,
)
from qdoctor import matrix as matrices
from qdoctor.facts import collect, described, find_target
from qdoctor.facts.native import read_deciding
from qdoctor.facts.plan import overlay
from qdoctor.machine import complete
from qdoctor.model import Diagnosis, Facts, Observation, Report, Target, from_plain
from qdoctor.planned import Plan
from qdoctor.question import Question, check_names, known_name, named_driver, named_gpu
from qdoctor.rules import RULES

if TYPE_CHECKING:
    from datetime import date

    from qdoctor.exit_code import Need
    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix
    from qdoctor.model import Finding, Gpu
    from qdoctor.planned import Problem

Progress = Callable[[str], None]

_PLANNED = "the planned packages are not installed yet, so no probe ran: the matrix answers"
_NOT_REPLAYED = "the report's observations are left out: they were made on what the options replace"


@dataclass(frozen=True)
class Examination:
    """A report, and what an exit code needs beside it: how each need was answered."""

    report: Report
    needs: tuple[Need, ...] = ()


@dataclass(frozen=True)
class _Patient:
    """What is examined: facts as judged (``facts``) and as they really are here (``present``)."""

    target: Target
    facts: Facts
    present: Facts
    observations: tuple[Observation, ...] = ()
    gpu: Gpu | None = None
    plan: Plan = field(default_factory=Plan)


def _silent(_: str) -> None:
    pass


def _probe_names() -> tuple[str, ...]:
    from qdoctor.probes.catalog import names  # noqa: PLC0415 - read the kernels where asked for

    return names()


def examine(  # noqa: PLR0913 - what is asked, and what a test may hold still
    question: Question,
    *,
    environ: Mapping[str, str] | None = None,
    stdin: IO[bytes] | None = None,
    progress: Progress = _silent,
    matrix: Matrix | None = None,
    day: date | None = None,
) -> Report:
    """Run the whole river for one question. See ``examine_fully``."""
    return examine_fully(
        question, environ=environ, stdin=stdin, progress=progress, matrix=matrix, day=day
    ).report


def examine_fully(  # noqa: PLR0913 - likewise
    question: Question,
    *,
    environ: Mapping[str, str] | None = None,
    stdin: IO[bytes] | None = None,
    progress: Progress = _silent,
    matrix: Matrix | None = None,
    day: date | None = None,
) -> Examination:
    """Run the whole river: target, facts, probes, diagnosis, selection.

    ``stdin`` is read where ``facts_file`` is ``-``; ``progress`` gets one line a probe; ``matrix``
    is the shipped one and the user's own data by default; ``day`` (today by default) decides
    whether it is old. Raises ``BadInput`` for a question that cannot be asked.
    """
    env = os.environ if environ is None else environ
    known = matrix or local_data.current(env)
    check_names(question, [rule.name for rule in RULES], _probe_names)
    patient = look(question, environ=env, stdin=stdin, matrix=known)
    probed = _probed(patient, question, env, progress)
    old = freshness.notice(known, day or freshness.today())
    return _judged(_with(probed, probed.observations, *filter(None, [old])), question, known)


def look(
    question: Question,
    *,
    environ: Mapping[str, str],
    stdin: IO[bytes] | None = None,
    matrix: Matrix | None = None,
) -> _Patient:
    """Read the facts that a question is about, planned and named changes laid over them."""
    known = matrix or local_data.current(environ)
    gpu = named_gpu(question.gpu, known) if question.gpu is not None else None
    driver, assumed = named_driver(question, known)
    target, present, observations = _present(question, environ, stdin)
    if target.kind != "described":
        present = _inspected(present, known, environ)
    there, elsewhere = platforms.laid_over(present, question)
    plan = planned.read(question.specs, question.requirements, there, known)
    planned_packages = {**dict.fromkeys(plan.absent, ""), **plan.packages}
    facts = overlay(
        there, packages=planned_packages, gpus=None if gpu is None else [gpu], driver=driver
    )
    said = [*target.assumptions, *elsewhere, *_named(gpu), *assumed, *plan.assumptions]
    if observations and (_environment(facts), facts.gpus) != (_environment(present), present.gpus):
        observations, said = [], [*said, _NOT_REPLAYED]
    target = msgspec.structs.replace(target, assumptions=said)
    return _Patient(target, facts, present, tuple(observations), gpu, plan)


def _inspected(facts: Facts, matrix: Matrix, environ: Mapping[str, str]) -> Facts:
    """Let installed files answer for packages in a version that the matrix does not know."""
    installed = (facts.packages or {}).items()
    unknown = [name for name, own in installed if own and not matrix.matching(name, own)]
    return read_deciding(facts, unknown, environ) if unknown else facts


def _environment(facts: Facts) -> tuple[object, ...]:
    """What a plan and the options that name a machine replace."""
    return facts.packages, facts.host, facts.python


def _named(gpu: Gpu | None) -> list[str]:
    if gpu is None:
        return []
    named = f"{gpu.name} (SM {gpu.sm})" if gpu.name else f"a GPU of SM {gpu.sm}"
    return [f"{named} as the only GPU, whatever is in this machine"]


def _present(
    question: Question, environ: Mapping[str, str], stdin: IO[bytes] | None
) -> tuple[Target, Facts, list[Observation]]:
    if question.facts_file is None:
        target = find_target(question.python, environ)
        return target, collect(target, environ), []
    facts, observations = described.read(question.facts_file, stdin)
    origin = "standard input" if question.facts_file == "-" else question.facts_file
    return Target(kind="described", chosen_by=f"--facts {origin}"), facts, observations


def _probed(
    patient: _Patient, question: Question, environ: Mapping[str, str], progress: Progress
) -> _Patient:
    """Let the probes run, unless the machine is described or its packages are only planned."""
    if question.probe == "none" or patient.target.kind == "described":
        return patient
    if "python" in (patient.present.unread or {}):
        return patient  # an interpreter that does not answer runs no probe: one finding says so
    if _environment(patient.facts) != _environment(patient.present):
        return _with(patient, [], _PLANNED)
    from qdoctor.probes import observe  # noqa: PLC0415 - a check of files alone needs no engine

    facts, environ = _without_foreign_gpus(patient, environ)
    compile_for = [patient.gpu.sm] if patient.gpu is not None and patient.gpu.sm else []
    seen = observe(
        patient.target,
        facts,
        level=question.probe,
        compile_for=compile_for,
        progress=progress,
        environ=environ,
    )
    return _with(patient, seen)


def _without_foreign_gpus(
    patient: _Patient, environ: Mapping[str, str]
) -> tuple[Facts, Mapping[str, str]]:
    """Hide this machine's GPUs where the question is about another one: probes then compile."""
    here = {gpu.sm for gpu in patient.present.gpus or []}
    if patient.gpu is None or patient.gpu.sm in here:
        return patient.present, environ
    hidden = {**environ, "CUDA_VISIBLE_DEVICES": ""}
    return msgspec.structs.replace(patient.present, gpus=[]), hidden


def _with(patient: _Patient, seen: Sequence[Observation], *said: str) -> _Patient:
    assumptions = [*patient.target.assumptions, *said]
    target = msgspec.structs.replace(patient.target, assumptions=assumptions)
    return replace(patient, target=target, observations=tuple(seen))


def _judged(patient: _Patient, question: Question, matrix: Matrix) -> Examination:
    answer, seen, machine = _diagnosed(
        patient.facts,
        patient.observations,
        question.error,
        question.need,
        matrix,
        refused=patient.plan.problems,
    )
    findings = [one for one in answer.findings if one.rule not in question.ignore]
    plan = plan_verdict.judge(patient.plan, machine, answer.verdicts, matrix)
    wanted = exit_code.needs(question.need, patient.facts, seen, answer.verdicts)
    wanted += plan_verdict.needs(plan)
    code = exit_code.exit_code(findings, seen, wanted, question.fail_on)
    if any(one.rule == diagnosis.RULE_FAILED for one in answer.findings):
        code = exit_code.OUR_BUG
    report = Report(
        tool_version=qdoctor.__version__,
        matrix_version=matrix.version,
        target=patient.target,
        facts=patient.facts,
        observations=seen,
        findings=findings,
        verdicts=answer.verdicts,
        selected=answer.selected,
        exit_code=code,
        plan=plan,
    )
    return Examination(report, tuple(wanted))


def _diagnosed(  # noqa: PLR0913 - the question has these parts
    facts: Facts,
    observations: Sequence[Observation],
    error: str | None,
    need: Sequence[str],
    matrix: Matrix,
    *,
    refused: Sequence[Problem] = (),
) -> tuple[Diagnosis, list[Observation], Machine]:
    seen = expectation.annotate(list(observations), complete(facts, matrix), matrix)
    machine, findings = diagnosis.diagnose(facts, seen, error, need, matrix, refused=refused)
    verdicts = selection.judge(machine, seen, findings, matrix)
    return Diagnosis(findings, verdicts, selection.select(verdicts)), seen, machine


def diagnose(
    facts: Facts | Mapping[str, Any],
    error: str | None = None,
    observations: Sequence[Observation | Mapping[str, Any]] = (),
    need: Sequence[str] = (),
    matrix: Matrix | None = None,
) -> Diagnosis:
    """Judge a described machine; pure: no machine is touched.

    Args:
        facts: ``Facts``, or a plain dict of ``qdoctor/facts/1``; everything missing is unknown.
        error: an error text or a whole log to explain.
        observations: what probes saw there, as nouns or plain dicts of a report.
        need: backends, ``gpu`` or probes that must work.
        matrix: the compatibility data; the shipped one by default.

    Returns:
        Findings, the cause before its symptoms, and a verdict for every backend.

    Raises:
        BadInput: ``facts`` or an observation does not have the shape of the contract, or a need
            does not exist.
    """
    check_names(Question(need=tuple(need)), (), _probe_names)
    plain = facts if isinstance(facts, Facts) else from_plain(dict(facts), Facts, "facts")
    read = described.checked(plain, "facts")
    seen = [
        one if isinstance(one, Observation) else from_plain(dict(one), Observation, "observations")
        for one in observations
    ]
    return _diagnosed(read, seen, error, need, matrix or matrices.shipped())[0]


def explaining(report: Report) -> list[Finding]:
    """The findings of a report that explain its error text, the best first."""
    return [finding for finding in report.findings if finding.explains_error]


def documentation(rule: str) -> str:
    """What one rule means. Raises ``BadInput`` with the nearest names for an unknown one."""
    documented = {one.name: one.doc for one in RULES}
    return documented[known_name(rule, documented, "rule")]
