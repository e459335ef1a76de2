"""What the times of benchmarks/switchback.py come to: roofline, goals met and missed, tables.

Pure: records and plain numbers in, text and numbers out. A record is one measurement of a cell
(``rows, depth, columns, passes, cache, contenders, failed``), of which there may be several; a
contender has ``ms, p10, p90, call_ms`` and ``rel_error`` (None where there is nothing to compare).
Two contenders are compared within one record only.
"""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from benchmarks._switchback_contenders import DEFAULT
from benchmarks._switchback_kept import key, merged, noise
from benchmarks._switchback_timed import quiet, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from benchmarks._switchback_kept import Key

BASE = "linear"
OURS = ("switchback-vector", "switchback-global", "switchback-mem-efficient")
MANY_ROWS, NARROW = 4096, 1280
PEAKS = Path(__file__).with_name("peaks.json")
Cell: TypeAlias = "dict[str, Any]"


# The roofline


def peaks(name: str) -> dict[str, Any] | None:
    """Return the data of the device of that name: int8, bf16 and bytes a second, their source."""
    table = json.loads(PEAKS.read_text(encoding="utf-8"))
    for row in table["rows"]:
        if all(word in name for word in row["words"]):
            return {**row, "source": table["sources"][row["source"]]}
    return None


def roofline(shape: tuple[int, int, int], passes: str, peak: dict[str, Any]) -> dict[str, float]:
    """Least milliseconds of SwitchBack for (rows, depth, columns): by tensor cores and by memory.

    Every operand is read once and every result written once, 16 bits wide but for the int8 weight
    of a prepared forward. Training: two products in int8, the weight's gradient in bf16.
    """
    rows, depth, columns = shape
    product = 2 * rows * depth * columns
    sides = 2 * rows * (depth + columns)
    seconds = product / peak["int8"]
    moved = sides + depth * columns
    if passes != "forward":
        seconds = 2 * product / peak["int8"] + product / peak["bf16"]
        # forward: x, weight -> y; backward: y's gradient, x, weight -> gradients of x and weight
        moved = sides + 2 * depth * columns + sides + 2 * rows * depth + 4 * depth * columns
    return {"compute_ms": 1000 * seconds, "memory_ms": 1000 * moved / peak["bytes"]}


def least(cell: Cell) -> float | None:
    """The cell's floor in milliseconds, None where the device's peaks are not known."""
    floor = cell.get("roofline")
    return max(floor.values()) if floor else None


# Goals


class Goal(NamedTuple):
    """One promise: about which cells, against whom, the least ratio; ties within the spread."""

    text: str
    about: Callable[[Cell], bool]
    other: str
    ratio: float
    spread: bool = False


def _rows(cell: Cell) -> bool:
    return bool(cell["rows"] >= MANY_ROWS)


def _narrow(cell: Cell) -> bool:
    return bool(min(cell["depth"], cell["columns"]) <= NARROW)


def _forward(cell: Cell) -> bool:
    return bool(cell["passes"] == "forward")


GOALS = (
    Goal("forward >= 1.3 x bf16, 4096 rows and more, 1024 and 1280 wide",
         lambda c: _forward(c) and _rows(c) and _narrow(c), BASE, 1.3),
    Goal("forward >= 1.7 x bf16, 4096 rows and more, 4096 wide and more",
         lambda c: _forward(c) and _rows(c) and not _narrow(c), BASE, 1.7),
    Goal("forward >= 1.6 x Linear8bitLt", _forward, "Linear8bitLt", 1.6),
    Goal("forward not below compiled torchao int8", _forward, "torchao-compiled", 1.0, spread=True),
    Goal("forward+backward >= 1.13 x bf16, 4096 rows and more, 1280 wide and more",
         lambda c: not _forward(c) and _rows(c) and min(c["depth"], c["columns"]) >= NARROW,
         BASE, 1.13),
    Goal("forward+backward not below torchao's compiled int8 training",
         lambda c: not _forward(c), "torchao-training-compiled", 1.0, spread=True),
    Goal("never slower than bf16 (where it is, select_backend must not pick it)",
         lambda _: True, BASE, 1.0, spread=True),
)  # fmt: skip
ERROR_BOUND = 0.015


