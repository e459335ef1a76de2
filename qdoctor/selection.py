"""Verdicts on the quantization backends, and the one to use. What ran here outranks the matrix.

Which layers a backend needs, which probes show it and in which order usable backends are preferred
stands in ``matrix/tables/backends.json``. Nothing is called faster without a measurement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from qdoctor.answered import gave_no_answer, rule_against
from qdoctor.layers import Answer
from qdoctor.matrix import shipped
from qdoctor.model import Finding, Observation, Verdict
from qdoctor.speed import speedup
from qdoctor.witnesses import Witnesses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix

_BASELINE = "half"
_CPU = "the CPU"
_CPU_ONLY_PROBLEMS = ("no-cuda-gpu", "torch-cpu-only")


def judge(
    machine: Machine,
    observations: Sequence[Observation],
    findings: Sequence[Finding],
    matrix: Matrix,
) -> list[Verdict]:
    """Return a verdict on every backend of the contract, in its order.

    A backend is usable if its own probe passed on this machine, else if every layer it needs fits.
    ``unknown`` is never ``yes``; a probe that only compiled can show what fails, not what works.
    """
    witnesses = Witnesses(machine, tuple(observations), matrix)
    rows = matrix.table("backends")["rows"]
    half = witnesses.of_backend(rows[_BASELINE])
    return [
        _limited(_verdict(name, row, witnesses, findings, half), row, witnesses)
        for name, row in rows.items()
    ]


def select(verdicts: Sequence[Verdict], matrix: Matrix | None = None) -> str | None:
    """Return the backend to use: the usable one that is preferred; None where none is usable.

    One that ran here as fast as half comes first, what was not measured next, what ran slower than
    half after half itself. Within each, the order of preference, with its reasons, is that of the
    table ``backends``, which also says which difference is none.
    """
    table = (matrix or shipped()).table("backends")
    rows = table["rows"]
    usable = [one for one in verdicts if one.usable == "yes" and one.backend in rows]

    def order(verdict: Verdict) -> tuple[int, float]:
        preference = float(rows[verdict.backend]["preference"])
        speed = verdict.speedup_vs_half
        if verdict.backend == _BASELINE or speed is None:
            return 1, preference
        return (0 if speed >= table["as_fast"]["ratio"] else 2), preference

    best = min(usable, key=order, default=None)
    return best.backend if best else None


def _verdict(
    name: str,
    row: dict[str, Any],
    witnesses: Witnesses,
    findings: Sequence[Finding],
    half: Observation | None,
) -> Verdict:
    by_matrix, place = _by_layers(row, witnesses)
    own = witnesses.of_backend(row)
    if own is not None and own.outcome == "passed":
        return _measured(name, row, own, witnesses.where(own), half)
    if own is not None:
        return _failed(name, row, own, by_matrix)
    answer = _with_findings(name, by_matrix, findings) if place != _CPU else by_matrix
    if answer.value == "yes":
        reason = (
            f"every layer fits on {place} by the matrix, not run here; {row['preference_reason']}"
        )
        return _filled(name, row, Answer("yes", reason))
    return _filled(name, row, answer)


def _limited(verdict: Verdict, row: dict[str, Any], witnesses: Witnesses) -> Verdict:
    """Say of a usable backend what it does not do rightly everywhere."""
    told = list(witnesses.limits(row)) if verdict.usable == "yes" else []
    if not told:
        return verdict
    return msgspec.structs.replace(verdict, reason="; but ".join([verdict.reason, *told]))


def _by_layers(row: dict[str, Any], witnesses: Witnesses) -> tuple[Answer, str]:
    """Ask the layers of the path that this machine takes: on its GPU, or on the CPU without one.

    Where it is not known whether there is a GPU, only what both paths say is said.
    """
    gpu = witnesses.ask("gpu_present")
    on_gpu = witnesses.ask_all(row["layers"])
    if row["cpu_layers"] is None or gpu.value == "yes":
        return on_gpu, witnesses.gpu_named
    on_cpu = witnesses.ask_all(row["cpu_layers"])
    if gpu.value == "no":
        return on_cpu, _CPU
    if on_gpu.value == on_cpu.value == "no":
        return on_cpu, _CPU
    return Answer("unknown", gpu.reason), witnesses.gpu_named


def _measured(
    name: str, row: dict[str, Any], seen: Observation, where: str, half: Observation | None
) -> Verdict:
    numbers = seen.numbers
    error = numbers.get("timed_rel_error", numbers.get("rel_error", numbers.get("max_rel_error")))
    return Verdict(
        backend=name,
        usable="yes",
        reason=f"{_probe(seen)} passed on {where}; {row['preference_reason']}",
        rel_error=error,
        milliseconds=numbers.get("milliseconds"),
        speedup_vs_half=speedup(seen, half),
        weight_bytes_per_param=row["weight_bytes_per_param"],
        measured_on=where + _shape(numbers),
    )


def _shape(numbers: dict[str, float]) -> str:
    """Name the product that was timed: ``, 4096 rows of 1280 to 5120``."""
    if not {"rows", "depth", "columns"} <= numbers.keys():
        return ""
    return ", {rows:.0f} rows of {depth:.0f} to {columns:.0f}".format_map(numbers)


def _failed(name: str, row: dict[str, Any], seen: Observation, by_matrix: Answer) -> Verdict:
    """Say that the backend's own probe did not pass: why, by the matrix, where it knows."""
    text = f"{_probe(seen)} {_ended(seen)}" + (f": {seen.detail}" if seen.detail else "")
    if gave_no_answer(seen):
        return _filled(name, row, Answer("unknown", text))
    if by_matrix.value == "no":
        reason = text if seen.probe in by_matrix.reason else f"{by_matrix.reason} ({text})"
        return _filled(name, row, Answer("no", reason, rule=by_matrix.rule))
    slow = seen.code == "silent-slow-path"
    rule = "silent-slow-path" if slow else rule_against(seen) if by_matrix.value == "yes" else None
    return _filled(name, row, Answer("no", text, rule=rule))


def _with_findings(name: str, answer: Answer, findings: Sequence[Finding]) -> Answer:
    """Take a finding that is sure and takes this backend away; the layers may not have seen it."""
    sure = [
        one
        for one in findings
        if name in one.affects and one.undecided is None and one.rule not in _CPU_ONLY_PROBLEMS
    ]
    if answer.value == "no":
        rule = answer.rule or next((one.rule for one in sure), None)
        return Answer("no", answer.reason, answer.because, rule)
    if sure:
        return Answer("no", sure[0].title, tuple(sure[0].because), sure[0].rule)
    return answer


def _filled(name: str, row: dict[str, Any], answer: Answer) -> Verdict:
    return Verdict(
        backend=name,
        usable=answer.value,
        reason=answer.reason,
        rule=answer.rule,
        rel_error=row["rel_error"] if answer.value == "yes" else None,
        weight_bytes_per_param=row["weight_bytes_per_param"],
    )


def _probe(seen: Observation) -> str:
    return f"the probe {seen.probe}" + (f" ({seen.variant})" if seen.variant else "")


def _ended(seen: Observation) -> str:
    words = {"wrong": "computed wrongly", "timed-out": "timed out"}
    return words.get(seen.outcome, seen.outcome) + ("" if seen.ran else " while compiling")
