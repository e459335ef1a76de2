"""benchmarks/switchback.py without a GPU: its refusals, roofline, goals and tables."""

# ruff: noqa: ANN401 - the benchmark's module is loaded, its cells are JSON

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def judged(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(checkout))
    return importlib.import_module("benchmarks._switchback_judged")


def started(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(checkout / "benchmarks" / "switchback.py"), *arguments]
    hidden = {"CUDA_VISIBLE_DEVICES": "", "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=200, env=hidden
    )


def cell(rows: int, depth: int, columns: int, passes: str = "forward", **ms: float) -> Any:
    made = {
        name.replace("_", "-"): {
            "ms": one, "p10": one * 0.99, "p90": one * 1.01, "call_ms": 2 * one, "rel_error": 0.01
        }
        for name, one in ms.items()
    }  # fmt: skip
    return {
        "rows": rows, "depth": depth, "columns": columns, "passes": passes, "cache": "clean",
        "failed": {}, "contenders": made, "roofline": {"compute_ms": 0.1, "memory_ms": 0.2},
    }  # fmt: skip


def test_without_a_gpu_it_says_what_it_needs(checkout: Path) -> None:
    pytest.importorskip("torch")
    ended = started(checkout, "--rows", "16")
    assert ended.returncode == 2
    assert "needs a CUDA GPU" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not ended.stdout


@pytest.mark.parametrize("shape", ["1024", "1024x", "0x3", "axb"])
def test_a_shape_is_inputs_x_outputs(checkout: Path, shape: str) -> None:
    ended = started(checkout, "--shapes", shape)
    assert ended.returncode == 2
    assert "is not like 1024x4096" in ended.stderr


@pytest.mark.parametrize("words", [["--tell"], ["--tell", "--json", "none.json"]])
def test_only_a_file_that_is_there_can_be_judged(checkout: Path, words: list[str]) -> None:
    ended = started(checkout, *words)
    assert ended.returncode == 2
    assert "name one that is there" in ended.stderr


@pytest.mark.parametrize(
    ("name", "bytes_"),
    [
        ("NVIDIA H100 80GB HBM3", 3.35e12),
        ("NVIDIA H100 PCIe", 2.0e12),
        ("NVIDIA H200", 4.8e12),
        ("NVIDIA A100-SXM4-80GB", 2.039e12),
        ("NVIDIA L40S", 0.864e12),
        ("NVIDIA L4", 0.3e12),
    ],
)
def test_a_device_is_found_by_its_name(judged: Any, name: str, bytes_: float) -> None:
    peak = judged.peaks(name)
    assert peak["bytes"] == bytes_
    assert peak["source"].startswith("NVIDIA")


def test_of_another_device_no_roofline_is_claimed(judged: Any) -> None:
    assert judged.peaks("NVIDIA GeForce GTX 1080") is None


def test_every_row_of_peaks_says_where_it_is_from(judged: Any) -> None:
    table = json.loads(judged.PEAKS.read_text(encoding="utf-8"))
    for row in table["rows"]:
        assert row["source"] in table["sources"]
        assert row["int8"] == pytest.approx(2 * row["bf16"], rel=0.01)
    assert {row["source"] for row in table["rows"]} == set(table["sources"])


def test_the_roofline_counts_operations_and_bytes(judged: Any) -> None:
    peak = {"int8": 1e12, "bf16": 0.5e12, "bytes": 1e9}
    forward = judged.roofline((10, 20, 30), "forward", peak)
    assert forward["compute_ms"] == pytest.approx(1000 * 2 * 6000 / 1e12)
    assert forward["memory_ms"] == pytest.approx(1000 * (2 * 10 * 20 + 600 + 2 * 10 * 30) / 1e9)
    both = judged.roofline((10, 20, 30), "forward+backward", peak)
    assert both["compute_ms"] == pytest.approx(4 * forward["compute_ms"])
    reads = 2 * (10 * 20 + 20 * 30) + 2 * (10 * 30 + 10 * 20 + 20 * 30)  # x, w; dy, x, w
    writes = 2 * 10 * 30 + 2 * (10 * 20 + 20 * 30)  # y; dx, dw
    assert both["memory_ms"] == pytest.approx(1000 * (reads + writes) / 1e9)


