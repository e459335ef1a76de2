"""The whole way to a selection: facts, probes, measurements, decision."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

import msgspec

import qdoctor
from qdoctor import doctor, judging, local_data
from qdoctor.choosing import objectives, shapes, unmeasured
from qdoctor.choosing.bounds import error_bound
from qdoctor.choosing.examined import NOTE
from qdoctor.choosing.last_resort import or_half
from qdoctor.choosing.measured import HALF, Measured
from qdoctor.choosing.measuring import Wish, measure
from qdoctor.choosing.place import CPU, Place, number, place
from qdoctor.choosing.request import refuse_nothing_left
from qdoctor.model import NO_FOLDER, BadInput, Report, Selection
from qdoctor.plan import Plan
from qdoctor.question import Question, known_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import IO

    from qdoctor.choosing.examined import Examined
    from qdoctor.matrix import Matrix
    from qdoctor.model import Asked, Verdict

_HIDDEN = {"CUDA_VISIBLE_DEVICES": ""}
_FAR_OFF = 1.5
"""A backend whose probe's error is this many times what is borne is not measured any more."""


def chosen(
    asked: Asked,
    python: str | None,
    environ: Mapping[str, str] | None,
    progress: Callable[[str], None],
    examined: Examined | None = None,
) -> Selection:
    """See ``choosing.choose``."""
    earlier = examined.kept() if examined is not None else None
    report = examined_and_chosen(
        asked,
        Question(python=python),
        environ=environ,
        progress=progress,
        earlier=None if earlier is None else earlier[0],
    )
    if unasked := (report.facts.unread or {}).get(NO_FOLDER):
        raise OSError(unasked)
    selection = report.selection
    if selection is None:
        raise AssertionError("a report that was chosen from has a selection")
    if examined is not None and earlier is None:
        examined.told = msgspec.structs.replace(report, selection=None)
    return msgspec.structs.replace(
        selection,
        key={"packages": dict(report.facts.packages or {})},
        notes=[*selection.notes, *([NOTE.format(earlier[1])] if earlier else [])],
    )


def examined_and_chosen(  # noqa: PLR0913 - as doctor.examine, and what is asked
    asked: Asked,
    question: Question,
    *,
    environ: Mapping[str, str] | None = None,
    stdin: IO[bytes] | None = None,
    progress: Callable[[str], None] = lambda _: None,
    matrix: Matrix | None = None,
    earlier: Report | None = None,
) -> Report:
    """Examine as ``doctor.examine`` does, and add the selection to the report.

    ``earlier`` is a report on this very machine, and is taken instead of a new one.
    """
    env = dict(os.environ if environ is None else environ)
    known = matrix or local_data.current(env)
    check(asked, known)
    if asked.device == CPU:
        env |= _HIDDEN
    report = earlier or doctor.examine(
        question, environ=env, stdin=stdin, progress=progress, matrix=known
    )
    named = question.gpu is not None or question.driver is not None
    return choose_from(
        report, asked, environ=env, progress=progress, matrix=known, only_named=named
    )


def check(asked: Asked, matrix: Matrix) -> None:
    """Raise ``BadInput`` for what cannot be asked, before anything is done for it."""
    rows = matrix.table("backends")["rows"]
    for name in (*(asked.allow or ()), *(asked.deny or ())):
        known_name(name, rows, "backend")
    refuse_nothing_left(rows, asked.allow, asked.deny)
    if asked.max_error is not None and not 0 < asked.max_error < math.inf:
        raise BadInput(f"max_error {asked.max_error!r} is no bound: give a positive number")
    if asked.max_slowdown is not None and not 0 < asked.max_slowdown < math.inf:
        raise BadInput(f"max_slowdown {asked.max_slowdown!r} is no bound: give a positive number")
    if not 0 < asked.budget_seconds < math.inf:
        raise BadInput(f"a budget of {asked.budget_seconds!r} s: give a positive number")
    if asked.shapes is not None:
        shapes.checked(asked.shapes)
    if asked.counts is not None and len(asked.counts) != len(asked.shapes or ()):
        raise BadInput("counts are one for each shape")
    number(asked.device)


