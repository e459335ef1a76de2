"""benchmarks/switchback_tiles.py: what it judges and makes of times, without a GPU."""

# ruff: noqa: ANN401 - the benchmark's module is loaded, the table is JSON

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

SHAPE, CHOICE, OTHER = (1, 1024, 4096), (16, 64, 512, 4, 3), (16, 64, 512, 8, 3)


@pytest.fixture
def tiles(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(checkout))
    return importlib.import_module("benchmarks.switchback_tiles")


def test_every_choice_of_the_table_is_a_candidate(tiles: Any) -> None:
    table = json.loads(tiles.TABLE.read_text(encoding="utf-8"))
    for row in table["rows"]:
        choices = set(tiles.chosen(table, row["sm"]).values())
        few = {one for one in choices if one[0] == tiles.FEW_ROWS}
        assert few
        assert choices - few <= {*tiles.CUTS, *tiles.TILES}
    assert tiles.chosen(table, "1.0") == {}


def times(choice: float, other: float) -> Any:
    return {"linear": 9.0, CHOICE: choice, OTHER: other}


def test_a_choice_is_beaten_only_if_it_is_each_time(tiles: Any) -> None:
    judge = tiles.verdict
    assert judge(SHAPE, CHOICE, [times(8.0, 9.0)] * 2).startswith("holds   1 x 1024->4096: (16, 64")
    assert judge(SHAPE, CHOICE, [times(8.0, 7.0), times(8.0, 8.1)]).startswith("holds ")
    assert judge(SHAPE, CHOICE, [times(8.0, 7.9)] * 2).startswith("holds ")  # within the noise
    beaten = judge(SHAPE, CHOICE, [times(8.0, 7.0)] * 2)
    assert beaten.startswith("BEATEN")
    assert "8.0 us, best (16, 64, 512, 8, 3) 7.0, half 9.0" in beaten


def test_a_choice_that_was_not_timed_is_not_judged(tiles: Any) -> None:
    assert tiles.verdict(SHAPE, None, [times(8.0, 7.0)]).startswith("unknown 1 x 1024->4096")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--check", "--points", "1x2"], "is not like 16x1024x4096"),
        (["--check", "--points", "0x2x3"], "is not like 16x1024x4096"),
        ([], "name the file to write, or --check"),
        (["row.json", "--check"], "name the file to write, or --check"),
    ],
)
def test_what_cannot_be_asked_is_one_clear_error(
    checkout: Path, words: list[str], why: str
) -> None:
    script = checkout / "benchmarks" / "switchback_tiles.py"
    done = subprocess.run(
        [sys.executable, str(script), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert why in done.stderr
    assert "Traceback" not in done.stderr


def test_the_best_of_a_shape_becomes_its_point(tiles: Any) -> None:
    cut = tiles.CUTS[0]
    made = tiles._point(SHAPE, {"linear": 9.04, cut: 7.96, OTHER: 8.0})
    assert made == {"shape": SHAPE, "cut": cut, "tiles": None, "us": 8.0, "half_us": 9.0}


def test_one_launch_is_taken_unless_two_are_faster_beyond_the_noise(tiles: Any) -> None:
    one, slow = (tiles.FEW_ROWS, 8, 2), (tiles.FEW_ROWS, 8, 1)
    made = tiles._point(SHAPE, {"linear": 9.0, OTHER: 8.0, slow: 9.9, one: 8.2})
    assert made["few"] == {"tokens": 8, "split": 2, "us": 8.2, "beside_us": 8.0}
    assert (made["tiles"], made["us"]) == (OTHER, 8.0)
    assert tiles._named(made) == one
    assert "few" not in tiles._point(SHAPE, {"linear": 9.0, OTHER: 8.0, one: 8.3})
    table = {"rows": [{"sm": "9.0", "points": [made]}]}
    assert tiles.chosen(table, "9.0") == {SHAPE: one}


def test_the_table_holds_to_that(tiles: Any) -> None:
    table = json.loads(tiles.TABLE.read_text(encoding="utf-8"))
    few = [p["few"] for row in table["rows"] for p in row["points"] if "few" in p]
    assert all(one["us"] <= one["beside_us"] * (1 + tiles.NOISE) for one in few)


def test_a_cuts_fit_gives_back_what_made_its_times(tiles: Any) -> None:
    cut, processors = tiles.CUTS[8], 132
    shapes = [(rows, depth, 4096) for rows in (4096, 16384) for depth in (1024, 4096, 8192)]
    measured = {
        shape: {
            cut: tiles.LAUNCH_US
            + tiles.waves(shape, cut, processors) * (2.0 + 0.5 * shape[1] / 128)
        }
        for shape in shapes
    }
    tile, step = tiles.fitted(measured, cut, processors)
    assert tile == pytest.approx(2.0)
    assert step == pytest.approx(0.5)
