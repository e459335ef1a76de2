"""benchmarks/adapters.py: what it promises of a backend, and that one backend costs no other.

tests/integration/test_transformers.py runs the flow itself.
"""

# ruff: noqa: ANN401 - the benchmark's module is loaded, its answers are JSON

from __future__ import annotations

import importlib
import json
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def adapters(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(checkout))
    return importlib.import_module("benchmarks.adapters")


def lora(*, last: float = 5.8, lost: Any = (), **merged: Any) -> Any:
    return {
        "losses": [6.5, last], "without_gradient": list(lost),
        "merged": merged or {"logits": 0.03, "layer": "Linear8bitLt:Int8Params"},
    }  # fmt: skip


def told(**more: Any) -> Any:
    return {
        "config": "BitsAndBytesConfig", "logits": 0.02, "words": [2, 17],
        "layers": {"model.layers.0.mlp.up_proj": "Linear8bitLt:Int8Params",
                   "lm_head": "Linear:Parameter"},
        "lora by quantize_, fresh": lora(), "saved, fresh": 0.0, "done": True, **more,
    }  # fmt: skip


def test_what_keeps_all_promises_is_met_in_one_line(adapters: Any) -> None:
    assert adapters.broken("bnb-int8", told()) == []
    line = adapters.line("bnb-int8", told(), 21.4)
    assert line.startswith("met     bnb-int8 (21 s): BitsAndBytesConfig, logits off 0.020 | ")
    assert "quantize_, fresh: loss 6.50 -> 5.80, merged 0.030" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"logits": 0.07}, "logits are off by 0.070, more than 0.06"),
        ({"logits": float("nan")}, "logits are off by nan"),
        ({"logits": 0.0}, "nothing was quantized"),
        ({"words": [2, 12]}, "generated [2, 12]"),
        ({"layers": {"lm_head": "Linear8bitLt:Int8Params"}}, "the output layer became"),
        ({"lora by quantize_, fresh": lora(lost=["a.lora_A"])}, "no gradient reaches 1 adapters"),
        ({"lora by quantize_, fresh": lora(last=6.4)}, "the loss went from 6.500 to 6.400"),
        ({"lora by quantize_, fresh": lora(logits=0.5)}, "merging changed logits by 0.5"),
        ({"lora by quantize_, fresh": lora(error="ValueError: x")}, "merging: ValueError: x"),
        ({"lora by quantize_, fresh": {"error": "RuntimeError: y"}}, "fresh: RuntimeError: y"),
        ({"ended": "exit -11: Segmentation fault"}, "exit -11"),
    ],
)
def test_each_promise_can_be_broken(adapters: Any, more: Any, why: str) -> None:
    (found,) = adapters.broken("bnb-int8", told(**more))
    assert why in found
    assert adapters.line("bnb-int8", told(**more), 1.0).startswith("MISSED  bnb-int8")


def test_what_a_librarys_own_loader_lacks_is_told_and_breaks_no_promise(adapters: Any) -> None:
    one = told(**{"lora by config, fresh": lora(lost=["a"]), "saved, fresh": 0.4})
    assert adapters.broken("bnb-int8", one) == []
    line = adapters.line("bnb-int8", one, 1.0)
    assert line.startswith("met")
    assert "LIBRARY lora by config, fresh: no gradient reaches 1 adapters" in line
    assert "LIBRARY saved, fresh: logits are off by 0.400" in line


def test_our_own_layers_answer_the_same_once_saved(adapters: Any) -> None:
    ours = told(config=None, **{"saved, fresh": 0.4})
    assert adapters.broken("qdoctor-switchback", ours) == ["saved, fresh: logits are off by 0.400"]
    nothing = told(config=None, **{"saved, fresh": None})
    assert adapters.broken("torch-fp8", nothing) == []


def test_merging_may_be_refused_where_the_readme_says_so(adapters: Any) -> None:
    refused = lora(error="NotImplementedError: do not support dequantization")
    one = told(**{"lora by quantize_, fresh": refused})
    assert adapters.broken("torchao-int4", {**one, "logits": 0.2}) == []
    assert "merging: NotImplementedError" in adapters.broken("torchao-int8", one)[0]
    kept = told(config=None, **{"lora by quantize_, training=True": refused})
    assert "merging: NotImplementedError" in adapters.broken("qdoctor-switchback", kept)[0]
    wrong = {"error": "BackendUnavailable: quantize_: bnb-int8 computes wrongly"}
    assert adapters.broken("bnb-int8", told(**{"lora by quantize_, training=True": wrong})) == []