class Verdict(NamedTuple):
    """What became of a goal: ratios by cell that meet it and that miss it, and what is open."""

    goal: str
    met: dict[str, float]
    missed: dict[str, float]
    disturbed: tuple[str, ...]
    unmeasured: int

    @property
    def word(self) -> str:
        """``met`` only where all of it was measured."""
        if self.missed:
            return "MISSED"
        if not self.met:
            return "unasked"
        return "so far" if self.unmeasured or self.disturbed else "met"


def judged(records: Sequence[Cell], name: str, asked: Iterable[Key] = ()) -> list[Verdict]:
    """Judge a contender by each goal; ``asked``: the cells that there should be."""
    cells: dict[Key, list[Cell]] = {cell: [] for cell in asked if name in DEFAULT[cell[3]]}
    for record in records:
        cells.setdefault(key(record), []).append(record)
    return [*(_held(goal, cells, name) for goal in GOALS), _exact(cells, name)]


def _held(goal: Goal, cells: dict[Key, list[Cell]], name: str) -> Verdict:
    met: dict[str, float] = {}
    missed: dict[str, float] = {}
    disturbed, unmeasured = [], 0
    for where, records in cells.items():
        if not goal.about(dict(zip(("rows", "depth", "columns", "passes"), where, strict=True))):
            continue
        pairs = [
            (one["contenders"][name], one["contenders"][goal.other])
            for one in records
            if {name, goal.other} <= set(one["contenders"])
        ]
        if not pairs:
            unmeasured += 1
            continue
        ours, other = min(pairs, key=lambda pair: max(map(noise, pair)))
        if not (quiet(ours) and quiet(other)):
            disturbed.append(_place(where))
            continue
        ratio = other["ms"] / ours["ms"]
        allowed = goal.ratio / (1 + spread(ours) + spread(other)) if goal.spread else goal.ratio
        (met if ratio >= allowed else missed)[_place(where)] = ratio
    return Verdict(goal.text, met, missed, tuple(disturbed), unmeasured)


def _exact(cells: dict[Key, list[Cell]], name: str) -> Verdict:
    met: dict[str, float] = {}
    missed: dict[str, float] = {}
    unmeasured = 0
    for where, records in cells.items():
        made = [one["contenders"][name] for one in records if name in one["contenders"]]
        errors = [one["rel_error"] for one in made if one["rel_error"] is not None]
        if not errors:
            unmeasured += 1
        elif all(error <= ERROR_BOUND for error in errors):  # False for NaN
            met[_place(where)] = max(errors)
        else:
            missed[_place(where)] = next(e for e in errors if not e <= ERROR_BOUND)
    goal = f"relative error <= {ERROR_BOUND} on Gaussian data"
    return Verdict(goal, met, missed, (), unmeasured)


def _place(where: Key) -> str:
    rows, depth, columns, passes = where
    return f"{rows} x {depth}->{columns} {passes}"


def goal_lines(records: Sequence[Cell], asked: Iterable[Key] = ()) -> Iterator[str]:
    """Say for each of ours which goals are met and missed, by which figures, and where."""
    asked = list(asked)
    for name in OURS:
        for one in judged(records, name, asked):
            if one.word == "unasked" and name != OURS[0]:
                continue
            yield f"{one.word:7} {name}: {one.goal}: {_count(one)}"
            if one.missed:
                yield from (f"          {cell} {value:.4g}" for cell, value in one.missed.items())
            yield from (f"          {cell} disturbed" for cell in one.disturbed)


def _count(one: Verdict) -> str:
    total = len(one.met) + len(one.missed)
    if not total:
        return f"nothing measured of {one.unmeasured} cells"
    every = one.met | one.missed
    words = (
        f"{len(one.met)} of {total}, from {min(every.values()):.4g} to {max(every.values()):.4g}"
    )
    return words + (f"; {one.unmeasured} cells not measured" if one.unmeasured else "")