def test_every_contender_that_runs_by_default_can_be_made(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(checkout))
    made = importlib.import_module("benchmarks._switchback_contenders")
    for passes, names in made.DEFAULT.items():
        assert names[0] == "linear", passes
        assert set(names) <= set(made.CONTENDERS)
    assert set(made.COMPARED) <= set(made.CONTENDERS)
    for name in ("int_mm", "torch-fp8", "torchao", "torchao-compiled"):
        with pytest.raises(made.OtherPassError):
            made.CONTENDERS[name](None, None, training=True)
    with pytest.raises(made.OtherPassError):
        made.CONTENDERS["torchao-training"](None, None, training=False)


def found(judged: Any, cells: list[Any], words: str) -> Any:
    (one,) = (g for g in judged.judged(cells, "switchback-vector") if words in g.goal)
    return one


def test_a_goal_holds_where_it_is_about(judged: Any) -> None:
    cells = [
        cell(4096, 1024, 4096, linear=1.3, switchback_vector=1.0),
        cell(16384, 5120, 1280, linear=1.29, switchback_vector=1.0),
        cell(256, 1024, 4096, linear=1.0, switchback_vector=1.0),  # too few rows to count
        cell(4096, 4096, 4096, linear=1.7, switchback_vector=1.0),  # of the next goal
    ]
    narrow = found(judged, cells, "1.3 x bf16")
    assert narrow.met == {"4096 x 1024->4096 forward": 1.3}
    assert narrow.missed == {"16384 x 5120->1280 forward": 1.29}
    assert narrow.word == "MISSED"
    wide = found(judged, cells, "1.7 x bf16")
    assert (len(wide.met), wide.missed, wide.word) == (1, {}, "met")


def test_training_is_held_to_wide_layers_alone(judged: Any) -> None:
    cells = [
        cell(4096, 1024, 4096, "forward+backward", linear=1.0, switchback_vector=1.0),
        cell(4096, 1280, 5120, "forward+backward", linear=1.2, switchback_vector=1.0),
    ]
    one = found(judged, cells, "1.13 x bf16")
    assert (len(one.met), one.missed) == (1, {})


def test_no_worse_means_beyond_the_spread(judged: Any) -> None:
    within = cell(16, 4096, 4096, torchao_compiled=0.99, switchback_vector=1.0)
    beyond = cell(16, 4096, 4096, torchao_compiled=0.9, switchback_vector=1.0)
    assert found(judged, [within], "compiled torchao").met == {"16 x 4096->4096 forward": 0.99}
    assert found(judged, [beyond], "compiled torchao").missed == {"16 x 4096->4096 forward": 0.9}


def test_torchaos_training_is_a_goal_of_its_own(judged: Any) -> None:
    both = cell(
        16, 4096, 4096, "forward+backward", torchao_training_compiled=1, switchback_vector=2
    )
    forward = cell(16, 4096, 4096, torchao_training_compiled=3.0, switchback_vector=1.0)
    goal = found(judged, [both, forward], "int8 training")
    assert (goal.met, goal.missed) == ({}, {"16 x 4096->4096 forward+backward": 0.5})


def test_a_cell_that_something_disturbed_decides_nothing(judged: Any) -> None:
    one = cell(4096, 1280, 5120, linear=3.0, switchback_vector=1.0)
    one["contenders"]["linear"]["p10"] = 1.0
    goal = found(judged, [one], "1.3 x bf16")
    assert (goal.met, goal.missed, goal.word) == ({}, {}, "unasked")
    assert goal.disturbed == ("4096 x 1280->5120 forward",)
    assert "          4096 x 1280->5120 forward disturbed" in judged.goal_lines([one])


def test_of_two_records_the_quieter_one_decides(judged: Any) -> None:
    noisy = cell(4096, 1280, 5120, linear=3.0, switchback_vector=1.0)
    noisy["contenders"]["linear"]["p10"] = 2.5
    quiet = cell(4096, 1280, 5120, linear=1.2, switchback_vector=1.0)
    assert found(judged, [noisy, quiet], "1.3 x bf16").missed == {"4096 x 1280->5120 forward": 1.2}


def test_contenders_of_two_records_are_never_compared(judged: Any) -> None:
    first = cell(16, 4096, 4096, linear=1.0, switchback_vector=1.0)
    second = cell(16, 4096, 4096, linear=1.0, torchao_compiled=0.1)
    goal = found(judged, [first, second], "compiled torchao")
    assert (goal.met, goal.missed, goal.unmeasured) == ({}, {}, 1)


