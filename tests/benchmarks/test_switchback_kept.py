"""What benchmarks/switchback.py measures first, what it measures again, and what it keeps."""

# ruff: noqa: ANN401 - the benchmark's modules are loaded, their records are JSON

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

CELL = (16, 64, 96, "forward")
WANTED = ("linear", "switchback-vector", "torchao-compiled")


@pytest.fixture
def kept(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(checkout))
    return importlib.import_module("benchmarks._switchback_kept")


def record(*names: str, wide: str = "", failed: str = "", cache: str = "clean") -> Any:
    made = {
        name: {
            "ms": 1.0,
            "p10": 0.5 if name == wide else 0.99,
            "p90": 1.01,
            "call_ms": 1.0,
            "rel_error": None,
        }
        for name in names
    }
    failed_ = {failed: "why"} if failed else {}
    return {
        "rows": 16, "depth": 64, "columns": 96, "passes": "forward", "cache": cache,
        "contenders": made, "failed": failed_, "roofline": None,
    }  # fmt: skip


def test_what_the_goals_on_speed_ask_for_comes_first(kept: Any) -> None:
    found = kept.groups([(8, 9), (9, 8)], (1, 16, 4096, 16384), ("forward", "forward+backward"))
    assert [(one.passes, one.layer, one.rows) for one in found] == [
        ("forward", (8, 9), (16384, 4096)),
        ("forward", (9, 8), (16384, 4096)),
        ("forward+backward", (8, 9), (16384, 4096)),
        ("forward+backward", (9, 8), (16384, 4096)),
        ("forward", (8, 9), (16, 1)),
        ("forward", (9, 8), (16, 1)),
        ("forward+backward", (8, 9), (16, 1)),
        ("forward+backward", (9, 8), (16, 1)),
    ]
    assert len(set(kept.keys(found))) == 16


def test_a_cell_without_records_lacks_everybody(kept: Any) -> None:
    assert kept.lacking([], CELL, "clean", WANTED) == list(WANTED)


def test_what_was_measured_is_not_measured_again(kept: Any) -> None:
    assert kept.lacking([record(*WANTED)], CELL, "clean", WANTED) == []


def test_another_state_of_the_cache_is_another_cell(kept: Any) -> None:
    assert kept.lacking([record(*WANTED)], CELL, "written", WANTED) == list(WANTED)


def test_who_is_missing_is_measured_beside_the_anchors(kept: Any) -> None:
    records = [record("linear", "switchback-vector", "int_mm")]
    wanted = (*WANTED, "int_mm")
    assert kept.lacking(records, CELL, "clean", wanted) == list(WANTED)


def test_who_failed_is_not_asked_again(kept: Any) -> None:
    records = [record("linear", "switchback-vector", failed="torchao-compiled")]
    assert kept.lacking(records, CELL, "clean", WANTED) == []
    assert kept.lacking(records, CELL, "clean", WANTED, failed=True) == list(WANTED)
    records.append(record(*WANTED))
    assert kept.lacking(records, CELL, "clean", WANTED, failed=True) == []


def test_who_was_disturbed_is_measured_again(kept: Any) -> None:
    records = [record(*WANTED, wide="torchao-compiled")]
    assert kept.lacking(records, CELL, "clean", WANTED) == list(WANTED)
    assert kept.lacking([*records, record(*WANTED)], CELL, "clean", WANTED) == []


def test_beside_a_disturbed_anchor_nothing_counts(kept: Any) -> None:
    records = [record(*WANTED, wide="linear")]
    assert kept.lacking(records, CELL, "clean", WANTED) == list(WANTED)


def test_records_of_a_cell_become_one_with_the_quietest_figures(kept: Any) -> None:
    noisy = record("linear", "switchback-vector", wide="switchback-vector", failed="int_mm")
    quiet = record("linear", "switchback-vector", "int_mm")
    quiet["contenders"]["linear"]["ms"] = 2.0
    (one,) = kept.merged([noisy, quiet])
    assert one["contenders"]["switchback-vector"]["p10"] == 0.99
    assert one["contenders"]["switchback-vector"]["base_ms"] == 2.0  # of the same record
    assert one["failed"] == {}


def test_a_file_is_read_back_and_another_devices_is_refused(kept: Any, tmp_path: Path) -> None:
    path, about = tmp_path / "table.json", {"device": "a", "versions": "torch 1"}
    told = kept.read(path, about)
    assert told["cells"] == []
    told["cells"].append(record("linear"))
    kept.write(path, told)
    assert kept.read(path, about) == told
    assert [one.name for one in tmp_path.iterdir()] == ["table.json"]
    with pytest.raises(kept.OtherRunError, match="device: a, not b"):
        kept.read(path, {**about, "device": "b"})


def test_figures_of_another_file_are_taken_over_once(kept: Any, tmp_path: Path) -> None:
    about = {"device": "a", "versions": "torch 1"}
    told = {**about, "cells": [record("linear")], "errors": []}
    path = tmp_path / "more.json"
    other = {**about, "cells": [record("linear"), record(*WANTED)], "errors": ["e"], "log": "..."}
    kept.write(path, other)
    assert kept.joined(told, [path]) == 1
    assert kept.joined(told, [path]) == 0
    assert told == {**about, "cells": [record("linear"), record(*WANTED)], "errors": ["e"]}
    kept.write(path, {**other, "versions": "torch 2"})
    with pytest.raises(kept.OtherRunError, match="versions: torch 2, not torch 1"):
        kept.joined(told, [path])
    with pytest.raises(kept.OtherRunError, match="is not there"):
        kept.joined(told, [tmp_path / "none.json"])


