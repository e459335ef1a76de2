"""Which tiles are chosen: from the table, by the waves they take, or safe ones."""

# ruff: noqa: ANN401 - modules loaded by path have no types

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

KERNELS = Path(__file__).resolve().parents[2] / "kernels"
MEASURING = KERNELS.parent / "benchmarks" / "switchback_tiles.py"
Load = Callable[[str], Any]
WIDE = {"cut": [1, 256, 4, False, 1, True], "tile_us": 2.0, "step_us": 1.0}
SMALL = {"cut": [1, 128, 6, False, 1, True], "tile_us": 2.0, "step_us": 0.6}
KNOWN = {
    "arch": "sm_90a", "overlap": True, "clustered": [5, 6], "rows_of_points": 256,
    "cuts": [WIDE, SMALL],
    "points": [
        {"shape": [16, 4096, 4096], "cut": None, "tiles": [16, 16, 512, 4, 4],
         "few": {"tokens": 16, "split": 6, "us": 8.0, "beside_us": 9.0}},
        {"shape": [256, 4096, 4096], "cut": None, "tiles": [64, 64, 128, 4, 6]},
        {"shape": [256, 4096, 16384], "cut": [2, 64, 8, True, 1, True], "tiles": None},
        {"shape": [16384, 1024, 4096], "cut": [2, 192, 4, True, 2, True], "tiles": None,
         "fused": {"way": [[2, 192, 4, True, 2, True], 3, 3, 1536, 1, 0], "us": 90.0,
                   "beside_us": 100.0}},
    ],
}  # fmt: skip


@pytest.fixture
def tiles(load: Load, monkeypatch: pytest.MonkeyPatch) -> Any:
    module = load("_switchback_tiles")
    monkeypatch.setattr(module, "table", lambda: {"9.0": KNOWN})
    return module


@pytest.mark.parametrize(
    ("shape", "cut", "block"),
    [
        ((8, 4096, 4096), None, (16, 16, 512, 4, 4)),
        ((200, 1024, 2048), None, (64, 64, 128, 4, 6)),
        ((256, 8192, 16384), (2, 64, 8, True, 1, True), None),
        ((4096, 4096, 4096), (1, 256, 4, False, 1, True), None),
        ((16448, 1024, 4096), (2, 192, 4, True, 2, True), None),
        ((20000, 1024, 4096), (1, 256, 4, False, 1, True), None),
        # 160 wide tiles are two waves on 132 multiprocessors, 320 small ones three: 70 or 64 us
        ((4096, 4096, 1280), (1, 128, 6, False, 1, True), None),
    ],
)
def test_the_nearest_point_decides_for_few_rows_and_the_waves_for_many(
    tiles: Any, shape: tuple[int, ...], cut: tuple[Any, ...] | None, block: tuple[int, ...] | None
) -> None:
    choice = tiles.choose("9.0", shape, 132)
    assert (choice.cut, choice.tiles) == (cut, block)
    assert (choice.arch, choice.overlap) == ("sm_90a", True)


