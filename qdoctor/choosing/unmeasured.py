"""The decision where nothing was measured: the probes' pass or fail, and the matrix. Pure.

Nothing is called fast then: for latency and accuracy, which ask that half is not slower, half it
is. For memory the table's bytes a weight decide, and else the order of preference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from qdoctor import selection as by_preference
from qdoctor.choosing import reasons
from qdoctor.choosing.bounds import ALIKE_BYTES, error_bound
from qdoctor.choosing.measured import HALF
from qdoctor.model import Candidate, Selection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdoctor.choosing.measured import Measured
    from qdoctor.matrix import Matrix
    from qdoctor.model import Asked, Verdict


def decide(
    asked: Asked, verdicts: Sequence[Verdict], measured: Measured | None, matrix: Matrix
) -> Selection:
    """Choose by verdicts and the table ``backends``; ``measured`` may say why there is no more."""
    rows = matrix.table("backends")["rows"]
    refused = {
        one.backend: reason
        for one in verdicts
        if (reason := refused_or_broken(asked, one, measured, matrix))
    }
    left = [one for one in verdicts if one.backend not in refused]
    winner = _preferred(asked, left, matrix)
    return Selection(
        asked=asked,
        selected=winner,
        reason=reasons.won_unmeasured(asked, winner, rows, measured, refused),
        candidates=[
            Candidate(
                backend=one.backend,
                usable=one.usable,
                reason=one.reason,
                lost=None
                if one.backend == winner
                else refused.get(one.backend)
                or reasons.lost_unmeasured(asked, one.backend, winner, rows),
                rule=one.rule,
                rel_error=one.rel_error,
                weight_bytes_per_param=one.weight_bytes_per_param,
            )
            for one in verdicts
        ],
        notes=list(measured.notes) if measured else [],
        seconds=measured.seconds if measured else 0.0,
        starting_seconds=measured.starting_seconds if measured else 0.0,
        matrix_version=matrix.version,
    )


def refused_or_broken(asked: Asked, one: Verdict, measured: Measured | None, matrix: Matrix) -> str:
    """Say why a backend is no candidate; an error bound is held against its typical error."""
    reason = refused(asked, one, matrix)
    if reason or one.backend == HALF:
        return reason
    if measured is not None and one.backend in measured.failed:
        return measured.failed[one.backend]
    if asked.max_slowdown is not None:
        most = f"at most {asked.max_slowdown:g} times half's time"
        return f"only a measurement can show that it takes {most}"
    limit = error_bound(asked)
    if one.rel_error is not None and one.rel_error > limit:
        return reasons.too_inexact(one.rel_error, limit, asked)
    return ""


def refused(asked: Asked, one: Verdict, matrix: Matrix) -> str:
    """Say why a backend is no candidate whatever it would take; ``""`` if it is one."""
    if one.backend in (asked.deny or ()):
        return "it is denied"
    if asked.allow is not None and one.backend not in (*asked.allow, HALF):
        return f"it is not among what is allowed: {', '.join(asked.allow)}"
    if one.usable == "no":
        return f"it cannot be used here: {one.reason}"
    if one.usable == "unknown":
        return f"whether it can be used here is not known: {one.reason}"
    return untrained(asked, one.backend, matrix)


def untrained(asked: Asked, name: str, matrix: Matrix) -> str:
    """Say that a backend cannot do the training that is asked for; ``""`` if it can."""
    row: Mapping[str, Any] = matrix.table("backends")["rows"].get(name, {})
    if not asked.training or row.get("trainable", False):
        return ""
    return "it cannot train its weights: they are kept quantized and get no gradient"


def _preferred(asked: Asked, left: Sequence[Verdict], matrix: Matrix) -> str | None:
    rows = matrix.table("backends")["rows"]
    names = {one.backend for one in left}
    if asked.objective in {"latency", "accuracy"} and HALF in names:
        return HALF
    if asked.objective == "memory" and left:
        fewest = min(_bytes(rows, one) for one in left)
        left = [one for one in left if _bytes(rows, one) <= ALIKE_BYTES * fewest]
    # A probe's one small product is no measurement: on a busy machine its time turned the answer.
    untimed = [msgspec.structs.replace(one, speedup_vs_half=None) for one in left]
    return by_preference.select(untimed, matrix)


def _bytes(rows: Mapping[str, Any], one: Verdict) -> float:
    return float(rows[one.backend]["weight_bytes_per_param"])
