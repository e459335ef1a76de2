"""From how a child ended and what it left in its folder to observations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qdoctor.model import Observation
from qdoctor.probes import answer
from qdoctor.probes.ending import Fate, fate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from qdoctor.probes.plan import Skip, Step
    from qdoctor.process import Ended


def of_child(step: Step, ended: Ended, control: Path, said: Sequence[str]) -> list[Observation]:
    """Everything the child answered, then how it ended where that says something more.

    ``said`` is what is to be known about how it was run. Every observation carries the child's
    cost: ``seconds`` of wall time, and ``peak_mib`` where memory can be watched.
    """
    result = answer.read(control / "result.json")
    answered = bool(result.outcomes)
    outcomes = result.outcomes or answer.read(control / "partial.json").outcomes or []
    end = fate(ended, answer.phase(control), answered=answered)
    if result.garbage and (end is None or end.code == "no-answer"):
        end = Fate("failed", "unreadable-answer", result.garbage, end.evidence if end else [])
    seen = [_from_outcome(step, one) for one in outcomes]
    reached = [one.variant for one in outcomes]
    seen += [of_fate(step, end, reached)] if end else []
    return [_told(one, ended, said) for one in seen]


def of_fate(step: Step, end: Fate, reached: Sequence[str | None] = ()) -> Observation:
    """Name the variant where only one had not answered yet."""
    left = [name for name in step.kernel.header.variants if name not in reached]
    return Observation(
        probe=step.kernel.name,
        outcome=end.outcome,
        variant=left[0] if len(left) == 1 else None,
        device=place(step),
        detail=end.detail,
        code=end.code,
        ran=step.mode == "run",
        evidence=[*end.evidence, *filter(None, [step.note])],
    )


def of_skip(skip: Skip) -> Observation:
    """What was left out, and why."""
    return Observation(
        probe=skip.kernel.name, outcome="skipped", detail=skip.why, code=skip.code, ran=False
    )


def of_unfinished(step: Step, code: str, why: str) -> Observation:
    """What we did not wait for."""
    return Observation(
        probe=step.kernel.name,
        outcome="skipped",
        device=place(step),
        detail=why,
        code=code,
        ran=False,
    )


def place(step: Step) -> str | None:
    """Return the device as it is written in observations; None for several SMs."""
    if step.mode == "run":
        return "cpu" if step.device is None else f"cuda:{step.device}"
    return f"sm_{step.sms[0].replace('.', '')}" if len(step.sms) == 1 else None


def _from_outcome(step: Step, one: answer.Outcome) -> Observation:
    plain = msgspec.structs.asdict(one)
    plain["device"] = one.device or place(step)
    plain["evidence"] = [*one.evidence, *filter(None, [step.note])]
    return Observation(probe=step.kernel.name, **plain)


def _told(seen: Observation, ended: Ended, said: Sequence[str]) -> Observation:
    cost = {"seconds": round(ended.seconds, 3)}
    if ended.peak_mib is not None:
        cost["peak_mib"] = round(ended.peak_mib, 1)
    return msgspec.structs.replace(
        seen, numbers={**seen.numbers, **cost}, evidence=[*seen.evidence, *said]
    )