@pytest.mark.parametrize("text", ["", "[]", '{"cells": [{}]}', '{"device": "a", "cells": [1]}'])
def test_a_file_of_something_else_is_refused(kept: Any, tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(kept.OtherRunError, match="no file of this benchmark"):
        kept.read(path, {"device": "a"})


def run(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(checkout / "benchmarks" / "switchback.py"), "--device", "cpu"]
    return subprocess.run(
        [*command, *words], capture_output=True, text=True, check=False, timeout=280,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.timeout(600)
def test_runs_one_after_the_other_make_one_table(checkout: Path, tmp_path: Path) -> None:
    """The script as a whole, on the CPU: only what is missing is measured, then judged."""
    pytest.importorskip("torch")
    file = tmp_path / "table.json"
    small = ["--rows", "2", "--shapes", "16x24", "--seconds", "0", "--passes", "forward"]
    small += ["--compile", "off", "--no-errors", "--json", str(file)]
    first = run(checkout, *small, "--only", "linear")
    assert first.returncode == 0, first.stderr
    (cell,) = json.loads(file.read_text(encoding="utf-8"))["cells"]
    assert set(cell["contenders"]) == {"linear"}
    second = run(checkout, *small, "--only", "linear", "switchback-vector")
    assert second.returncode == 0, second.stderr
    records = json.loads(file.read_text(encoding="utf-8"))["cells"]
    assert records[0] == cell
    assert set(records[1]["contenders"]) == {"linear", "switchback-vector"}
    assert records[1]["contenders"]["switchback-vector"]["rel_error"] < 0.02
    told = run(checkout, *small, "--tell")
    assert told.returncode == 0, told.stderr
    assert "switchback-vector: relative error <= 0.015 on Gaussian data: 1 of 1" in told.stdout
    assert len(json.loads(file.read_text(encoding="utf-8"))["cells"]) == 2
    other = tmp_path / "other.json"
    other.write_text(
        json.dumps({**json.loads(file.read_text("utf-8")), "cells": [{**cell, "rows": 4}]})
    )
    joined = run(checkout, "--json", str(file), "--join", str(other))
    assert joined.returncode == 0, joined.stderr
    assert joined.stdout.startswith("1 records joined\n")
    assert [one["rows"] for one in json.loads(file.read_text("utf-8"))["cells"]] == [2, 2, 4]
    missing = run(checkout, "--json", str(file), "--join", str(tmp_path / "none.json"))
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "none.json is not there" in missing.stderr


def test_a_worker_compiles_only_what_the_file_lacks(
    kept: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    switchback = importlib.import_module("benchmarks.switchback")
    monkeypatch.setattr(switchback, "versions", lambda: "torch 1")
    monkeypatch.setattr(switchback, "TUNING", {"timed": "yes"})
    path, asked = tmp_path / "table.json", []

    def compile_all(items: Any, *_: Any) -> int:
        asked.extend(items)
        return 0

    monkeypatch.setattr(switchback, "compile_all", compile_all)
    told = kept.read(path, {"device": "the CPU, as a trial", "versions": "torch 1"})
    told["cells"] = [record(*WANTED), {**record("linear"), "rows": 4}]
    kept.write(path, told)
    words = ["--device", "cpu", "--rows", "4", "16", "1", "--shapes", "64x96", "96x64"]
    words += ["--passes", "forward", "--only", *WANTED, "--json", str(path)]
    options = switchback._options([*words, "--only-compile", "0/1"])
    assert switchback._only_compile(torch, options, 0.0) == 0
    assert switchback.TUNING == {"timed": False}
    assert [(group.layer, rows) for group, rows in asked] == [
        ((64, 96), 4), ((64, 96), 1), ((96, 64), 16), ((96, 64), 4), ((96, 64), 1)
    ]  # fmt: skip
    assert switchback._choosing(["--budget", "3", *words, "--format", "markdown"]) == words


def test_a_budget_that_is_spent_leaves_cells_out_and_says_so(
    checkout: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    file = tmp_path / "table.json"
    small = ["--rows", "2", "--shapes", "16x24", "--compile", "off", "--json", str(file)]
    done = run(checkout, *small, "--budget", "0.1")
    assert done.returncode == 0, done.stderr
    assert "left out, the budget is spent: [2] x (16, 24) forward" in done.stdout
    assert "nothing measured of 1 cells" in done.stdout
    assert not file.exists() or not json.loads(file.read_text(encoding="utf-8"))["cells"]


def test_a_file_of_another_run_is_one_clear_error(checkout: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    file = tmp_path / "table.json"
    file.write_text('{"device": "x", "versions": "y", "cells": [], "errors": []}', encoding="utf-8")
    done = run(checkout, "--json", str(file), "--compile", "off")
    assert done.returncode == 2
    assert "holds figures of another run" in done.stderr
    assert "Traceback" not in done.stderr
