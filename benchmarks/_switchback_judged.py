"""What the times of benchmarks/switchback.py come to: roofline, goals met and missed, tables.

Pure: cells and plain numbers in, text and numbers out. A cell is what ``measure`` gave for one
shape and kind of pass: ``rows, depth, columns, passes, contenders, failed``; a contender has
``ms, p10, p90, call_ms`` and ``rel_error`` (None where there is nothing to compare).
"""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

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
    Goal("never slower than bf16 (where it is, select_backend must not pick it)",
         lambda _: True, BASE, 1.0, spread=True),
)  # fmt: skip
ERROR_BOUND = 0.015
UNSETTLED = 0.15
"""A spread beyond this comes from something else that ran meanwhile: the cell decides nothing."""


def spread(one: dict[str, Any]) -> float:
    """Half the way from the 10th to the 90th percentile, relative to the median."""
    return float((one["p90"] - one["p10"]) / 2 / one["ms"])


def judged(cells: Iterable[Cell], name: str) -> list[dict[str, Any]]:
    """For each goal: its text, how many cells met it, and the cells that missed it with why."""
    cells = list(cells)
    return [{"goal": goal.text, **_held(goal, cells, name)} for goal in GOALS] + [
        {"goal": f"relative error <= {ERROR_BOUND} on Gaussian data", **_exact(cells, name)}
    ]


def _held(goal: Goal, cells: list[Cell], name: str) -> dict[str, Any]:
    met, missed, unsettled = 0, [], []
    for cell in cells:
        made = cell["contenders"]
        if not goal.about(cell) or name not in made or goal.other not in made:
            continue
        ours, other = made[name], made[goal.other]
        ratio = other["ms"] / ours["ms"]
        if max(spread(ours), spread(other)) > UNSETTLED:
            unsettled.append(f"{sized(cell)} {cell['passes']}")
            continue
        allowed = goal.ratio / (1 + spread(ours) + spread(other)) if goal.spread else goal.ratio
        if ratio >= allowed:
            met += 1
        else:
            missed.append(f"{sized(cell)} {cell['passes']} {ratio:.2f}")
    return {"met": met, "missed": missed, "unsettled": unsettled}


def _exact(cells: list[Cell], name: str) -> dict[str, Any]:
    met, missed = 0, []
    for cell in cells:
        error = cell["contenders"].get(name, {}).get("rel_error")
        if error is None:
            continue
        if error <= ERROR_BOUND:  # False for NaN
            met += 1
        else:
            missed.append(f"{sized(cell)} {cell['passes']} {error:.4f}")
    return {"met": met, "missed": missed}


def goal_lines(cells: list[Cell]) -> Iterator[str]:
    """Say of each of our layers which goals were met, and name each cell that missed one."""
    for name in OURS:
        for one in judged(cells, name):
            total = one["met"] + len(one["missed"])
            if total:
                word = "met" if not one["missed"] else "MISSED"
                yield f"{word:7}{name}: {one['goal']}: {one['met']} of {total}"
                yield from (f"         {missed}" for missed in one["missed"])
            for cell in one.get("unsettled", ()):
                yield f"disturbed {name}: {one['goal']}: {cell}"
            if not total and name == OURS[0]:
                yield f"unasked {name}: {one['goal']}: nothing measured"


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
    floor = least(cell)
    words += [f"roofline {floor:.4f}"] if floor else []
    return f"{sized(cell):20} {cell['passes']:16} " + " | ".join(words)


def summary(cells: list[Cell]) -> Iterator[str]:
    """Say for each contender and pass: the geometric mean, least and greatest speedup."""
    found: dict[tuple[str, str], list[float]] = {}
    for cell in cells:
        made = cell["contenders"]
        for name, one in made.items():
            if BASE in made:
                key = (cell["passes"], name)
                found.setdefault(key, []).append(made[BASE]["ms"] / one["ms"])
    for (passes, name), all_ in found.items():
        yield (
            f"{passes:16} {name:26} speedup over bf16 Linear: geometric mean "
            f"{statistics.geometric_mean(all_):.2f}, {min(all_):.2f} to {max(all_):.2f}"
        )


def markdown(cells: list[Cell]) -> Iterator[str]:
    """A table for each kind of pass: milliseconds, and in brackets the speedup over bf16."""
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
    ms = made[name]["ms"]
    base = made.get(BASE, {}).get("ms")
    return _number(ms) + (f" ({base / ms:.2f})" if base and name != BASE else "")


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
