"""benchmarks/select.py: whether a choice holds, whether it repeats, and what its steps cost."""

# ruff: noqa: ANN401 - the benchmark's modules are loaded

from __future__ import annotations

import importlib
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from qdoctor.choosing.objectives import decide
from qdoctor.matrix import shipped
from qdoctor.model import Asked
from tests.choosing.conftest import over, verdicts

if TYPE_CHECKING:
    from pathlib import Path

    from qdoctor.choosing.measured import Measured
    from qdoctor.model import Selection

MANY, FEW, WIDE = (4096, 1024, 4096), (16, 1024, 4096), (4096, 4096, 4096)
SHAPES = (MANY, FEW, WIDE)


@pytest.fixture
def table(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(checkout))
    return importlib.import_module("benchmarks._selecting_table")


@pytest.fixture
def selecting(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(checkout))
    return importlib.import_module("benchmarks.selecting")


class Machine:
    """Decides as the real one does, by verdicts that are made up."""

    training = False

    def decided(self, objective: Any, measured: Measured) -> Selection:
        asked = Asked(objective=objective, shapes=measured.shapes)
        return decide(asked, verdicts(), measured, shipped())


def first(**times: Any) -> Measured:
    half = times.pop("half", (1.0, 0.1, 2.0))
    return over(SHAPES, half=half, qdoctor_switchback=times.pop("ours", (0.7, 0.2, 1.0)), **times)


def lines(table: Any, one: Measured, again: Measured, cells: Any = ()) -> list[str]:
    return list(table.table_lines(Machine(), one, again, cells))


def test_each_shape_is_decided_on_its_own_and_held_against_another_measurement(table: Any) -> None:
    found = lines(table, first(), first(ours=(0.8, 0.2, 1.25)))
    many, few, wide, verdict, unasked = found
    assert "4096 x 1024->4096" in many
    assert "qdoctor-switchback" in many
    assert "chosen at x1.43 | again x1.25" in many
    assert "half" in few
    assert "again x1.00" in few
    assert "again x1.60" in wide
    assert verdict.startswith("met     the selected backend is never slower than half")
    assert "3 of 3 shapes, least x1.00; quantized at 2; 0 not judged" in verdict
    assert unasked.startswith("unasked")


def test_a_choice_that_does_not_hold_misses_the_goal(table: Any) -> None:
    found = lines(table, first(), first(ours=(1.2, 0.2, 1.0)))
    assert found[0].endswith("SLOWER")
    assert found[3].startswith("MISSED  the selected backend is never slower")
    assert "2 of 3 shapes, least x0.83" in found[3]


def test_within_both_spreads_a_choice_is_not_slower(table: Any) -> None:
    found = lines(table, first(), first(ours=(1.015, 0.2, 1.0)))
    assert "SLOWER" not in " ".join(found)
    assert found[3].startswith("met")


def test_what_was_not_measured_is_not_judged(table: Any) -> None:
    some = first(half=(1.0, None, 2.0), ours=(0.7, None, 1.0))
    found = lines(table, some, first())
    assert found[1] == "  16 x 1024->4096: not measured within the budget"
    assert found[3].startswith("so far")
    assert found[3].endswith("quantized at 2; 1 not judged")
    again = lines(table, first(), some)
    assert again[3].startswith("so far")
    assert lines(table, first(half=(None,) * 3), first())[3].startswith("unasked")


def cell(ours: float, call: float, passes: str = "forward") -> Any:
    figures = {"ms": 1.0, "p10": 1.0, "p90": 1.0, "call_ms": 1.0}
    own = {**figures, "ms": ours, "p10": ours, "p90": ours, "call_ms": call}
    made = {"linear": figures, "switchback-vector": own}
    rows, depth, columns = MANY
    return {
        "rows": rows, "depth": depth, "columns": columns, "passes": passes, "contenders": made
    }  # fmt: skip


def test_the_tables_own_figures_are_held_against_the_choice_too(table: Any) -> None:
    ignored = cell(0.1, 0.1, "forward+backward")
    found = lines(table, first(), first(), [ignored, cell(0.5, 0.8)])
    assert "| table x1.25 (device x2.00" in found[0]  # a caller waits for the larger of the two
    assert found[4].startswith("so far  the selected backend is never slower than half beyond the")
    assert "switchback.py's table: 1 of 1 shapes" in found[4]
    assert "SLOWER" in lines(table, first(), first(), [cell(0.5, 1.1)])[0]


def test_in_training_the_tables_forward_and_backward_count(table: Any) -> None:
    cells = [cell(0.1, 0.1), cell(0.5, 0.8, "forward+backward")]
    one = table.held_by_table(MANY, "qdoctor-switchback", cells, training=True)
    assert (one.ratio, one.device) == (1.25, 2.0)


def test_a_layer_that_the_table_lacks_is_not_judged_by_it(table: Any) -> None:
    one = cell(0.5, 0.8)
    del one["contenders"]["switchback-vector"]
    assert table.held_by_table(MANY, "qdoctor-switchback", [one]) is None
    assert table.held_by_table(MANY, "torchao-fp8", [one]) is None