# Text


def sized(cell: Cell) -> str:
    """``4096 x 1024->4096``."""
    return f"{cell['rows']} x {cell['depth']}->{cell['columns']}"


def line(cell: Cell) -> str:
    """Put a cell into words: each contender's median and spread in ms, its speedup, its error."""
    made = cell["contenders"]
    base = made.get(BASE, {}).get("ms")
    words = []
    for name, one in made.items():
        against = f" x{base / one['ms']:.2f}" if base else ""
        error = "" if one["rel_error"] is None else f" e{one['rel_error']:.4f}"
        words.append(
            f"{name} {one['ms']:.4f} [{one['p10']:.4f} {one['p90']:.4f}]"
            f" call {one['call_ms']:.3f}{against}{error}"
        )
    words += [f"{name} FAILED {why}" for name, why in cell["failed"].items()]
    words += [f"{name} DISTURBED" for name, one in made.items() if not quiet(one)]
    floor = least(cell)
    words += [f"roofline {floor:.4f}"] if floor else []
    return f"{sized(cell):20} {cell['passes']:16} " + " | ".join(words)


def summary(records: Iterable[Cell]) -> Iterator[str]:
    """Say for each contender and pass: the geometric mean, least and greatest speedup.

    What was disturbed is left out.
    """
    found: dict[tuple[str, str], list[float]] = {}
    for cell in merged(records):
        for name, one in cell["contenders"].items():
            if one["base_ms"] and quiet(one):
                found.setdefault((cell["passes"], name), []).append(one["base_ms"] / one["ms"])
    for (passes, name), all_ in found.items():
        yield (
            f"{passes:16} {name:26} speedup over bf16 Linear: geometric mean "
            f"{statistics.geometric_mean(all_):.2f}, {min(all_):.2f} to {max(all_):.2f}"
        )


def markdown(records: Iterable[Cell]) -> Iterator[str]:
    """A table for each kind of pass: milliseconds, and in brackets the speedup over bf16.

    A star: something disturbed the measurement.
    """
    order = {name: place for place, name in enumerate(("forward", "forward+backward"))}
    cells = sorted(
        merged(records),
        key=lambda one: (order.get(one["passes"], 9), one["depth"], one["columns"], one["rows"]),
    )
    for passes in dict.fromkeys(cell["passes"] for cell in cells):
        chosen = [cell for cell in cells if cell["passes"] == passes]
        names = list(dict.fromkeys(name for cell in chosen for name in cell["contenders"]))
        yield f"\n### {passes}, ms (times bf16 Linear)\n"
        yield "| shape | " + " | ".join(names) + " | roofline |"
        yield "|---|" + "---|" * (len(names) + 1)
        for cell in chosen:
            floor = least(cell)
            words = [_entry(cell["contenders"], name) for name in names]
            yield f"| {sized(cell)} | " + " | ".join(words) + f" | {_number(floor)} |"


def _entry(made: dict[str, Any], name: str) -> str:
    if name not in made:
        return "-"
    ms, base = made[name]["ms"], made[name]["base_ms"]
    star = "" if quiet(made[name]) else "*"
    return _number(ms) + star + (f" ({base / ms:.2f})" if base and name != BASE else "")


def _number(ms: float | None) -> str:
    return "?" if ms is None or math.isnan(ms) else f"{ms:.4g}"


def error_lines(errors: list[dict[str, Any]]) -> Iterator[str]:
    """A table of relative errors: Gaussian data, and with outlier columns."""
    names = list(dict.fromkeys(name for one in errors for name in one["errors"]))
    yield "\n### relative error against float64\n"
    yield "| 256 rows, layer | data | " + " | ".join(names) + " |"
    yield "|---|---|" + "---|" * len(names)
    for one in errors:
        words = [f"{one['errors'][n]:.4f}" if n in one["errors"] else "-" for n in names]
        yield f"| {one['depth']}->{one['columns']} | {one['data']} | " + " | ".join(words) + " |"
