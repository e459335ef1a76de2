"""What select_backend would take for each shape of SwitchBack's table, and what that comes to.

The machine is examined once. Its backends are then measured as select_backend measures them, all
shapes by one child within a budget, and each shape is decided on its own: what asking for that
shape alone decides. A second measurement, in a process of its own, says whether the choice holds:
a selected backend must not be slower than half there by more than both spreads. Where the table of
switchback.py holds the backend's layer, its figures are held against the choice as well.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from qdoctor import doctor, local_data
from qdoctor.choosing import objectives
from qdoctor.choosing.from_scratch import choose_from
from qdoctor.choosing.measured import HALF, WIDEST, Measured, measured_in
from qdoctor.choosing.place import place
from qdoctor.model import Asked
from qdoctor.question import Question

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from qdoctor.model import Objective, Selection, Shape, Timed

OBJECTIVES: tuple[Objective, ...] = ("latency", "balanced", "memory", "accuracy")
WIDEST_BOUND: Objective = "memory"
"""Of all objectives it bears the largest error: what it measures serves them all."""
LAYERS = {
    "half": "linear", "qdoctor-switchback": "switchback-vector", "bnb-int8": "Linear8bitLt",
    "torchao-int8": "torchao", "torch-fp8": "torch-fp8",
}  # fmt: skip
"""Backend -> its layer in the table of switchback.py."""


class Machine:
    """The machine, examined once, on whose verdicts everything here is decided."""

    def __init__(
        self, device: str | None, progress: Callable[[str], None], *, training: bool = False
    ) -> None:
        """Read the facts and run the probes, for some tens of seconds."""
        self.environ, self.device, self._progress = dict(os.environ), device, progress
        self.training = training
        self.matrix = local_data.current(self.environ)
        begun = time.monotonic()
        self.report = doctor.examine(
            Question(python=sys.executable), environ=self.environ, progress=progress,
            matrix=self.matrix,
        )  # fmt: skip
        self.seconds = time.monotonic() - begun
        self.verdicts = place(self.report, device, self.matrix).verdicts

    def measured(
        self, shapes: list[Shape] | None, seconds: float, allow: Sequence[str] | None = None
    ) -> Measured:
        """Measure what any objective may take, at the shapes (None: the stated ones)."""
        asked = Asked(
            objective=WIDEST_BOUND, shapes=shapes, device=self.device, budget_seconds=seconds,
            training=self.training, allow=list(allow) if allow else None,
        )  # fmt: skip
        chosen = choose_from(
            self.report, asked, environ=self.environ, progress=self._progress, matrix=self.matrix
        ).selection
        if chosen is None:
            raise AssertionError("a report that was chosen from has a selection")
        return measured_in(chosen)

    def decided(self, objective: Objective, measured: Measured) -> Selection:
        """Decide by figures that are there already."""
        asked = Asked(
            objective=objective, shapes=measured.shapes, device=self.device, training=self.training
        )
        return objectives.decide(asked, self.verdicts, measured, self.matrix)


def alone(measured: Measured, shape: Shape) -> Measured | None:
    """Return what was measured of one shape; None where half was not."""
    if shape not in measured.shapes:
        return None
    at = measured.shapes.index(shape)
    one = msgspec.structs.replace(
        measured, shapes=[shape], notes=[],
        timed={name: [cells[at]] for name, cells in measured.timed.items()},
    )  # fmt: skip
    half = one.timed.get(HALF)
    return one if half and half[0].milliseconds else None


class Held(NamedTuple):
    """A choice held against figures that it was not made by: half's time over the selected's.

    ``ratio`` is what a caller waits, the larger of device and host; ``device`` the device alone;
    ``slack`` both spreads, within which a difference is none.
    """

    shape: Shape
    selected: str
    ratio: float
    device: float
    slack: float

    @property
    def slower(self) -> bool:
        """Whether the selected backend is slower than half by more than both spreads."""
        return self.ratio * (1 + self.slack) < 1


def held(shape: Shape, selected: str, by: Measured) -> Held | None:
    """Hold a choice against another measurement; None where that lacks either figure."""
    one = alone(by, shape)
    cells = one.timed.get(selected) if one else None
    if one is None or not cells or not cells[0].milliseconds:
        return None
    own, half = cells[0], one.timed[HALF][0]
    return Held(
        shape, selected, _ms(half) / _ms(own), _device(half) / _device(own),
        min(_spread(own), WIDEST) + min(_spread(half), WIDEST),
    )  # fmt: skip


def held_by_table(
    shape: Shape, selected: str, cells: Sequence[Mapping[str, Any]], *, training: bool = False
) -> Held | None:
    """Hold a choice against cells of switchback.py, by ``ms`` and ``call_ms``."""
    passes = "forward+backward" if training else "forward"
    name = LAYERS.get(selected)
    for cell in cells:
        made = cell["contenders"]
        there = (cell["rows"], cell["depth"], cell["columns"]) == shape
        if there and cell["passes"] == passes and name in made and LAYERS[HALF] in made:
            own, half = made[name], made[LAYERS[HALF]]
            times = [max(one["ms"], one["call_ms"]) for one in (half, own)]
            widths = [(one["p90"] - one["p10"]) / 2 / one["ms"] for one in (half, own)]
            slack = sum(min(one, WIDEST) for one in widths)
            return Held(shape, selected, times[0] / times[1], half["ms"] / own["ms"], slack)
    return None


def _ms(one: Timed) -> float:
    return one.milliseconds or 0.0


def _device(one: Timed) -> float:
    return one.device_milliseconds or one.milliseconds or 0.0


def _spread(one: Timed) -> float:
    if one.p10 is None or one.p90 is None or not one.milliseconds:
        return 0.0
    return (one.p90 - one.p10) / 2 / one.milliseconds


def table_lines(
    machine: Machine, first: Measured, again: Measured, cells: Sequence[Mapping[str, Any]] = ()
) -> Iterator[str]:
    """Decide each shape by ``first``, hold it against ``again`` and the table; then judge."""
    found: dict[str, list[Held]] = {"again": [], "table": []}
    undecided = 0
    for shape in first.shapes:
        one = alone(first, shape)
        if one is None:
            undecided += 1
            yield f"  {_named(shape)}: not measured within the budget"
            continue
        selected = machine.decided("latency", one).selected or "nothing"
        words = [f"  {_named(shape):22} {selected:20}"]
        own = one.timed.get(selected)
        if own:
            words.append(f"chosen at x{_ms(one.timed[HALF][0]) / _ms(own[0]):.2f}")
        for what, one_held in (
            ("again", held(shape, selected, again)),
            ("table", held_by_table(shape, selected, cells, training=machine.training)),
        ):
            if one_held is not None:
                found[what].append(one_held)
                words.append(_words(what, one_held))
        yield " ".join(words)
    for what, many in found.items():
        yield from _verdict(what, many, len(first.shapes) - undecided, undecided)


def _words(what: str, one: Held) -> str:
    slower = " SLOWER" if one.slower else ""
    return f"| {what} x{one.ratio:.2f} (device x{one.device:.2f}, spreads {one.slack:.2f}){slower}"


def _verdict(what: str, many: list[Held], decided: int, undecided: int) -> Iterator[str]:
    name = {"again": "a second measurement", "table": "switchback.py's table"}[what]
    if not many:
        yield f"unasked the selected backend is never slower than half, by {name}: nothing to judge"
        return
    slower = [one for one in many if one.slower]
    quantized = [one for one in many if one.selected != HALF]
    open_ = decided - len(many) + undecided
    word = "MISSED " if slower else "so far " if open_ else "met    "
    least = min(one.ratio for one in many)
    yield (
        f"{word} the selected backend is never slower than half beyond the spread, by {name}: "
        f"{len(many) - len(slower)} of {len(many)} shapes, least x{least:.2f}; quantized at "
        f"{len(quantized)}; {open_} not judged"
    )


def _named(shape: Shape) -> str:
    return f"{shape[0]} x {shape[1]}->{shape[2]}"


def winners(machine: Machine, measured: Measured) -> dict[str, str | None]:
    """Return what each objective takes by these figures."""
    return {one: machine.decided(one, measured).selected for one in OBJECTIVES}


def repeated_lines(answers: Sequence[Mapping[str, str | None]]) -> Iterator[str]:
    """Say for each objective whether all runs answered alike."""
    for objective in OBJECTIVES:
        all_ = [str(one[objective]) for one in answers]
        word = "met    " if len(set(all_)) == 1 else "MISSED "
        counts = ", ".join(f"{name} {all_.count(name)}" for name in dict.fromkeys(all_))
        yield f"{word} the same answer in {len(all_)} runs, {objective}: {counts}"