def test_a_split_depth_is_taken_where_all_clusters_run_at_once(
    tiles: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = ([1, 64, 9, False, 1, True, 3], [1, 64, 9, False, 1, True, 2])
    whole = [1, 64, 10, True, 1, True]
    points = [
        {"shape": [rows, 5120, 1280], "cut": cut, "tiles": None}
        for rows, cut in ((128, splits[0]), (256, splits[1]), (512, whole))
    ]
    monkeypatch.setattr(
        tiles, "table", lambda: {"9.0": {**KNOWN, "rows_of_points": 512, "points": points}}
    )
    for rows, processors, cut in (
        (128, 132, splits[0]), (128, 70, splits[1]), (256, 132, splits[1]), (256, 78, whole),
        (130, 132, splits[1]), (384, 132, whole),
    ):  # fmt: skip
        assert tiles.choose("9.0", (rows, 5120, 1280), processors).cut == tuple(cut)
    wider = {**KNOWN, "clustered": [1, 1], "rows_of_points": 512, "points": points}
    monkeypatch.setattr(tiles, "table", lambda: {"9.0": wider})
    assert tiles.choose("9.0", (128, 5120, 1280), 70).cut == tuple(splits[0])


def test_a_cut_is_taken_by_near_shapes_while_it_needs_no_more_waves(
    tiles: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared_b, shared_a = [1, 256, 4, False, 2, True], [1, 256, 4, False, 2, False]
    narrow, high = [1, 32, 14, True, 1, True], [1, 32, 10, False, 1, True]
    points = [
        {"shape": [64, 1024, 4096], "cut": narrow, "tiles": None},
        {"shape": [128, 1024, 4096], "cut": high, "tiles": None},
        {"shape": [4096, 4096, 1024], "cut": shared_b, "tiles": None},
    ]
    cuts = [{"cut": cut, "tile_us": 3.0, "step_us": 0.6} for cut in (shared_b, shared_a)]
    known = {**KNOWN, "points": points, "cuts": cuts}
    monkeypatch.setattr(tiles, "table", lambda: {"9.0": known})
    for shape, cut in (
        ((3968, 4096, 1024), shared_b), ((4096, 4096, 1024), shared_b),
        # 33 tiles, one above the other, in pairs are 17: 68 pairs, of which 66 run at once
        ((4112, 4096, 1024), shared_a), ((4224, 4096, 1024), shared_a),
        ((64, 1024, 4096), narrow), ((65, 1024, 4096), high), ((128, 1024, 4096), high),
        # no other point is like it: waves decide
        ((129, 1024, 4096), shared_b),
    ):  # fmt: skip
        assert tiles.choose("9.0", shape, 132).cut == tuple(cut), shape


def test_of_tritons_tiles_none_is_above_another_that_was_alone(
    tiles: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    low, high = [16, 16, 512, 4, 4], [32, 32, 256, 4, 4]
    cut = [1, 32, 14, True, 1, True]
    points = [
        {"shape": [16, 1024, 4096], "cut": None, "tiles": low},
        {"shape": [32, 1024, 4096], "cut": None, "tiles": high},
        {"shape": [64, 1024, 4096], "cut": cut, "tiles": None},
    ]
    monkeypatch.setattr(tiles, "table", lambda: {"9.0": {**KNOWN, "points": points}})
    for rows, block in ((5, low), (16, low), (17, high), (20, high), (32, high)):
        for columns in (4096, 3000):
            assert tiles.choose("9.0", (rows, 1024, columns), 132).tiles == tuple(block)
    # One so little farther serves layers that the table does not have, too.
    for columns in (4096, 1024):
        assert tiles.choose("9.0", (33, 1024, columns), 132).cut == tuple(cut)


def test_a_wave_has_fewer_tiles_in_large_clusters(tiles: Any) -> None:
    # 112 tiles: 28 clusters of 4, of which 27 run at once on 132 multiprocessors
    for cluster, processors, waves in ((1, 132, 1), (2, 132, 1), (4, 132, 2), (4, 140, 1)):
        cut = [1, 128, 8, True, cluster, True]
        assert tiles._waves(KNOWN, cut, (1024, 4096, 896), processors) == waves


def test_where_one_launch_does_it_all_the_table_says_how(tiles: Any) -> None:
    assert tiles.choose("9.0", (8, 4096, 4096), 132).few == (16, 6)
    assert tiles.choose("9.0", (200, 1024, 2048), 132).few is None
    assert tiles.NOTHING_KNOWN.few is None


def test_one_launch_is_taken_from_the_fewest_rows_that_gained(tiles: Any) -> None:
    way = ((2, 192, 4, True, 2, True), 3, 3, 1536, 1, 0)
    for rows in (16384, 16000, 17000, 65536):
        assert tiles.choose("9.0", (rows, 1024, 4096), 132).fused == way
    for shape in ((8192, 1024, 4096), (16384, 1280, 4096), (16384, 4096, 4096), (16, 4096, 4096)):
        assert tiles.choose("9.0", shape, 132).fused is None
    assert tiles.NOTHING_KNOWN.fused is None


def test_one_launch_is_not_taken_where_its_last_wave_costs_more_than_it_gains(
    tiles: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    many, small = [2, 192, 4, True, 2, True], [1, 64, 8, False, 1, True]
    cuts = [
        {"cut": many, "tile_us": 1.3, "step_us": 0.5},
        {"cut": small, "tile_us": 1.2, "step_us": 0.15},
    ]
    fused = {"way": [many, 3, 3, 1536, 1, 0], "us": 58.0, "beside_us": 60.0}
    point = {"shape": [8192, 4096, 768], "cut": many, "tiles": None, "fused": fused}
    known = {**KNOWN, "points": [point], "cuts": cuts}
    monkeypatch.setattr(tiles, "table", lambda: {"9.0": known})
    for rows, waves in ((8192, 2), (8448, 2), (9000, 3), (16384, 4)):
        assert tiles._waves(known, many, (rows, 4096, 768), 132) == waves
        choice = tiles.choose("9.0", (rows, 4096, 768), 132)
        # of 9000 rows its third wave is short: 52 us, in small tiles 42
        assert (choice.fused is None) is (rows == 9000)
        assert choice.cut == tuple(small if rows == 9000 else many)


def test_chunks_are_taken_by_shapes_that_are_nearly_the_points(load: Load) -> None:
    tiles = load("_switchback_tiles")
    for rows in (4096, 3968):
        assert tiles.choose("9.0", (rows, 5120, 1280), 132).chunks
    # 4097 rows have more tiles than one wave
    for rows, depth, columns in (
        (4097, 5120, 1280), (3000, 5120, 1280), (8192, 5120, 1280), (4096, 5120, 1536),
        (4096, 4608, 1280),
    ):  # fmt: skip
        shape = rows, depth, columns
        assert tiles.choose("9.0", shape, 132).chunks is None
    assert tiles.NOTHING_KNOWN.chunks is None


def test_one_launch_stands_in_the_table_only_where_it_was_not_slower(load: Load) -> None:
    for row in load("_switchback_tiles").table().values():
        for point in row["points"]:
            for one in filter(None, (point.get("few"), point.get("chunks"))):  # a tie goes to it
                assert one["us"] <= one["beside_us"] * (1 + one.get("spread", 0.0)), point
            if many := point.get("fused"):
                assert many["us"] < many["beside_us"] * (1 - many["spread"]), point


def test_of_another_gpu_nothing_is_known(tiles: Any) -> None:
    assert tiles.choose("8.6", (4096, 4096, 4096), 84) == tiles.NOTHING_KNOWN


def test_the_table_answers_for_every_shape_of_the_benchmark(load: Load) -> None:
    tiles, triton = load("_switchback_tiles"), load("_switchback_triton")
    assert set(tiles.table()) >= {"9.0"}
    for sm, row in tiles.table().items():
        for rows in (1, 16, 100, 256, 1000, 4096, 16384):
            for depth, columns in ((1024, 4096), (5120, 1280), (8192, 8192), (77, 33)):
                choice = tiles.choose(sm, (rows, depth, columns), 132)
                assert choice.cut or triton.Tiles(*choice.tiles).shared_bytes <= row["shared_bytes"]
    assert tiles.choose("9.0", (16384, 4096, 4096), 132).cut
    assert tiles.choose("9.0", (1, 4096, 4096), 132).cut is None


@pytest.mark.parametrize("text", [None, "{", '{"rows": 3}', '{"rows": [{}]}'])
def test_without_a_readable_table_there_are_safe_choices(tmp_path: Path, text: str | None) -> None:
    shutil.copytree(KERNELS, tmp_path / "_kernels")
    if text is not None:
        (tmp_path / "_matrix" / "tables").mkdir(parents=True)
        (tmp_path / "_matrix" / "tables" / "switchback_tiles.json").write_text(text)
    source = tmp_path / "_kernels" / "_switchback_tiles.py"
    module: dict[str, Any] = {"__name__": "tiles", "__file__": str(source)}
    exec(compile(source.read_text(), str(source), "exec"), module)  # noqa: S102 - our own file
    assert module["table"]() == {}
    assert module["choose"]("9.0", (4096, 4096, 4096), 132) == module["NOTHING_KNOWN"]


@pytest.fixture
def measuring(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark that makes a row of the table."""
    monkeypatch.syspath_prepend(str(KERNELS.parent))
    spec = importlib.util.spec_from_file_location("switchback_tiles_measured", MEASURING)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_row_is_made_of_the_fastest_and_of_waves(measuring: Any, load: Load) -> None:
    """Times as if tiles took exactly so long: the row says it, and chooses by it."""
    truth = {cut: (1.0 + cut[1] / 100, cut[0] * cut[1] / 500) for cut in measuring.CUTS}
    measured = {}
    for rows in (16, 1024, 4096, 16384):
        for depth, columns in ((1024, 4096), (4096, 1280), (8192, 8192)):
            shape = (rows, depth, columns)
            found = {
                cut: measuring.LAUNCH_US
                + measuring.waves(shape, cut, 132) * (tile + step * depth / 128)
                for cut, (tile, step) in truth.items()
            }
            quick = {(16, 16, 512, 4, 4): 5.0 if rows == 16 else 1e6}
            measured[shape] = measuring.Measured({"linear": 10.0, **found, **quick}, {})
    row = measuring.row(measured, 132)
    for one in row["cuts"]:
        tile, step = truth[tuple(one["cut"])]
        assert one["tile_us"] == pytest.approx(tile, abs=2e-3)
        assert one["step_us"] == pytest.approx(step, abs=2e-4)
    tiles = load("_switchback_tiles")
    for point in row["points"]:
        best = min(
            (time, name) for name, time in measured[point["shape"]].us.items() if name != "linear"
        )
        assert point["us"] == pytest.approx(best[0], abs=0.06)
        assert (point["tiles"] is None) is (point["shape"][0] > 16)
        if point["cut"]:
            alone = [one for one in row["cuts"] if tuple(one["cut"]) == point["cut"]]
            taken = min(row["cuts"], key=lambda one: tiles._time(row, one, point["shape"], 132))
            assert not alone or tiles._time(row, taken, point["shape"], 132) <= best[0]
