from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from qdoctor import __version__, cli
from qdoctor.model import BadInput

V100 = {
    "schema": "qdoctor/facts/1",
    "host": {"os": "linux", "machine": "x86_64", "libc": "glibc 2.35"},
    "python": {"version": "3.11.7", "headers": True},
    "packages": {"torch": "2.1.2+cu121", "triton": "2.1.0", "bitsandbytes": "0.41.1"},
    "torch_cuda": "12.1",
    "driver": {"version": "535.104.05", "cuda": "12.2"},
    "gpus": [{"index": 0, "name": "Tesla V100-SXM2-16GB", "sm": "7.0", "vendor": "nvidia"}],
}
LIBDEVICE = "AttributeError: module 'triton.language' has no attribute 'libdevice'"


@pytest.fixture
def v100(tmp_path: Path) -> str:
    path = tmp_path / "v100.json"
    path.write_text(json.dumps(V100))
    return str(path)


@pytest.fixture(autouse=True)
def _no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def started(
    *arguments: str, stdin: bytes = b"", **environ: str
) -> subprocess.CompletedProcess[bytes]:
    home = str(Path(cli.__file__).parent.parent)
    return subprocess.run(
        [sys.executable, "-m", "qdoctor", *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": home, **environ},
    )


@pytest.mark.parametrize("name", ["train.log", "a log.txt"])
def test_a_file_in_place_of_its_text_is_told_how_to_pipe_it(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text(LIBDEVICE)
    assert cli.run(["explain", name]) == 2
    assert "qdoctor explain - < " in capsys.readouterr().err


@pytest.mark.parametrize("command", ["check", "select", "explain"])
@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "0", "soon"])
def test_a_budget_is_a_finite_time(
    command: str, seconds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = ["some text"] if command == "explain" else []
    assert cli.run([command, *text, "--budget", seconds]) == 2
    assert "--budget" in capsys.readouterr().err


def test_version_names_tool_and_matrix(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert re.fullmatch(
        rf"qdoctor {re.escape(__version__)} \(matrix \d{{4}}\.\d\d\.\d\d\)\n",
        capsys.readouterr().out,
    )


@pytest.mark.parametrize("command", ["check", "facts", "explain", "select", "cache", "matrix"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([command, "--help"]) == 0
    assert "Usage: qdoctor" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["fix", "doctor"])
def test_what_is_not_built_does_not_exist(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([command]) == 2
    assert "No such command" in capsys.readouterr().err


def test_a_described_machine_is_checked(v100: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["check", "--facts", v100]) == 0
    out = capsys.readouterr().out
    assert out.startswith("qdoctor examined a described machine")
    assert "Tesla V100" in out
    for backend in ("half", "bnb-int8", "bnb-nf4", "bnb-switchback", "qdoctor-switchback"):
        assert re.search(rf"^  (yes|no|unknown) +{backend} ", out, re.MULTILINE)


def test_a_need_that_is_not_met_ends_1(v100: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["check", "--facts", v100, "--need", "bnb-switchback"]) == 1
    assert "need bnb-switchback: not met" in capsys.readouterr().err
    assert (
        cli.run(["check", "--facts", v100, "--need", "bnb-switchback", "--fail-on", "never"]) == 0
    )


def test_a_need_that_depends_on_an_unknown_ends_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "little.json").write_text('{"host": {"os": "linux"}}')
    arguments = ["check", "--facts", str(tmp_path / "little.json"), "--need", "half"]
    assert cli.run(arguments) == 3
    assert "could not tell: need half" in capsys.readouterr().err
    assert cli.run([*arguments, "--fail-on", "never"]) == 0
    assert cli.run(arguments[:3]) == 0


def test_a_project_states_needs_and_options_add_to_them(
    v100: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.qdoctor]\nneed = ['bnb-switchback']\n")
    assert cli.run(["check", "--facts", v100]) == 1
    assert cli.run(["check", "--facts", v100, "--need", "half"]) == 1
    assert "need bnb-switchback: not met" in capsys.readouterr().err


def test_json_goes_to_stdout_and_replays_itself(
    v100: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["check", "--facts", v100, "--format", "json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["schema"] == "qdoctor/report/1"
    assert first["exit_code"] == 0
    (tmp_path / "report.json").write_text(json.dumps(first))
    assert cli.run(["check", "--facts", str(tmp_path / "report.json"), "--format", "json"]) == 0
    second = json.loads(capsys.readouterr().out)
    assert second["findings"] == first["findings"]
    assert second["verdicts"] == first["verdicts"]


def test_facts_piped_into_a_check_give_the_same_findings() -> None:
    facts = started("facts")
    assert facts.returncode == 0, facts.stderr
    assert json.loads(facts.stdout)["schema"] == "qdoctor/facts/1"
    direct = started("check", "--probe", "none", "--format", "json")
    piped = started("check", "--facts", "-", "--format", "json", stdin=facts.stdout)
    assert json.loads(piped.stdout)["findings"] == json.loads(direct.stdout)["findings"]
    assert json.loads(piped.stdout)["verdicts"] == json.loads(direct.stdout)["verdicts"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, ""),
        (b"", ""),
        (b"\xff\xfe\x00", ""),
        (b"not json", ""),
        (b"[]", ""),
        (b'{"schema": "other/1"}', "schema"),
        (b'{"gpu": []}', "gpu"),
    ],
)
def test_bad_facts_end_2_and_write_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, said: str
) -> None:
    path = tmp_path / "facts.json"
    if content is not None:
        path.write_bytes(content)
    output = tmp_path / "report.json"
    assert cli.run(["check", "--facts", str(path), "--output", str(output)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("qdoctor: ")
    assert said in captured.err
    assert "Traceback" not in captured.err
    assert not output.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--gpu", "Voodoo 2"], "Voodoo 2"),
        (["--gpu", "sm_1"], "sm_1"),
        (["--driver", "newest"], "no driver version"),
        (["--need", "bnb-int9"], "did you mean bnb-int8"),
        (["--ignore", "no-cuda-gpuu"], "did you mean no-cuda-gpu"),
        (["--format", "yaml"], "'text', 'json'"),
        (["--probe", "some"], "--probe"),
        (["--python", "/dev/null"], "--python"),
        (["bitsandbytes=0.42"], "no requirement"),
        (["-r", "missing.txt"], "missing.txt"),
        (["--output", "missing/folder/x"], "cannot be written"),
    ],
)
def test_bad_usage_ends_2(
    v100: str, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    described = [] if "--python" in arguments else ["--facts", v100]
    assert cli.run(["check", *described, *arguments]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""


def test_output_replaces_a_file_and_prints_nothing(
    v100: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "report.json"
    output.write_text("old")
    assert cli.run(["check", "--facts", v100, "--format", "json", "--output", str(output)]) == 0
    assert json.loads(output.read_text())["schema"] == "qdoctor/report/1"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "environ", "coloured"),
    [
        (["--color", "always"], {"NO_COLOR": "1"}, True),
        ([], {"FORCE_COLOR": "1"}, True),
        ([], {}, False),
        ([], {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
    ],
)
def test_colour(  # noqa: PLR0913 - a table
    v100: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    environ: dict[str, str],
    *,
    coloured: bool,
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    cli.run(["check", "--facts", v100, *arguments])
    assert ("\x1b[" in capsys.readouterr().out) is coloured


def test_planned_packages_are_laid_over_and_said(
    v100: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.run(["check", "--facts", v100, "bitsandbytes>=0.42,<0.43", "--format", "json"])
    report = json.loads(capsys.readouterr().out)
    assert report["facts"]["packages"]["bitsandbytes"].startswith("0.42")
    assert any("bitsandbytes>=0.42,<0.43" in line for line in report["target"]["assumptions"])


def test_a_named_gpu_is_judged_with_a_new_enough_driver(
    v100: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.run(["check", "--facts", v100, "--gpu", "A100", "--format", "json"])
    report = json.loads(capsys.readouterr().out)
    assert [gpu["sm"] for gpu in report["facts"]["gpus"]] == ["8.0"]
    said = " ".join(report["target"]["assumptions"])
    assert "--gpu came without --driver" in said


def test_select_answers_with_every_reason(v100: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["select", "--facts", v100]) == 0
    out = capsys.readouterr().out
    assert out.index("Selected: ") < out.index("bnb-int8")


def test_select_cannot_tell_without_facts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "none.json").write_text("{}")
    assert cli.run(["select", "--facts", str(tmp_path / "none.json")]) == 3
    assert "Selected: none" in capsys.readouterr().out


def test_a_rule_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["explain", "triton-libdevice-removed"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("triton-libdevice-removed\n")
    assert "How we know" in out
    assert cli.run(["explain", "triton-libdevice-removed", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["rule"] == "triton-libdevice-removed"


def test_an_unknown_rule_ends_2_with_near_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["explain", "triton-libdevice-remove"]) == 2
    assert "triton-libdevice-removed" in capsys.readouterr().err


def test_an_error_text_is_explained(v100: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["explain", LIBDEVICE, "--facts", v100]) == 0
    out = capsys.readouterr().out
    assert out.index("Answer") < out.index("triton-libdevice-removed") < out.index("Evidence")


def test_an_unknown_text_ends_3(v100: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["explain", "the quick brown fox", "--facts", v100]) == 3
    out = capsys.readouterr().out
    assert "no cause known for this text" in out
    assert "Tesla V100" in out, "what was checked"
    assert "Fix" not in out


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_text_ends_2(v100: str, capsys: pytest.CaptureFixture[str], text: str) -> None:
    assert cli.run(["explain", text, "--facts", v100]) == 2
    assert "empty" in capsys.readouterr().err


def test_a_whole_log_is_explained_from_stdin(v100: str) -> None:
    log = b"\xff\x00 noise \x1b[31m\n" * 1000 + f"Traceback:\n{LIBDEVICE}\n".encode()
    done = started("explain", "-", "--facts", v100, stdin=log)
    assert done.returncode == 0, done.stderr
    assert b"triton-libdevice-removed" in done.stdout
    assert b"\x1b" not in done.stdout


def test_log_and_facts_cannot_share_stdin(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["explain", "-", "--facts", "-"]) == 2
    assert "standard input" in capsys.readouterr().err


def test_the_cache_is_shown_and_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QDOCTOR_CACHE_DIR", str(tmp_path / "cache"))
    assert cli.run(["cache", "path"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'cache'}\n"
    assert cli.run(["cache", "clear"]) == 0
    assert "no cache" in capsys.readouterr().err


def test_our_own_bug_ends_4_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError("HF_TOKEN=abc")

    monkeypatch.setattr("qdoctor.cache.folder", broken)
    monkeypatch.delenv("QDOCTOR_DEBUG", raising=False)
    assert cli.run(["cache", "path"]) == 4
    err = capsys.readouterr().err
    assert "a bug in qdoctor" in err
    assert "Traceback" not in err
    assert "abc" not in err
    monkeypatch.setenv("QDOCTOR_DEBUG", "1")
    assert cli.run(["cache", "path"]) == 4
    assert "Traceback" in capsys.readouterr().err


def test_bad_input_is_said_in_one_visible_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object) -> None:
        raise BadInput("\x1b[2Jgone")

    monkeypatch.setattr("qdoctor.cache.folder", broken)
    assert cli.run(["cache", "path"]) == 2
    assert capsys.readouterr().err == "qdoctor: \\x1b[2Jgone\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell's pipe")
def test_a_reader_that_leaves_is_no_error(v100: str) -> None:
    home = str(Path(cli.__file__).parent.parent)
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "qdoctor", "check", "--facts", v100],
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
        env={**os.environ, "PYTHONPATH": home},
    )
    os.close(writing)
    assert done.returncode == 0
    assert b"pipe" not in done.stderr.lower()
    assert b"Traceback" not in done.stderr


def test_completion_is_clicks() -> None:
    done = started(_QDOCTOR_COMPLETE="bash_source")
    assert done.returncode == 0
    assert b"complete" in done.stdout
