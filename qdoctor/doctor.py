"""The stages in order: the only module that sees every one of them. Prints nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

import msgspec

import qdoctor
from qdoctor import exit_code, freshness, local_data
from qdoctor import matrix as matrices
from qdoctor.beside import importing
from qdoctor.facts import collect, described, find_target
from qdoctor.facts.native import read_deciding
from qdoctor.facts.plan import overlay
from qdoctor.facts.triton_names import read_triton_has
from qdoctor.model import (
    NO_FOLDER,
    BadInput,
    Diagnosis,
    Facts,
    Observation,
    Report,
    Target,
    from_plain,
)
from qdoctor.plan import Plan
from qdoctor.question import Question, check_names, known_name, named_driver, named_gpu

if TYPE_CHECKING:
    from datetime import date

    from qdoctor.exit_code import Need
    from qdoctor.matrix import Matrix
    from qdoctor.model import Finding, Gpu
    from qdoctor.noun import AnyNoun

Progress = Callable[[str], None]

_NOT_ACTIVATED = frozenset({"--python", "./.venv"})
"""How a target is chosen that no activated environment, and so no plain ``python``, stands for."""
_NOT_ASKED = frozenset({"python", NO_FOLDER})
"""What ``Facts.unread`` holds where the interpreter told nothing."""
_PLANNED = "the planned packages are not installed yet, so no probe ran: the matrix answers"
_NOT_REPLAYED = "the report's observations are left out: they were made on what the options replace"


class Examination(msgspec.Struct, frozen=True):
    """A report, and what an exit code needs beside it: how each need was answered."""

    report: Report
    needs: tuple[Need, ...] = ()


class _Patient(msgspec.Struct, frozen=True):
    """What is examined: facts as judged (``facts``) and as they really are here (``present``)."""

    target: Target
    facts: Facts
    present: Facts
    observations: tuple[Observation, ...] = ()
    gpu: Gpu | None = None
    plan: Plan = msgspec.field(default_factory=Plan)


def _silent(_: str) -> None:
    pass


def _rule_names() -> tuple[str, ...]:
    from qdoctor import judging  # noqa: PLC0415 - see beside

    return tuple(judging.documentation())


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
    partial: bool = False,
) -> Examination:
    """Run the whole river: target, facts, probes, diagnosis, selection.

    ``stdin`` is read where ``facts_file`` is ``-``; ``progress`` gets one line a probe; ``matrix``
    is the shipped one and the user's own data by default; ``day`` (today by default) decides
    whether it is old. Whoever interrupts the probes interrupts the caller, unless a ``partial``
    report is wanted, on what is known by then. Raises ``BadInput`` for a question that cannot be
    asked.
    """
    env = os.environ if environ is None else environ
    known = matrix or local_data.current(env)
    check_names(question, _rule_names() if question.ignore else (), _probe_names)
    patient = look(question, environ=env, stdin=stdin, matrix=known)
    probed = _probed(patient, question, env, progress, known, partial=partial)
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
    there, elsewhere, plan = _planned(present, question, known)
    facts = overlay(
        there,
        packages=plan.laid_over,
        gpus=None if gpu is None else [gpu],
        driver=driver,
        unknown=plan.open,
    )
    said = [*target.assumptions, *elsewhere, *_named(gpu), *assumed, *plan.assumptions]
    if observations and (_environment(facts) != _environment(present) or _moved(facts, present)):
        observations, said = [], [*said, _NOT_REPLAYED]
    target = msgspec.structs.replace(target, assumptions=said)
    return _Patient(target, facts, present, tuple(observations), gpu, plan)


def _planned(
    present: Facts, question: Question, matrix: Matrix
) -> tuple[Facts, Sequence[str], Plan]:
    """Lay the machine that a plan is for over this one, and work the plan out for it."""
    if not question.plans:
        return present, [], Plan()
    from qdoctor import planned, platforms  # noqa: PLC0415 - most questions plan nothing

    there, said = platforms.laid_over(present, question)
    return there, said, planned.read(question.specs, question.requirements, there, matrix)


def _inspected(facts: Facts, matrix: Matrix, environ: Mapping[str, str]) -> Facts:
    """Let installed files answer for packages in a version that the matrix does not know."""
    installed = (facts.packages or {}).items()
    unknown = [name for name, own in installed if own and not matrix.matching(name, own)]
    if "triton" in unknown:
        facts = read_triton_has(facts)
    return read_deciding(facts, unknown, environ) if unknown else facts


def _moved(facts: Facts, present: Facts) -> bool:
    """Say whether the question is about other GPUs, or about another driver for them."""
    return facts.gpus != present.gpus or _other_driver(facts, present)


def _other_driver(facts: Facts, present: Facts) -> bool:
    own, named = (one.driver.version if one.driver else None for one in (present, facts))
    return named is not None and named != own


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
        with importing("qdoctor.judging"):
            return target, collect(target, environ), []
    facts, observations = described.read(question.facts_file, stdin)
    origin = "standard input" if question.facts_file == "-" else question.facts_file
    return Target(kind="described", chosen_by=f"--facts {origin}"), facts, observations


def _probed(  # noqa: PLR0913 - likewise
    patient: _Patient,
    question: Question,
    environ: Mapping[str, str],
    progress: Progress,
    matrix: Matrix,
    *,
    partial: bool,
) -> _Patient:
    """Let the probes run, unless the machine is described or its packages are only planned."""
    if question.probe == "none" or patient.target.kind == "described":
        return patient
    if _NOT_ASKED & set(patient.present.unread or {}):
        return patient  # an interpreter that does not answer runs no probe: one finding says so
    if _environment(patient.facts) != _environment(patient.present):
        return _with(patient, [], _PLANNED)
    from qdoctor.probes import Interrupted, observe  # noqa: PLC0415 - a check of files alone needs no engine

    facts, environ = _without_foreign_gpus(patient, environ)
    compile_for = [patient.gpu.sm] if patient.gpu is not None and patient.gpu.sm else []
    if facts is not patient.present and patient.gpu is None:
        compile_for = sorted({gpu.sm for gpu in patient.present.gpus or [] if gpu.sm})
    try:
        seen = observe(
            patient.target,
            facts,
            level=question.probe,
            compile_for=compile_for,
            progress=progress,
            environ=environ,
            budget=question.budget,
            asked=_asked(question.need, matrix),
        )
    except Interrupted as ended:
        if not partial:  # this very type: of any other Python ends with 1, not as interrupted
            raise KeyboardInterrupt from None
        seen = ended.seen
    return _with(patient, seen)


def _asked(needs: Sequence[str], matrix: Matrix) -> set[str]:
    """Name the probes that answer the needs: those needed, and those that show a needed backend."""
    rows = matrix.table("backends")["rows"]
    shown = {shows["probe"] for need in needs if need in rows for shows in rows[need]["probes"]}
    return {need for need in needs if need not in rows} | shown


def _without_foreign_gpus(
    patient: _Patient, environ: Mapping[str, str]
) -> tuple[Facts, Mapping[str, str]]:
    """Hide this machine's GPUs where the question is about another one: probes then compile.

    They are hidden, too, where it is about another driver: what runs on this one proves nothing.
    """
    here = {gpu.sm for gpu in patient.present.gpus or []}
    is_here = patient.gpu is None or patient.gpu.sm in here
    if is_here and not _other_driver(patient.facts, patient.present):
        return patient.present, environ
    hidden = {**environ, "CUDA_VISIBLE_DEVICES": ""}
    return msgspec.structs.replace(patient.present, gpus=[]), hidden


def _with(patient: _Patient, seen: Sequence[Observation], *said: str) -> _Patient:
    assumptions = [*patient.target.assumptions, *said]
    target = msgspec.structs.replace(patient.target, assumptions=assumptions)
    return msgspec.structs.replace(patient, target=target, observations=tuple(seen))


def _other_python(target: Target) -> str | None:
    """Return the examined interpreter where ``python`` in a shell is none of it."""
    return target.python if target.chosen_by in _NOT_ACTIVATED else None


def _judged(patient: _Patient, question: Question, matrix: Matrix) -> Examination:
    from qdoctor import judging  # noqa: PLC0415 - see beside

    facts, seen = patient.facts, patient.observations
    opinion = judging.judge(
        facts,
        seen,
        question.error,
        question.need,
        matrix=matrix,
        plan=patient.plan,
        interpreter=_other_python(patient.target),
    )
    answer = opinion.diagnosis
    findings = [one for one in answer.findings if one.rule not in question.ignore]
    wanted = exit_code.needs(question.need, facts, opinion.observations, answer.verdicts)
    wanted += opinion.plan_needs
    code = exit_code.exit_code(findings, opinion.observations, wanted, question.fail_on)
    report = Report(
        tool_version=qdoctor.__version__,
        matrix_version=matrix.version,
        target=patient.target,
        facts=facts,
        observations=opinion.observations,
        findings=findings,
        verdicts=answer.verdicts,
        selected=answer.selected,
        exit_code=exit_code.OUR_BUG if opinion.failed else code,
        plan=opinion.plan,
        gpu_verdicts=answer.gpu_verdicts,
        selected_on_every_gpu=answer.selected_on_every_gpu,
    )
    return Examination(report, tuple(wanted))


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
        need: backends, ``gpu`` or probes that must work; a string is one of them.
        matrix: the compatibility data; the shipped one by default.

    Returns:
        Findings, the cause before its symptoms, and a verdict for every backend.

    Raises:
        BadInput: ``facts`` or an observation does not have the shape of the contract, ``error`` is
            no text, or a need does not exist.
    """
    from qdoctor import judging  # noqa: PLC0415 - see beside

    need = (need,) if isinstance(need, str) else tuple(need)
    check_names(Question(need=need), (), _probe_names)
    if error is not None and not isinstance(error, str):
        raise BadInput(f"error: a text is meant, not {type(error).__name__}; str(exception) is one")
    read = described.checked(_noun(facts, Facts, "facts"), "facts")
    seen = [_noun(one, Observation, "observations") for one in observations]
    known = matrix or matrices.shipped()
    return judging.judge(read, seen, error, need, matrix=known, plan=Plan()).diagnosis


def _noun(given: Any, kind: type[AnyNoun], origin: str) -> AnyNoun:  # noqa: ANN401
    """Read what was given as a noun, or as a plain dict of its JSON."""
    if isinstance(given, kind):
        return given
    if not isinstance(given, Mapping):
        raise BadInput(f"{origin}: a dict is meant, as in the JSON, not {type(given).__name__}")
    return from_plain(dict(given), kind, origin)


def explaining(report: Report) -> list[Finding]:
    """The findings of a report that explain its error text, the best first."""
    return [finding for finding in report.findings if finding.explains_error]


def documentation(rule: str) -> str:
    """What one rule means. Raises ``BadInput`` with the nearest names for an unknown one."""
    from qdoctor import judging  # noqa: PLC0415 - see beside

    documented = judging.documentation()
    return documented[known_name(rule, documented, "rule")]
