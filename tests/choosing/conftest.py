"""Verdicts and measurements to decide by, made up; a machine and a choice, pretended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from qdoctor.choosing import answering, key, notice
from qdoctor.choosing.measured import Measured
from qdoctor.choosing.objectives import decide
from qdoctor.matrix import shipped
from qdoctor.model import Asked, SelectedFor, Timed, Verdict
from tests.choosing.asking import Rig
from tests.choosing.pretended import Chooser, Here

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from qdoctor.model import Candidate, Objective, Selection, Shape, YesNo

SHAPE = (4096, 1024, 4096)
ERRORS = {
    "half": 0.003,
    "bnb-int8": 0.009,
    "qdoctor-switchback": 0.012,
    "torch-fp8": 0.037,
    "torchao-int8": 0.012,
    "bnb-nf4": 0.09,
    "bnb-fp4": 0.12,
}
BYTES = {
    **dict.fromkeys(ERRORS, 1.0),
    "half": 2.0,
    "bnb-nf4": 0.5625,
    "bnb-fp4": 0.5625,
}


def verdict(backend: str, usable: YesNo = "yes", *, ran: bool = True) -> Verdict:
    return Verdict(
        backend=backend,
        usable=usable,
        reason=f"why {usable}",
        rel_error=ERRORS[backend],
        weight_bytes_per_param=BYTES[backend],
        measured_on="a GPU" if ran and usable == "yes" else None,
    )


def verdicts(*names: str) -> list[Verdict]:
    return [verdict(name) for name in names or ERRORS]


def timed(  # noqa: PLR0913 - a cell has these parts
    milliseconds: float | None,
    *,
    spread: float = 0.01,
    error: float = 0.012,
    size: float = 1.0,
    shape: Shape = SHAPE,
    unknown: str | None = None,
    left: str | None = None,
    disturbed: bool = False,
) -> Timed:
    p10, p90 = (
        None if milliseconds is None else milliseconds * factor
        for factor in (1 - spread, 1 + spread)
    )
    return Timed(
        *shape,
        milliseconds=milliseconds,
        p10=p10,
        p90=p90,
        rel_error=error,
        weight_bytes_per_param=size,
        repetitions=20,
        unknown=unknown,
        left=left,
        disturbed=disturbed,
    )


def measured(  # noqa: PLR0913 - likewise
    times: Mapping[str, float],
    *,
    spreads: Mapping[str, float] | None = None,
    errors: Mapping[str, float] | None = None,
    sizes: Mapping[str, float] | None = None,
    failed: Mapping[str, str] | None = None,
    disturbed: Sequence[str] = (),
) -> Measured:
    """One shape; errors and sizes are typical ones unless given."""
    cells = {
        name: [
            timed(
                time,
                spread=(spreads or {}).get(name, 0.01),
                error={**ERRORS, **(errors or {})}[name],
                size={**BYTES, **(sizes or {})}[name],
                disturbed=name in disturbed,
            )
        ]
        for name, time in times.items()
    }
    return Measured([SHAPE], cells, dict(failed or {}), device=SelectedFor("a GPU", "9.0"))


def over(shapes: Sequence[Shape], **times: Sequence[float | None]) -> Measured:
    """Several shapes: milliseconds of each backend at each (``_`` for ``-`` in its name)."""
    cells = {
        name.replace("_", "-"): [
            timed(
                one,
                shape=shape,
                error=ERRORS[name.replace("_", "-")],
                size=BYTES[name.replace("_", "-")],
                unknown=None if one else "out-of-memory: no room",
            )
            for one, shape in zip(each, shapes, strict=True)
        ]
        for name, each in times.items()
    }
    return Measured(list(shapes), cells)


FAST = {"half": 1.0, "bnb-int8": 1.4, "qdoctor-switchback": 0.7, "bnb-nf4": 1.6, "bnb-fp4": 1.6}
"""Milliseconds: one backend is faster than half."""


def choose(
    objective: Objective,
    found: Measured | None,
    judged: Sequence[Verdict] | None = None,
    **asked: object,
) -> Selection:
    """Decide by what was measured; unless others are given, every backend works."""
    question = msgspec.convert({"objective": objective, **asked}, Asked)
    return decide(question, verdicts() if judged is None else judged, found, shipped())


def loser(selection: Selection, backend: str) -> Candidate:
    """What is said of one of the candidates."""
    return next(one for one in selection.candidates if one.backend == backend)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    """A pretended machine: one H100, torch alone; nothing has been said yet."""
    notice.forget()
    yield Here(monkeypatch)
    key._latest.clear()
    notice.forget()


@pytest.fixture
def chooser(
    here: Here,  # noqa: ARG001 - its answers are for that machine
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[Chooser]:
    """Whom ``select_backend`` asks there where nothing is kept."""
    monkeypatch.setenv("QDOCTOR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield Chooser(monkeypatch)
    answering.forget()


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Where processes ask, each by itself, and nothing is kept yet."""
    return Rig(tmp_path)
