"""The harness: whatever a kernel does, a complete answer or an honest lack of one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

KERNELS = Path(__file__).resolve().parents[2] / "kernels"
Start = Callable[..., Any]

BEFORE = "PROBE = {}\ndef phase(text): pass\n"


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    return tmp_path / "patient.py"


def test_answers_with_what_the_kernel_yields(start: Start, kernel: Path) -> None:
    kernel.write_text(
        BEFORE + "def run(request):\n    yield {'outcome': 'passed', 'detail': request['mode']}\n"
    )
    answer = start(kernel, mode="compile")
    assert answer.returncode == 0
    assert answer.outcomes == [{"outcome": "passed", "detail": "compile"}]


def test_an_exception_is_a_failure_with_its_root_cause_and_place(
    start: Start, kernel: Path
) -> None:
    kernel.write_text(
        BEFORE
        + "def run(request):\n"
        + "    try:\n        {}['gone']\n"
        + "    except KeyError as error:\n        raise RuntimeError('wrapped') from error\n"
    )
    one = start(kernel).one()
    assert (one["outcome"], one["code"]) == ("failed", "failed")
    assert one["detail"] == "KeyError: 'gone' (raised as RuntimeError)"
    assert "{}['gone']" in one["evidence"][-1]


@pytest.mark.parametrize(
    ("raised", "outcome", "code"),
    [
        ("import no_such_module_anywhere", "failed", "import-failed"),
        ("raise SystemExit(1)", "failed", "failed"),
        ("raise MemoryError", "skipped", "out-of-memory"),
        ("raise RuntimeError('CUDA error: out of memory')", "skipped", "out-of-memory"),
    ],
)
def test_what_is_raised_decides_the_outcome(
    start: Start, kernel: Path, raised: str, outcome: str, code: str
) -> None:
    kernel.write_text(BEFORE + f"def run(request):\n    {raised}\n    yield\n")
    one = start(kernel).one()
    assert (one["outcome"], one["code"]) == (outcome, code)


def test_an_error_names_the_variant_that_had_not_answered(start: Start, kernel: Path) -> None:
    kernel.write_text(
        "PROBE = {'variants': ['a', 'b']}\ndef phase(text): pass\n"
        "def run(request):\n    yield {'outcome': 'passed', 'variant': 'a'}\n"
        "    raise OSError('b')\n"
    )
    assert start(kernel).one("b")["detail"] == "OSError: b"


def test_a_kernel_that_cannot_be_loaded_is_an_answer_too(start: Start, kernel: Path) -> None:
    kernel.write_text("def run(:\n")
    one = start(kernel).one()
    assert one["outcome"] == "failed"
    assert one["detail"].startswith("SyntaxError")


def test_a_crash_leaves_what_was_reached_and_the_phase(start: Start, kernel: Path) -> None:
    kernel.write_text(
        BEFORE
        + "import os\ndef run(request):\n    yield {'outcome': 'passed', 'variant': 'first'}\n"
        + "    phase('multiplying the second')\n    os.abort()\n"
    )
    answer = start(kernel)
    assert answer.returncode != 0
    assert answer.outcomes is None
    assert answer.partial == [{"outcome": "passed", "variant": "first"}]
    assert answer.phase == "multiplying the second"
    assert "in run" in answer.stderr


def test_own_folder_is_not_on_the_path_and_printing_is_harmless(start: Start, kernel: Path) -> None:
    kernel.write_text(
        BEFORE + "import sys\ndef run(request):\n    print('{not json')\n"
        "    return [{'outcome': 'passed', 'evidence': sys.path}]\n"
    )
    paths = start(kernel).one()["evidence"]
    assert str(KERNELS) not in paths


def test_numbers_that_json_cannot_hold_become_evidence(start: Start, kernel: Path) -> None:
    kernel.write_text(
        BEFORE + "import sys\ndef run(request):\n"
        "    made = sys.modules['qdoctor_kernel__outcomes']\n"
        "    yield made.outcome('wrong', numbers={'a': 1, 'b': float('nan')})\n"
    )
    one = start(kernel).one()
    assert one["numbers"] == {"a": 1.0}
    assert one["evidence"] == ["b = nan"]


@pytest.mark.parametrize("request_text", [None, "", "{", "\xff"])
def test_a_call_without_a_usable_request_ends_with_2(
    tmp_path: Path, kernel: Path, request_text: str | None
) -> None:
    kernel.write_text(BEFORE)
    if request_text is not None:
        (tmp_path / "request.json").write_text(request_text, encoding="latin-1")
    child = subprocess.run(
        [sys.executable, "-B", KERNELS / "_harness.py", kernel, tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 2
    assert child.stderr.startswith("cannot read the request: ")
    assert not (tmp_path / "result.json").exists()


def test_a_kernel_runs_by_hand(tmp_path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-B", KERNELS / "cublaslt_igemm.py"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    outcomes, _ = json.JSONDecoder().raw_decode(child.stdout)
    orders = ["row-major", "col4_4r2_8c", "col32_2r_4r4"]
    assert [one["variant"] for one in outcomes] == [*orders, "awkward"]
    unwell = any(one["outcome"] not in ("passed", "skipped") for one in outcomes)
    assert child.returncode == int(unwell)