def choose_from(  # noqa: PLR0913 - likewise
    report: Report,
    asked: Asked,
    *,
    environ: Mapping[str, str],
    progress: Callable[[str], None] = lambda _: None,
    matrix: Matrix,
    only_named: bool = False,
) -> Report:
    """Measure what a report found usable, decide, and add the selection to the report.

    Nothing is measured for a described machine, where a GPU or driver is ``only_named``, or where
    ``asked.measure`` forbids it.
    """
    check(asked, matrix)
    there, notes = _place(report, asked, matrix)
    asked = msgspec.structs.replace(
        asked, device=there.device, shapes=asked.shapes or shapes.stated(there.device)
    )
    why_not = _why_not_measured(report, asked, only_named=only_named)
    measured = None if why_not else _measured(report, asked, there, environ, progress, matrix)
    selection = objectives.decide(asked, there.verdicts, measured, matrix)
    if report.observations and report.target.kind != "described":
        selection = or_half(selection)
    selection = msgspec.structs.replace(
        selection,
        device=selection.device if selection.device.name else there.what,
        notes=[*notes, *filter(None, [why_not]), *selection.notes],
        tool_version=qdoctor.__version__,
    )
    return msgspec.structs.replace(report, selection=selection, selected=selection.selected)


def _place(report: Report, asked: Asked, matrix: Matrix) -> tuple[Place, list[str]]:
    """Find the device; where no backend works on a GPU that was not asked for, take the CPU."""
    there = place(report, asked.device, matrix)
    if asked.device is not None or there.device == CPU or _any_usable(there.verdicts):
        return there, []
    without = msgspec.structs.replace(report.facts, gpus=[])
    on_cpu = [one for one in report.observations if one.device in {None, CPU}]
    again = judging.judge(without, on_cpu, None, (), matrix=matrix, plan=Plan()).diagnosis
    if not _any_usable(again.verdicts):
        return there, []
    half = next(one for one in there.verdicts if one.backend == HALF)
    cpu = place(
        msgspec.structs.replace(report, facts=without, verdicts=again.verdicts, gpu_verdicts=[]),
        CPU,
        matrix,
    )
    return cpu, [f"for the CPU: no backend works on {there.device}: {half.reason}"]


def _any_usable(verdicts: Sequence[Verdict]) -> bool:
    return any(one.usable != "no" for one in verdicts)


def _why_not_measured(report: Report, asked: Asked, *, only_named: bool) -> str:
    """Say why nothing may or can be measured; ``""`` where it can."""
    reasons = {
        "as asked": asked.measure == "never",
        "there is no earlier measurement to read": asked.measure == "cached",
        "the machine is described, not here": report.target.kind == "described",
        "the GPU or its driver is only named": only_named,
        "there is no interpreter to measure in": report.target.python is None,
        "torch is not installed": (report.facts.packages or {}).get("torch") == "",
        "no probe ran, so no backend has shown that it works": not report.observations,
    }
    return next((f"nothing was measured: {why}" for why, so in reasons.items() if so), "")


def _measured(  # noqa: PLR0913, PLR0917 - of one file
    report: Report,
    asked: Asked,
    there: Place,
    environ: Mapping[str, str],
    progress: Callable[[str], None],
    matrix: Matrix,
) -> Measured | None:
    """Measure half and every backend that could be chosen; None where none could."""
    able = [one.backend for one in there.verdicts if _worth_measuring(asked, one, matrix)]
    half = next(one for one in there.verdicts if one.backend == HALF)
    if half.usable != "yes" or not able:
        return None
    wish = Wish(
        backends=(HALF, *able),
        shapes=asked.shapes or [],
        device=there.device,
        training=asked.training,
        seconds=asked.budget_seconds,
        counts=asked.counts,
    )
    return measure(wish, report.target.python or "", environ, progress)


def _worth_measuring(asked: Asked, one: Verdict, matrix: Matrix) -> bool:
    if one.backend == HALF or one.measured_on is None or unmeasured.refused(asked, one, matrix):
        return False
    return one.rel_error is None or one.rel_error <= _FAR_OFF * error_bound(asked)
