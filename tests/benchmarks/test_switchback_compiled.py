"""Compiling beforehand in processes of their own: shares, failures, hanging processes."""

# ruff: noqa: ANN401 - the benchmark's modules are loaded

from __future__ import annotations

import importlib
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def compiled(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(checkout))
    return importlib.import_module("benchmarks._switchback_compiled")


def test_every_item_has_one_worker_and_the_first_come_first(compiled: Any) -> None:
    items = list(range(7))
    shares = [compiled.share(items, f"{number}/3") for number in range(3)]
    assert shares == [[0, 3, 6], [1, 4], [2, 5]]


def test_what_cannot_be_compiled_does_not_end_a_worker(
    compiled: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    done = []

    def one(item: int) -> None:
        if item == 1:
            raise RuntimeError("no kernel")
        done.append(item)

    assert compiled.compile_all([0, 1, 2], one, time.monotonic() + 60) == 2
    assert done == [0, 2]
    assert "1: RuntimeError: no kernel" in capsys.readouterr().err
    assert compiled.compile_all([0], one, time.monotonic() - 1) == 0


def script(folder: Path, text: str) -> Path:
    path = folder / "worker.py"
    path.write_text(text, encoding="utf-8")
    return path


def test_workers_are_told_their_share_and_waited_for(
    compiled: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "import os, sys, pathlib\n"
        f"name = sys.argv[sys.argv.index('--only-compile') + 1].replace('/', '-')\n"
        f"path = pathlib.Path({str(tmp_path)!r}, name)\n"
        "path.write_text(' '.join(sys.argv[1:]) + os.environ['TORCHINDUCTOR_COMPILE_THREADS'])\n"
    )
    monkeypatch.setattr(compiled, "SCRIPT", script(tmp_path, text))
    said = compiled.beforehand(["--rows", "4"], 2, 30.0)
    assert said.startswith("compiled beforehand by 2 processes in ")
    assert ";" not in said
    assert (tmp_path / "0-2").read_text() == "--rows 4 --only-compile 0/2 --budget 301"
    assert (tmp_path / "1-2").exists()


def test_a_worker_that_fails_or_hangs_is_told_and_holds_nobody_up(
    compiled: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "import sys, time\n"
        "if sys.argv[sys.argv.index('--only-compile') + 1] == '0/2':\n"
        "    sys.exit('no GPU')\n"
        "time.sleep(60)\n"
    )
    monkeypatch.setattr(compiled, "SCRIPT", script(tmp_path, text))
    monkeypatch.setattr(compiled, "GRACE", 0.0)
    begun = time.monotonic()
    said = compiled.beforehand([], 2, 3.0)
    assert time.monotonic() - begun < 30
    assert "2 of 2 did not end well: exit 1: no GPU" in said


def test_no_worker_no_compiling(compiled: Any) -> None:
    assert compiled.beforehand([], 0, 10.0) == "nothing is compiled beforehand"
    assert compiled.beforehand([], 4, 0.0) == "nothing is compiled beforehand"
