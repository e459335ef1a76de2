"""What a careless or malicious caller gives the command line: one message, an honest exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from qdoctor import cli

H100 = str(Path(__file__).parent / "machines" / "h100.json")
FULL = "/dev/full"
FULL_DISK = pytest.mark.skipif(not Path(FULL).exists(), reason="there is no /dev/full")


@pytest.fixture(autouse=True)
def _no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def in_a_shell(line: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of a shell in which ``qdoctor`` is the command and ``H100`` a machine."""
    ours = f'qdoctor() {{ "{sys.executable}" -m qdoctor "$@"; }}; H100={H100}; '
    home = str(Path(cli.__file__).parent.parent)
    return subprocess.run(
        ["bash", "-c", ours + line],  # noqa: S607 - the shell that is there
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": home, **environ},
    )


@FULL_DISK
@pytest.mark.parametrize("line", ["qdoctor --version", "qdoctor --help", "qdoctor check --help"])
def test_a_full_disk_is_said_of_help_too(line: str) -> None:
    done = in_a_shell(f"{line} > {FULL}")
    assert done.returncode == 2
    assert done.stderr == b"qdoctor: the output cannot be written: No space left on device\n"


@FULL_DISK
@pytest.mark.parametrize("stderr", [f"2> {FULL}", "2>&-"])
@pytest.mark.parametrize(
    "line", ["qdoctor check --facts missing.json", "qdoctor check --strange", "qdoctor strange"]
)
def test_bad_input_ends_2_though_nobody_can_be_told(line: str, stderr: str) -> None:
    done = in_a_shell(f"{line} {stderr}")
    assert done.returncode == 2
    assert done.stdout == b""


def test_a_reader_of_help_that_leaves_is_no_finding() -> None:
    done = in_a_shell("(sleep 1; qdoctor check --help) | true; exit ${PIPESTATUS[0]}")
    assert done.returncode == 0
    assert done.stderr == b""


@pytest.mark.parametrize(("wanted", "code"), [("bash_source", 0), ("tcsh_source", 2)])
def test_completion_for_a_shell_that_has_none_is_refused(wanted: str, code: int) -> None:
    done = in_a_shell("qdoctor", _QDOCTOR_COMPLETE=wanted)
    assert done.returncode == code
    assert (b"bash_source" in done.stderr) == bool(code)


def test_a_log_from_a_closed_standard_input_is_refused() -> None:
    done = in_a_shell("qdoctor explain - --facts $H100 <&-")
    assert done.returncode == 2
    assert b"there is no standard input" in done.stderr


@pytest.mark.parametrize(
    "line",
    [
        "qdoctor check --facts $H100",
        "qdoctor check --probe none",
        "qdoctor facts",
        "qdoctor select --facts $H100",
        "qdoctor explain 'some text' --facts $H100",
    ],
)
def test_a_folder_that_was_deleted_is_said(line: str) -> None:
    done = in_a_shell(f"mkdir gone; cd gone; rmdir ../gone; {line}")
    assert done.returncode == 2
    assert b"the current folder" in done.stderr


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 300, "x" * 5000])
@pytest.mark.parametrize(
    "command",
    [
        ("check", "--facts", H100, "--output"),
        ("facts", "--facts", H100, "--output"),
        ("matrix", "show", "torch", "--output"),
        ("select", "--facts", H100, "--export"),
        ("check", "--python"),
        ("check", "--facts"),
    ],
    ids=lambda words: f"{words[0]} {words[-1]}",
)
def test_what_can_be_no_file_is_refused(
    command: tuple[str, ...], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([*command, name]) == 2
    shown = capsys.readouterr()
    assert command[-1] in shown.err
    assert shown.out == ""
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize("command", ["check", "facts", "select"])
def test_two_machines_at_once_are_refused(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([command, "--python", sys.executable, "--facts", H100]) == 2
    assert "two different machines" in capsys.readouterr().err


def test_a_pipe_in_place_of_an_error_text_is_told_how_to_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe")  # what a shell makes of <(python train.py 2>&1)
    assert cli.run(["explain", "pipe", "--facts", H100]) == 2
    assert "qdoctor explain - < pipe" in capsys.readouterr().err


def test_a_message_stays_readable_whatever_is_quoted_in_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.run(["check", "--facts", H100, "--gpu", "x" * 100_000]) == 2
    shown = capsys.readouterr().err
    assert len(shown) < 3000
    assert shown.endswith("works too\n")


@pytest.mark.parametrize("words", [("strange\a",), ("facts", "strange\a")])
def test_usage_errors_drive_no_terminal(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(list(words)) == 2
    shown = capsys.readouterr().err
    assert "strange" in shown
    assert "\a" not in shown


@pytest.mark.parametrize("option", ["--python-version", "--platform"])
def test_an_empty_name_is_no_name(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["check", "--facts", H100, option, ""]) == 2
    assert option in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("verify", "--only", ""),
        ("verify", "--package", ""),
        ("mine", "--only", ""),
        ("mine", "--package", ""),
        ("mine", "--into", ""),
    ],
)
def test_an_empty_name_does_not_mean_all_releases(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/index")  # nothing answers there
    assert cli.run(["matrix", *words]) == 2
    shown = capsys.readouterr().err
    assert f"{words[1]} names nothing" in shown


@pytest.mark.parametrize("words", [("query",), ("mine", "--only"), ("verify", "--only")])
def test_a_version_without_end_is_no_version(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["matrix", *words, f"torch=={'9' * 5000}"]) == 2
    assert "names no version" in capsys.readouterr().err


@pytest.mark.parametrize("version", ["²", "9" * 999, "x535"])  # "²" is a digit that is no number
def test_a_driver_that_is_no_version_is_unknown(
    version: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = {**json.loads(Path(H100).read_text())["facts"], "driver": {"version": version}}
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    assert cli.run(["check", "--facts", "facts.json", "--need", "bnb-nf4"]) == 3
    assert "need bnb-nf4" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["", " "])
@pytest.mark.parametrize(
    ("command", "option"),
    [
        *(("check", name) for name in ("--gpu", "--driver", "--python-version", "--platform")),
        *(("check", name) for name in ("--python", "--need", "--ignore")),
        *(("select", name) for name in ("--device", "--require", "--need", "--allow", "--shapes")),
    ],
)
def test_an_empty_variable_is_no_wish_for_the_default(
    command: str, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([command, "--facts", H100, option, value]) == 2
    shown = capsys.readouterr()
    said = f"qdoctor: {option} names nothing: is a variable empty that it is made of?\n"
    assert (shown.out, shown.err) == ("", said)
