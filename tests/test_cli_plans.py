"""The command line asked about plans: exit codes, and messages for what is no plan."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from qdoctor import cli

if TYPE_CHECKING:
    from pathlib import Path

FOR_A100 = ("check", "--bare", "--gpu", "A100", "--python-version", "3.11", "--platform")


@pytest.fixture(autouse=True)
def _no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("specs", "code", "said"),
    [
        (("torch==2.9.1", "bitsandbytes==0.48.2"), 0, "install   yes"),
        (("torch==2.0.1", "triton==2.1.0"), 1, "install   no"),
        (("torch==99",), 3, "install   unknown"),
        (("nosuchpackage",), 3, "matrix knows no release of"),
    ],
)
def test_the_exit_code_follows_the_plan(
    specs: tuple[str, ...], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([*FOR_A100, "linux_x86_64", *specs]) == code
    assert said in capsys.readouterr().out


def test_a_plan_that_would_not_run_says_why_beside_the_report(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.run([*FOR_A100, "win_amd64", "torch==2.9.1", "bitsandbytes"]) == 1
    assert "need plan to run: not met: bnb-int8: torch is" in capsys.readouterr().err


def test_the_plan_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    cli.run([*FOR_A100, "linux_x86_64", "torch==2.9.1", "--format", "json"])
    plan = json.loads(capsys.readouterr().out)["plan"]
    assert plan["packages"] == {"torch": "2.9.1", "triton": "3.5.1"}
    assert (
        plan["installs"]["answer"] == plan["imports"]["answer"] == plan["runs"]["answer"] == "yes"
    )
    assert "half" in plan["backends"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--platform", "linux_riscv", "torch"), "no platform that qdoctor knows"),
        (("--python-version", "2.7", "torch"), "no Python version"),
        (("-r", "missing.txt"), "cannot be read"),
        (("-r", "."), "cannot be read"),
        (("-r", "empty.txt"), "names no package"),
        (("-r", "binary.txt"), "is not UTF-8 text"),
        (("torch<2", "torch>=2.1"), "no release of torch"),
        (("bitsandbytes=0.42",), "is no requirement"),
    ],
)
def test_what_is_no_plan_ends_with_a_message(
    options: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "binary.txt").write_bytes(b"\x7fELF\xff\xfe")
    assert cli.run(["check", "--bare", *options]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""


def test_a_requirements_file_with_everything_that_pip_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "requirements.txt").write_text(
        "--index-url https://index.example/whl/cu126\n"
        "torch==2.9.1 ; python_version >= '3.10'  # why\n"
        "bitsandbytes[dev]>=0.45,<0.49 \\\n    --hash=sha256:00\n"
        "triton-windows ; sys_platform == 'win32'\n"
        "--pre\n"
        "numpy\n"
    )
    code = cli.run([*FOR_A100, "linux_x86_64", "-r", "requirements.txt", "--format", "json"])
    report = json.loads(capsys.readouterr().out)
    assert code == 0
    assert report["plan"]["packages"] == {
        "numpy": "?",
        "torch": "2.9.1+cu126",
        "bitsandbytes": "0.48.2",
        "triton": "3.5.1",
    }
    said = " ".join(report["target"]["assumptions"])
    for words in ("--pre", "extras (dev)", "not for this machine", "not judged"):
        assert words in said


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("certifi @ file:///croot/certifi_1", 0, "no release of certifi"),
        ("triton @ file:///croot/triton_1712345678/work", 3, "pip list --format=freeze"),
        ("git+https://github.com/huggingface/transformers@v4.40.0", 3, "transformers==4.40.0"),
        ("./flash_attn-2.7.3-cp310-cp310-linux_x86_64.whl", 1, "for another Python (cp310-cp310)"),
        ("-e .", 0, "which package it installs is not told"),
    ],
)
def test_one_line_that_tells_little_does_not_refuse_the_file(
    line: str, code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "requirements.txt").write_text(f"torch==2.9.1\n{line}\nbitsandbytes==0.48.2\n")
    assert cli.run([*FOR_A100, "linux_x86_64", "-r", "requirements.txt"]) == code
    shown = " ".join(capsys.readouterr().out.split())
    assert said in shown
    assert "bitsandbytes' SwitchBack" in shown or "bnb-nf4" in shown