def test_a_goal_is_met_only_once_all_of_it_was_measured(judged: Any) -> None:
    asked = [(4096, 1024, 4096, "forward"), (16384, 1024, 4096, "forward")]
    first = cell(4096, 1024, 4096, linear=1.4, switchback_vector=1.0)
    lines = list(judged.goal_lines([first], asked))
    assert any(
        line.startswith("so far  switchback-vector: forward >= 1.3")
        and line.endswith("1 of 1, from 1.4 to 1.4; 1 cells not measured")
        for line in lines
    )
    second = cell(16384, 1024, 4096, linear=1.5, switchback_vector=1.0)
    lines = list(judged.goal_lines([first, second], asked))
    assert "met     switchback-vector: forward >= 1.3" in " ".join(lines)


def test_an_error_that_is_no_number_misses(judged: Any) -> None:
    good, bad = (cell(16, 64, 64, linear=1.0, switchback_vector=1.0) for _ in range(2))
    bad["contenders"]["switchback-vector"]["rel_error"] = float("nan")
    one = found(judged, [good, bad], "relative error")
    assert (len(one.met), len(one.missed)) == (0, 1)  # of one cell: a bad record is enough
    other = cell(256, 64, 64, linear=1.0, switchback_vector=1.0)
    assert len(found(judged, [good, other], "relative error").met) == 2


def test_what_was_not_measured_is_neither_met_nor_missed(judged: Any) -> None:
    lines = list(judged.goal_lines([cell(16, 64, 64, linear=1.0, switchback_vector=0.9)]))
    assert sum(line.startswith("unasked") for line in lines) == 6
    assert not [line for line in lines if line.startswith("MISSED")]
    assert any(line.startswith("met") and "never slower" in line for line in lines)


def test_missed_goals_name_their_cells(judged: Any) -> None:
    lines = list(judged.goal_lines([cell(16, 64, 64, linear=0.5, switchback_global=1.0)]))
    assert "MISSED  switchback-global: never slower than bf16" in " ".join(lines)
    assert "          16 x 64->64 forward 0.5" in lines


def test_the_table_has_a_row_a_cell_and_gaps_where_a_peer_failed(judged: Any) -> None:
    cells = [
        cell(1, 64, 64, linear=1.0, switchback_vector=0.5),
        cell(16, 64, 64, linear=1.0, switchback_vector=0.8, int_mm=0.25),
    ]
    cells[0]["roofline"] = None
    table = list(judged.markdown(cells))
    assert table[1] == "| shape | linear | switchback-vector | int-mm | roofline |"
    assert table[3] == "| 1 x 64->64 | 1 | 0.5 (2.00) | - | ? |"
    assert table[4] == "| 16 x 64->64 | 1 | 0.8 (1.25) | 0.25 (4.00) | 0.2 |"


def test_a_line_tells_times_spread_speedup_error_and_failures(judged: Any) -> None:
    one = cell(16, 64, 64, linear=1.0, switchback_vector=0.5)
    one["failed"]["int_mm"] = "RuntimeError: too few rows"
    text = judged.line(one)
    assert "switchback-vector 0.5000 [0.4950 0.5050] call 1.000 x2.00 e0.0100" in text
    assert "int_mm FAILED RuntimeError: too few rows" in text
    assert text.endswith("roofline 0.2000")


def test_the_table_marks_what_was_disturbed_and_joins_records(judged: Any) -> None:
    first = cell(16, 64, 64, linear=1.0, switchback_vector=0.5)
    first["contenders"]["switchback-vector"]["p90"] = 5.0
    second = cell(16, 64, 64, linear=2.0, torchao_compiled=0.5)
    table = list(judged.markdown([first, second]))
    assert table[3] == "| 16 x 64->64 | 1 | 0.5* (2.00) | 0.5 (4.00) | 0.2 |"
    assert "switchback-vector" not in " ".join(judged.summary([first, second]))
    assert "switchback-vector DISTURBED" in judged.line(first)


def test_the_summary_is_a_geometric_mean(judged: Any) -> None:
    cells = [cell(n, 64, 64, linear=ms, switchback_vector=1.0) for n, ms in ((1, 1.0), (2, 4.0))]
    text = "\n".join(judged.summary(cells))
    assert "speedup over bf16 Linear: geometric mean 2.00, 1.00 to 4.00" in text


def test_errors_stand_side_by_side(judged: Any) -> None:
    errors = [{"depth": 8, "columns": 9, "data": "outliers", "errors": {"a": 0.01, "b": 0.5}}]
    assert list(judged.error_lines(errors))[-1] == "| 8->9 | outliers | 0.0100 | 0.5000 |"
