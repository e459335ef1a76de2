"""The nouns of a selection: what was asked, each candidate, and the backend to use.

Part of ``model``, which is where to import them from.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from qdoctor.noun import Noun, YesNo

SELECTION_SCHEMA = "qdoctor/selection/1"
Objective: TypeAlias = Literal["balanced", "latency", "memory", "accuracy"]
Measure: TypeAlias = Literal["auto", "cached", "never"]
Shape: TypeAlias = tuple[int, int, int]
"""Rows of activations (M), in_features (K), out_features (N)."""


class Asked(Noun, frozen=True, omit_defaults=False):
    """What a backend is to be selected for.

    ``shapes`` are (rows of activations, in_features, out_features); None: a stated set.
    ``counts`` says how often each of them occurs in the model they were read from; None: once.
    ``max_error`` None takes the objective's own bound; ``max_slowdown`` is how many times half's
    time is borne, None: what the objective bears. ``device`` is ``cuda:0`` or ``cpu``; None:
    the first GPU that CUDA shows, else the CPU. ``allow`` None allows every backend; ``half`` is
    allowed unless ``deny`` names it. ``measure``: ``auto`` measures here, ``cached`` only reads
    what an earlier measurement found, ``never`` goes by the probes' pass or fail and the matrix.
    """

    objective: Objective = "balanced"
    max_error: float | None = None
    training: bool = False
    device: str | None = None
    shapes: list[Shape] | None = None
    allow: list[str] | None = None
    deny: list[str] | None = None
    measure: Measure = "auto"
    budget_seconds: float = 10.0
    counts: list[int] | None = None
    max_slowdown: float | None = None


class Timed(Noun, frozen=True, omit_defaults=False):
    """One candidate at one shape: ``milliseconds`` is what a call takes in eager mode.

    That is the larger of the device's own time (``device_milliseconds``) and of what the host
    needs to issue the call (``host_milliseconds``); ``p10`` and ``p90`` are of the larger one.
    ``rel_error`` is ||y - y64||F / ||y64||F on Gaussian data. Where it was not measured
    (``milliseconds`` None), ``unknown`` says why. ``left`` says why this layer stays in half
    precision under this backend: its figures are then half's. ``disturbed``: hardly a call went on
    without other programs taking a core from it.
    """

    rows: int
    depth: int
    columns: int
    milliseconds: float | None = None
    p10: float | None = None
    p90: float | None = None
    rel_error: float | None = None
    weight_bytes_per_param: float | None = None
    device_milliseconds: float | None = None
    host_milliseconds: float | None = None
    repetitions: int = 0
    unknown: str | None = None
    left: str | None = None
    disturbed: bool = False


class Candidate(Noun, frozen=True, omit_defaults=False):
    """One backend in a selection: ``lost`` says why it is not the one, None for the winner.

    ``speedup_vs_half`` is the geometric mean over the shapes, ``milliseconds`` their sum, both
    weighted by ``Asked.counts``; ``spread`` the mean of (p90 - p10) / 2 / median.
    """

    backend: str
    usable: YesNo
    reason: str
    lost: str | None = None
    rule: str | None = None
    rel_error: float | None = None
    milliseconds: float | None = None
    speedup_vs_half: float | None = None
    spread: float | None = None
    weight_bytes_per_param: float | None = None
    shapes: list[Timed] = []


class SelectedFor(Noun, frozen=True, omit_defaults=False):
    """The device that a selection holds for; ``sm`` is None on a CPU."""

    name: str | None = None
    sm: str | None = None


class Selection(Noun, frozen=True, omit_defaults=False):
    """The backend to use, and why each other one loses (``qdoctor/selection/1``).

    ``measured`` is False where it rests on the probes' pass or fail and the matrix alone; then
    ``seconds`` is 0, else the wall time of measuring. Of it ``starting_seconds`` went by before
    every package was imported; the budget bounds the rest. ``notes`` say what was left
    unmeasured, and under which conditions. ``key`` holds everything that could change the answer,
    where the selection is kept.
    """

    asked: Asked
    selected: str | None
    reason: str
    candidates: list[Candidate]
    device: SelectedFor = SelectedFor()
    measured: bool = False
    seconds: float = 0.0
    starting_seconds: float = 0.0
    notes: list[str] = []
    tool_version: str = ""
    matrix_version: str = ""
    schema: Literal["qdoctor/selection/1"] = "qdoctor/selection/1"
    key: dict[str, Any] = {}