def test_what_is_not_to_be_had_says_why(adapters: Any) -> None:
    one = {"unavailable": "BackendUnavailable: no fp4 matrix units"}
    assert adapters.broken("torchao-nvfp4", one) == []
    line = adapters.line("torchao-nvfp4", one, 3.0)
    assert line == "no      torchao-nvfp4: BackendUnavailable: no fp4 matrix units (3 s)"


FLOW = """
import json, os, sys, time
_, _checkout, answer, device, name = sys.argv
if name == "torch-fp8":  # before it has said anything
    sys.exit("Loading\\nRuntimeError: CUDA error: out of memory\\nCompile with TORCH_USE_CUDA_DSA")
if name == "torchao-int8":  # while it writes
    open(answer, "w").write('{"backends": {"torchao-int8": {"conf')
    os.kill(os.getpid(), 9)
if name == "torchao-fp8":
    sys.exit(0)
told = json.loads(os.environ["TOLD"])
if name == "bnb-nf4":
    del told["done"]
    told["at"] = "saved, fresh"
with open(answer, "w") as file:
    json.dump({"backends": {name: told}}, file)
if name == "bnb-nf4":
    time.sleep(60)
if name == "bnb-fp4":
    sys.exit("it broke")
"""


def test_one_that_hangs_or_breaks_costs_only_itself(
    adapters: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flow, kept = tmp_path / "flow.py", tmp_path / "kept.json"
    flow.write_text(FLOW, encoding="utf-8")
    monkeypatch.setattr(adapters, "FLOW", flow)
    monkeypatch.setenv("TOLD", json.dumps(told()))
    begun = time.monotonic()
    words = ["--backends", "bnb-nf4", "bnb-fp4", "bnb-int8", "--jobs", "3", "--seconds", "4"]
    assert adapters.main([*words, "--json", str(kept)]) == 1
    assert time.monotonic() - begun < 40
    every = capsys.readouterr().out.splitlines()
    lines = {line[7:].split()[0]: line for line in every}
    assert lines["bnb-int8"].startswith("met")
    assert lines["bnb-fp4"].startswith("MISSED")
    assert "exit 1 at the end: it broke" in lines["bnb-fp4"]
    assert lines["bnb-nf4"].startswith("so far")
    assert "stopped after 4 s at saved, fresh" in lines["bnb-nf4"]
    assert set(json.loads(kept.read_text(encoding="utf-8"))) == {"bnb-nf4", "bnb-fp4", "bnb-int8"}


def test_one_that_dies_before_it_answers_is_told_with_its_error(
    adapters: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flow, kept = tmp_path / "flow.py", tmp_path / "kept.json"
    flow.write_text(FLOW, encoding="utf-8")
    monkeypatch.setattr(adapters, "FLOW", flow)
    monkeypatch.setenv("TOLD", json.dumps(told()))
    names = ["torch-fp8", "torchao-int8", "torchao-fp8", "bnb-int8"]
    assert adapters.main(["--backends", *names, "--jobs", "1", "--json", str(kept)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(names)
    start = "at the start: not even the model is made"
    assert lines[0].startswith("MISSED  torch-fp8")
    assert f"BROKEN exit 1 {start}: RuntimeError: CUDA error: out of memory" in lines[0]
    assert f"BROKEN exit -9 {start}: it said nothing" in lines[1]
    assert f"BROKEN exit 0 without an end {start}" in lines[2]
    assert lines[3].startswith("met     bnb-int8")
    said = json.loads(kept.read_text(encoding="utf-8"))["torch-fp8"]["said"]
    assert said[0] == "Loading"


def test_what_goes_wrong_here_leaves_nothing_running(
    adapters: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = tmp_path / "flow.py"
    flow.write_text(FLOW, encoding="utf-8")
    monkeypatch.setattr(adapters, "FLOW", flow)
    monkeypatch.setenv("TOLD", json.dumps(told()))
    begun: list[Any] = []

    class Child(subprocess.Popen[bytes]):
        def __init__(self, *given: Any, **more: Any) -> None:
            super().__init__(*given, **more)
            begun.append(self)

    monkeypatch.setattr(adapters.subprocess, "Popen", Child)
    monkeypatch.setattr(adapters, "line", lambda *_: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        adapters.main(["--backends", "bnb-nf4", "half"])
    assert [one.poll() is None for one in begun] == [False, False]


def test_what_the_budget_has_no_time_for_is_not_begun(
    adapters: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert adapters.main(["--backends", "half", "--budget", "0"]) == 0
    assert capsys.readouterr().out == "unasked half: the budget is spent\n"
