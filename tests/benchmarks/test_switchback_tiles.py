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


@pytest.fixture
def tried(tiles: Any) -> Any:
    del tiles
    return importlib.import_module("benchmarks._switchback_tried")


def test_every_choice_of_the_table_is_a_candidate(tiles: Any, tried: Any) -> None:
    table = json.loads(tiles.TABLE.read_text(encoding="utf-8"))
    for row in table["rows"]:
        choices = set(tiles.chosen(table, row["sm"]).values())
        few = {one for one in choices if one[0] == tiles.FEW_ROWS}
        many = {one for one in choices if one[0] == tiles.MANY_ROWS}
        assert few
        assert many
        assert choices - few - many <= {*tried.CUTS, *tried.SPLIT_CUTS, *tried.TILES}
        for shape, one in tiles.chosen(table, row["sm"]).items():
            assert one not in many or one[1:] in tried.many_ways(shape)
            assert one not in tried.SPLIT_CUTS or tried.serves(one, shape)
    assert tiles.chosen(table, "1.0") == {}


def test_a_choice_is_beaten_only_if_it_is_each_time(tiles: Any) -> None:
    def judge(*found: tuple[float, float]) -> Any:
        both = [{"linear": 9.0, CHOICE: one, OTHER: other} for one, other in found]
        return tiles.verdict(SHAPE, CHOICE, [tiles.Measured(us, {CHOICE: 0.2}) for us in both])

    assert judge((8.0, 9.0), (8.0, 9.0)).startswith("holds   1 x 1024->4096: (16, 64")
    assert judge((8.0, 7.0), (8.0, 8.1)).startswith("holds ")
    assert judge((8.0, 7.9), (8.0, 7.9)).startswith("holds ")  # within the noise
    beaten = judge((8.0, 7.0), (8.0, 7.0))
    assert beaten.startswith("BEATEN")
    assert "8.0 us, best (16, 64, 512, 8, 3) 7.0, half 9.0" in beaten


def test_one_launch_is_beaten_only_beyond_its_spread(tiles: Any) -> None:
    one = (tiles.FEW_ROWS, 8, 2)
    us = {"linear": 9.0, one: 8.0, OTHER: 7.6}
    for spread, word in ((0.07, "holds "), (0.04, "BEATEN")):
        assert tiles.verdict(SHAPE, one, [tiles.Measured(us, {one: spread})]).startswith(word)


def test_a_choice_that_was_not_timed_is_not_judged(tiles: Any) -> None:
    found = tiles.Measured({"linear": 9.0, OTHER: 7.0}, {})
    assert tiles.verdict(SHAPE, None, [found]).startswith("unknown 1 x 1024->4096")
    assert tiles.verdict(SHAPE, CHOICE, [found]).startswith("unknown 1 x 1024->4096")


def test_the_spread_leaves_out_a_tenth_at_either_end(tiles: Any) -> None:
    assert tiles._spread([1.0, 9.0, *[10.0] * 8, 10.0, 11.0, 99.0]) == pytest.approx(0.1)
    assert tiles._spread([8.0, 10.0, 12.0]) == pytest.approx(0.2)


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
    for cut in (tiles.CUTS[0], tiles.SPLIT_CUTS[0]):
        made = tiles._point(SHAPE, tiles.Measured({"linear": 9.04, cut: 7.96, OTHER: 8.0}, {}))
        assert made == {"shape": SHAPE, "cut": cut, "tiles": None, "us": 8.0, "half_us": 9.0}


@pytest.mark.parametrize(
    ("cut", "shape", "served"),
    [
        ((1, 128, 6, False, 2, True), (32, 4096, 4096), False),  # most of each tile would be empty
        ((1, 128, 6, False, 2, True), (4096, 4096, 4096), True),
        ((1, 64, 9, False, 1, True, 2), (384, 5120, 1280), True),  # 120 blocks in pairs
        ((1, 64, 9, False, 1, True, 3), (256, 5120, 1280), False),  # 120 by three
        ((1, 64, 9, False, 1, True, 3), (256, 4096, 1024), True),
    ],
)
def test_cuts_are_tried_where_tiles_are_full_and_clusters_run_at_once(
    tried: Any, cut: Any, shape: Any, *, served: bool
) -> None:
    assert tried.serves(cut, shape) is served


def test_one_launch_is_taken_unless_two_are_faster_beyond_the_spread(tiles: Any) -> None:
    one, slow = (tiles.FEW_ROWS, 8, 2), (tiles.FEW_ROWS, 8, 1)

    def point(us: float) -> Any:
        found = {"linear": 9.0, OTHER: 8.0, slow: 9.9, one: us}
        return tiles._point(SHAPE, tiles.Measured(found, {one: 0.05, slow: 0.5}))

    made = point(8.4)
    assert made["few"] == {"tokens": 8, "split": 2, "us": 8.4, "beside_us": 8.0, "spread": 0.05}
    assert (made["tiles"], made["us"]) == (OTHER, 8.0)
    assert tiles._named(made) == one
    assert "few" not in point(8.5)
    table = {"rows": [{"sm": "9.0", "points": [made]}]}
    assert tiles.chosen(table, "9.0") == {SHAPE: one}


def test_many_rows_take_one_launch_only_where_it_is_faster_beyond_the_spread(
    tiles: Any, tried: Any
) -> None:
    shape = (16384, 4096, 1024)
    one = (tiles.MANY_ROWS, *tried.many_ways(shape)[0])

    def point(us: float) -> Any:
        found = {"linear": 180.0, tiles.CUTS[-1]: 160.0, one: us}
        return tiles._point(shape, tiles.Measured(found, {one: 0.01}))

    made = json.loads(json.dumps(point(150.0)))
    assert made["fused"] == {
        "way": json.loads(json.dumps(one[1:])), "us": 150.0, "beside_us": 160.0, "spread": 0.01
    }  # fmt: skip
    assert made["cut"] == list(tiles.CUTS[-1])
    assert tiles._named(made) == one
    assert "fused" not in point(159.0)


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
