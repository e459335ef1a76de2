"""How an examination ends: nothing found, findings, bad input, could not tell, or our bug."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from qdoctor.answered import gave_no_answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qdoctor.model import Facts, Finding, Observation, Verdict, YesNo

NOTHING_FOUND = 0
FINDINGS = 1
BAD_INPUT = 2
COULD_NOT_TELL = 3
OUR_BUG = 4

FailOn = Literal["error", "warning", "never"]
_COUNTED: dict[FailOn, tuple[str, ...]] = {
    "error": ("error",),
    "warning": ("error", "warning"),
    "never": (),
}
_CANNOT_RUN = frozenset(
    {"package-missing", "no-gpu", "no-driver", "torch-cpu-only", "python-unsupported"}
)
"""Codes of a probe that was left out for what is known of the machine: nothing stays open."""


class Need(msgspec.Struct, frozen=True):
    """Whether one ``--need`` is met here, and why."""

    name: str
    met: YesNo
    reason: str


def needs(
    names: Iterable[str],
    facts: Facts,
    observations: Sequence[Observation],
    verdicts: Sequence[Verdict],
) -> list[Need]:
    """Answer every need: a backend by its verdict, ``gpu`` by the facts, a probe by what it did."""
    judged = {verdict.backend: verdict for verdict in verdicts}
    return [
        Need(name, judged[name].usable, judged[name].reason)
        if name in judged
        else _gpu(facts)
        if name == "gpu"
        else _probe(name, observations)
        for name in dict.fromkeys(names)
    ]


def exit_code(
    findings: Sequence[Finding],
    observations: Sequence[Observation],
    wanted: Sequence[Need],
    fail_on: FailOn,
) -> int:
    """The exit code of a check: findings win over what could not be told, that over nothing."""
    if fail_on == "never":
        return NOTHING_FOUND
    counted = any(finding.severity in _COUNTED[fail_on] for finding in findings)
    if counted or any(need.met == "no" for need in wanted):
        return FINDINGS
    return COULD_NOT_TELL if could_not_tell(observations, wanted) else NOTHING_FOUND


def could_not_tell(observations: Sequence[Observation], wanted: Sequence[Need]) -> list[str]:
    """Every question that stayed open, in words; empty when all are answered."""
    open_needs = [f"need {need.name}: {need.reason}" for need in wanted if need.met == "unknown"]
    silent = [
        f"{seen.probe} gave no answer: {seen.detail}"
        for seen in observations
        if gave_no_answer(seen)
    ]
    return [*open_needs, *silent]


def _gpu(facts: Facts) -> Need:
    if facts.gpus is None:
        return Need("gpu", "unknown", "it is not known which GPUs this machine has")
    usable = [
        gpu for gpu in facts.gpus if gpu.vendor in {None, "nvidia"} and gpu.visible is not False
    ]
    if usable:
        return Need("gpu", "yes", usable[0].name or "a GPU is there")
    return Need("gpu", "no", "no CUDA GPU is visible here")


def _probe(name: str, observations: Sequence[Observation]) -> Need:
    seen = [one for one in observations if one.probe == name]
    bad = [
        one
        for one in seen
        if one.outcome in {"wrong", "failed", "crashed"} and not gave_no_answer(one)
    ]
    passed = any(one.outcome == "passed" for one in seen)
    surprising = [one for one in bad if one.expected != "fail"]
    if surprising or (bad and not passed):
        return Need(name, "no", (surprising or bad)[0].detail or "the probe failed")
    if passed:
        return Need(name, "yes", "the probe passed")
    cannot = seen and all(one.code in _CANNOT_RUN for one in seen)
    reason = seen[0].detail if seen else "the probe did not run"
    return Need(name, "no" if cannot else "unknown", reason)