def test_answers_that_differ_between_runs_are_told(table: Any) -> None:
    same = dict.fromkeys(table.OBJECTIVES, "half")
    found = list(table.repeated_lines([same, same, {**same, "memory": "bnb-nf4"}]))
    assert found[0] == "met     the same answer in 3 runs, latency: half 3"
    assert "MISSED  the same answer in 3 runs, memory: half 2, bnb-nf4 1" in found


def test_every_objective_decides_by_the_same_figures(table: Any) -> None:
    found = table.winners(Machine(), over((MANY,), half=[1.0], bnb_nf4=[1.5]))
    assert found["latency"] == found["accuracy"] == found["balanced"] == "half"
    assert found["memory"] == "bnb-nf4"


def test_the_machine_measures_what_any_objective_may_take(
    table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    machine = Machine()
    report = importlib.import_module("msgspec").defstruct("Report", ["selection"])

    def choose_from(_report: Any, question: Any, **_: Any) -> Any:
        asked.append(question)
        return report(machine.decided("memory", over((MANY,), half=[1.0], bnb_nf4=[1.5])))

    monkeypatch.setattr(table, "choose_from", choose_from)
    real = object.__new__(table.Machine)
    real.report, real.device, real.environ, real.matrix = None, "cpu", {}, shipped()
    real.training = True
    real._progress = lambda _: None
    real.verdicts = verdicts()
    found = real.measured([MANY], 3.0, ["bnb-nf4"])
    assert found.timed["bnb-nf4"][0].milliseconds == 1.5
    (one,) = asked
    assert (one.objective, one.budget_seconds, one.allow) == ("memory", 3.0, ["bnb-nf4"])
    assert one.training
    real.training = False
    assert real.decided("memory", found).selected == "bnb-nf4"


def test_a_process_that_fails_ends_its_step_alone(
    selecting: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match="no such thing"):
        selecting.told([sys.executable, "-c", "raise SystemExit('no such thing')"], {})

    def fails(*_: Any) -> Any:
        raise RuntimeError("no GPU")

    monkeypatch.setattr(selecting, "call", fails)
    monkeypatch.setattr(selecting, "at_once", lambda *_: {"answers": 1})
    path = tmp_path / "kept.json"
    selecting.main(["--phases", "first", "at-once", "--json", str(path)])
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert kept["first"] is None
    assert kept["failed"] == {"first": "RuntimeError: no GPU"}
    assert kept["at-once"]["new"] == {"answers": 1}


def test_kept_answers_are_told_by_their_median(
    selecting: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Any] = []
    taken = iter([9.0, 0.003, 0.005, 0.004])

    def call(asks: Any, times: int, environ: Any) -> Any:
        asked.append((asks, times, environ["QDOCTOR_CACHE_DIR"]))
        return ["half", [0.5, *[0.0002] * 5] if times > 1 else [next(taken)], False, [], "why"]

    monkeypatch.setattr(selecting, "call", call)
    monkeypatch.setattr(selecting, "told", lambda *_: "[] 11")
    path = tmp_path / "kept.json"
    words = ["--phases", "first", "kept", "loop", "--runs", "3", "--never", "--device", "cpu"]
    selecting.main([*words, "--json", str(path)])
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert kept["first"] == {"seconds": 9.0, "selected": "half"}
    assert kept["kept"] == {"median": 0.004, "least": 0.003, "most": 0.005, "runs": 3}
    assert kept["loop"] == {"median": 0.0002}  # the first call of the loop reads the file
    assert {cache for _, _, cache in asked} == {asked[0][2]}
    assert asked[0][0] == {"measure": "never", "device": "cpu"}


@pytest.mark.parametrize("words", [["--shapes", "64"], ["--shapes", "axb"], ["--phases", "all"]])
def test_what_cannot_be_asked_is_one_clear_error(
    selecting: Any, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        selecting.main(words)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_a_gpu_that_cannot_be_filled_says_why(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(checkout))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    full = importlib.import_module("benchmarks._selecting_full")
    with pytest.raises(RuntimeError, match="could not be filled"), full.filled():
        pass


def test_processes_that_fail_before_they_ask_are_told_at_once(
    selecting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selecting, "CALL", "import sys; sys.exit(3)")
    with pytest.raises(RuntimeError, match=r"of 2 processes failed, exit 3"):
        selecting.at_once(2, {}, {})


def test_processes_that_fail_while_they_ask_are_told(
    selecting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = "open(f'{sys.argv[3]}/ready.{os.getpid()}', 'w').close()"
    asks = "time.sleep(0.01) or 1 / (not os.path.exists(f'{sys.argv[3]}/go'))"
    monkeypatch.setattr(selecting, "CALL", f"import os, sys, time; {ready}\nwhile True: {asks}")
    with pytest.raises(RuntimeError, match=r"2 of 2 processes failed, exit 1"):
        selecting.at_once(2, {}, {})
