"""``qdoctor select`` on the command line: its options, exit codes, text and data."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

import qdoctor
from qdoctor import cli
from qdoctor.backends import NAMES
from qdoctor.choosing import missing_package, shared
from qdoctor.choosing.objectives import decide
from qdoctor.matrix import shipped
from qdoctor.model import Asked, Report, Selection, from_json, to_json
from qdoctor.report import render
from qdoctor.schema import schema
from tests.choosing.conftest import measured, verdicts

MACHINES = Path(__file__).parent / "machines"
H100 = str(MACHINES / "h100-every-probe.json")


@pytest.fixture(autouse=True)
def _no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def answered(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    code = cli.run(["select", "--facts", H100, "--format", "json", *words])
    plain: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, plain


def test_the_json_holds_the_selection_and_has_its_schema(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, report = answered("--objective", "memory", "--allow", "bnb-nf4", capsys=capsys)
    jsonschema.Draft202012Validator(schema("report")).validate(report)
    jsonschema.Draft202012Validator(schema("selection")).validate(report["selection"])
    found = report["selection"]
    assert (code, found["schema"]) == (0, "qdoctor/selection/1")
    assert report["selected"] == found["selected"] == "bnb-nf4"
    assert (found["asked"]["objective"], found["asked"]["device"]) == ("memory", "cuda:0")
    assert found["measured"] is False
    assert found["notes"] == ["nothing was measured: the machine is described, not here"]


def test_shapes_are_read_however_they_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    wanted = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    for words in (
        ("--shapes", "1x2x3", "4x5x6", "7x8x9"),
        ("--shapes", "1x2x3,4x5x6 7x8x9"),
        ("--shapes", "1x2x3", "--shapes", "4x5x6", "--shapes", "7x8x9"),
    ):
        assert answered(*words, capsys=capsys)[1]["selection"]["asked"]["shapes"] == wanted


def test_options_reach_the_question(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--allow", "bnb-nf4,bnb-fp4", "--deny", "half", "--max-error", "0.2", "--training")
    _, report = answered(*words, "--budget", "3", "--device", "cuda",
                         "--max-slowdown", "3", capsys=capsys)  # fmt: skip
    asked = report["selection"]["asked"]
    assert asked["max_slowdown"] == 3.0
    assert (asked["allow"], asked["deny"]) == (["bnb-nf4", "bnb-fp4"], ["half"])
    assert (asked["max_error"], asked["training"], asked["budget_seconds"]) == (0.2, True, 3.0)
    assert report["selected"] is None  # neither trains


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--shapes", "4096x1024"], "is no shape: give ROWSxIN_FEATURESxOUT_FEATURES"),
        (["--shapes", ""], "--shapes names nothing: is a variable empty"),
        (["--allow", " "], "--allow names nothing"),
        (["--deny", ","], "--deny names nothing"),
        (["--allow", "bnb-nf4", "bnb-fp4"], "bnb-fp4 is no shape: several backends take an"),
        (["--shapes", "99999999999x64x64"], "each a whole number from 1 to 16777216"),
        (["--output", "a.json", "--export", "./a.json"], "name one file"),
        (["--allow", "bnb-int9"], "did you mean bnb-int8"),
        (["--require", "nf4"], "no backend is called 'nf4'"),
        (["--require", "bnb-nf4", "--deny", "bnb-nf4"], "ruled out by --allow or --deny"),
        (["--require", "bnb-nf4", "--allow", "bnb-fp4"], "ruled out by --allow or --deny"),
        (["--deny", ",".join(NAMES)], "rule out every backend, half too"),
        (["--allow", "bnb-nf4", "--deny", "half,bnb-nf4"], "rule out every backend, half too"),
        (["--refresh", "--measure", "never"], "which is meant?"),
        (["--device", "cuda:3"], "cuda:3 is not there: CUDA shows 1 GPU here"),
        (["--max-error", "-1"], "give a positive number"),
        (["--max-slowdown", "0"], "max_slowdown 0.0 is no bound: give a positive number"),
        (["--max-slowdown", "inf"], "max_slowdown inf is no bound"),
        (["--budget", "0"], "--budget"),
        (["--objective", "fast"], "--objective"),
        (["--export", "/nowhere/selection.json"], "--export /nowhere/selection.json: cannot be"),
    ],
)
def test_what_cannot_be_meant_ends_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["select", "--facts", H100, *words]) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert told.out == ""


def test_a_required_backend_that_works_is_taken_whatever_would_win(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, report = answered("--require", "bnb-fp4", capsys=capsys)
    assert (code, report["selected"]) == (0, "bnb-fp4")
    assert report["selection"]["reason"].startswith("bnb-fp4 is required, and works here; ")


def test_a_required_backend_that_does_not_work_ends_1_with_the_fix(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.run(["select", "--facts", H100, "--require", "bnb-switchback"]) == 1
    out = capsys.readouterr().out
    assert "Selected: none" in out
    assert "bnb-switchback is required, and cannot be used here: bitsandbytes 0.50.2" in out
    assert out.index("bnb-triton-modules-removed") < out.index("Candidates")
    assert "use qdoctor-switchback" in out or "pip install" in out


def test_candidates_that_one_reason_keeps_out_are_told_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bare.json").write_text(json.dumps({"packages": {"torch": ""}, "gpus": []}))
    assert cli.run(["select", "--facts", str(tmp_path / "bare.json")]) == 0
    candidates = capsys.readouterr().out.partition("Candidates")[2]
    assert "half, bnb-int8, bnb-nf4" in candidates
    assert candidates.count("torch is not installed (torch-not-installed)") == 1


def test_of_a_required_backend_s_findings_the_one_that_decided_comes_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = {"packages": {"torch": "2.11.0+cpu", "bitsandbytes": "0.50.2"}, "gpus": []}
    (tmp_path / "bare.json").write_text(json.dumps(bare))
    words = ["select", "--facts", str(tmp_path / "bare.json"), "--format", "json"]
    assert cli.run([*words, "--require", "bnb-switchback"]) == 1
    report = json.loads(capsys.readouterr().out)
    errors = [one["rule"] for one in report["findings"] if one["severity"] == "error"]
    assert errors == ["bnb-triton-modules-removed", "no-cuda-gpu"]


def test_half_stands_in_for_what_is_allowed_unless_it_is_denied(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, report = answered("--allow", "bnb-switchback", capsys=capsys)
    assert (code, report["selected"]) == (0, "half")
    assert (
        "half stands in for what is allowed, bnb-switchback: it cannot be used here: bits"
        in (report["selection"]["reason"])
    )
    _, report = answered("--allow", "bnb-switchback,torchao-mxfp4", capsys=capsys)
    assert "of which nothing can be taken, as each says" in report["selection"]["reason"]
    code, report = answered("--allow", "bnb-switchback", "--deny", "half", capsys=capsys)
    assert (code, report["selected"]) == (1, None)
    reason = report["selection"]["reason"]
    assert "nothing is left: half is denied; bnb-switchback: it cannot be used here: bits" in reason
    code, report = answered("--allow", "torch-fp8,bnb-switchback", "--deny", "half",
                            "--max-error", "0.01", capsys=capsys)  # fmt: skip
    assert (code, report["selected"]) == (1, None)
    assert "every other backend is ruled out, as each says" in report["selection"]["reason"]


def test_every_package_that_a_backend_stands_on_can_be_named() -> None:
    rows = shipped().table("backends")["rows"].values()
    asked = {layer for row in rows for layer in (*row["layers"], *(row["cpu_layers"] or ()))}
    packages = {layer for layer in asked if layer.endswith("_installed")}
    assert packages == set(missing_package._PACKAGES)


def test_a_package_that_is_missing_is_named_with_the_command_where_that_helps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = {"packages": {"torch": "2.11.0+cpu", "bitsandbytes": ""}, "gpus": []}
    (tmp_path / "bare.json").write_text(json.dumps(bare))
    words = ["select", "--facts", str(tmp_path / "bare.json"), "--format", "json", "--require"]
    for name, told in (("bnb-nf4", True), ("bnb-switchback", False)):  # current releases lack it
        assert cli.run([*words, name]) == 1
        reason = json.loads(capsys.readouterr().out)["selection"]["reason"]
        assert "bitsandbytes is not installed" in reason
        assert ("`python -m pip install bitsandbytes` mends that" in reason) is told


def test_a_required_backend_is_refused_by_what_it_lacks_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = {"packages": {"torch": "2.13.0+cpu", "torchao": ""}, "gpus": []}
    (tmp_path / "bare.json").write_text(json.dumps(bare))
    for name, rule in (("torchao-int8", None), ("torchao-nvfp4", "no-cuda-gpu")):
        words = ["select", "--facts", str(tmp_path / "bare.json"), "--require", name]
        assert cli.run(words) == 1
        before = capsys.readouterr().out.partition("Candidates")[0]
        assert ("no-cuda-gpu" in before) is (rule is not None)
        assert ("`python -m pip install torchao` mends that" in before) is (rule is None)


def test_a_decision_is_exported_with_the_machine_that_it_is_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "selection.json"
    assert cli.run(["select", "--facts", H100, "--export", str(path)]) == 0
    capsys.readouterr()
    found = from_json(path.read_bytes(), Selection, "exported")
    assert found.key["device"] == "NVIDIA H100 80GB HBM3"
    assert found.key["packages"]["torch"] == "2.11.0"
    assert found.key["driver"] == "580.159.04"


def decided(**asked: object) -> Report:
    """A report whose candidates were measured."""
    times = {"half": 1.0, "bnb-int8": 2.2, "qdoctor-switchback": 0.7, "torch-fp8": 0.6}
    question = msgspec.convert(asked, Asked)
    found = decide(question, verdicts(), measured(times), shipped())
    recorded = from_json(Path(H100).read_bytes(), Report, H100)
    return msgspec.structs.replace(recorded, selection=found, selected=found.selected)


def test_the_text_tells_the_answer_the_figures_and_every_loss() -> None:
    text = render(decided(objective="latency", max_error=0.02), "text", view="select", width=100)
    lines = text.splitlines()
    assert "Selected: qdoctor-switchback" in lines
    assert lines[lines.index("Selected: qdoctor-switchback") + 1].startswith("  it has the least")
    row = next(line for line in lines if line.startswith("  bnb-int8 "))
    assert row.split() == ["bnb-int8", "2.2", "0.45x", "0.009", "1", "1.0", "%"]
    assert "it ran at 0.45 times the speed of half: slower (int8-slower-than-half)" in text
    assert "its relative error 0.037 is more than 0.02, what was asked" in text
    assert "4096x1024x4096" in text
    assert "each 20 times in turn" in text
    assert max(map(len, lines)) <= 100


def test_the_text_tells_measuring_apart_from_starting() -> None:
    report = decided()
    assert report.selection
    slow = msgspec.structs.replace(report.selection, seconds=21.6, starting_seconds=11.8)
    report = msgspec.structs.replace(report, selection=slow)
    text = " ".join(render(report, "text", view="select", width=100).split())
    assert "in turn, in 10 s; starting and importing took 12 s more rows x" in text


def test_a_selection_survives_its_json() -> None:
    report = decided()
    assert from_json(to_json(report), Report, "test") == report


def test_the_running_interpreter_is_measured_kept_and_shared_with_python(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For real, on the CPU of whoever runs the tests; hidden GPUs keep it alike everywhere."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    words = ["select", "--python", sys.executable, "--shapes", "8x64x64", "--format", "json"]
    assert cli.run([*words, "--objective", "latency", "--budget", "2"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["selection"]["measured"] is True
    half = first["selection"]["candidates"][0]
    assert (half["backend"], len(half["shapes"]), half["speedup_vs_half"]) == ("half", 1, 1.0)
    assert cli.run([*words, "--objective", "latency", "--budget", "2"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["selection"]["notes"][-1] == shared.KEPT
    assert again["selection"]["candidates"] == first["selection"]["candidates"]
    assert again["observations"] == []
    backend = qdoctor.select_backend("latency", shapes=[(8, 64, 64)], budget=2.0)
    assert backend.name == first["selected"]
    assert backend.selection["candidates"] == first["selection"]["candidates"]
    for device in ("cuda", "cuda:9"):  # what is kept for the CPU is no answer for a GPU
        assert cli.run([*words, "--objective", "latency", "--device", device]) == 2
        assert "CUDA shows no GPU to this process; name 'cpu'" in capsys.readouterr().err


def test_what_is_only_looked_up_starts_no_kernel_and_is_not_kept(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    words = ["select", "--python", sys.executable, "--measure", "cached", "--format", "json"]
    for _ in range(2):
        assert cli.run([*words, "--shapes", "7x77x77"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["observations"] == []
        assert report["selection"]["notes"] == [
            "nothing was measured: there is no earlier measurement to read"
        ]


def test_facts_from_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = io.TextIOWrapper(io.BytesIO(Path(H100).read_bytes()))
    monkeypatch.setattr("sys.stdin", text)
    assert cli.run(["select", "--facts", "-", "--measure", "never"]) == 0
    assert "Not measured" in capsys.readouterr().out
