"""Paths that cannot be looked at: too long, of nobody's home, from a folder that is gone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from qdoctor.facts.hardware import read_linux
from qdoctor.facts.host import read_host
from qdoctor.facts.interpreter import Reading, ask
from qdoctor.facts.target import find_target
from qdoctor.facts.toolkit import read_toolkit
from qdoctor.model import BadInput

LONG = "/" + "a" * 5000
"""Asking for it fails as asking for what lies in a closed folder does."""


def refused(python: str) -> str:
    with pytest.raises(BadInput) as raised:
        find_target(python, {"PATH": ""})
    return str(raised.value)


def test_a_named_path_that_cannot_be_looked_at_is_refused(tmp_path: Path) -> None:
    assert "cannot be looked at: File name too long" in refused(LONG)
    assert "no home folder" in refused("~no-such-user-here/bin/python")
    loop = tmp_path / "python"
    loop.symlink_to(loop)
    assert "cannot be looked at: Too many levels of symbolic links" in refused(str(loop))


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_a_variable_that_cannot_be_looked_at_is_passed_over(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    target = find_target(None, {variable: LONG})
    assert target.python == sys.executable
    assert "passed over" in target.assumptions[0]


def test_from_a_folder_that_is_gone_the_rest_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert "does not exist" in refused("env/bin/python")
    assert find_target(None, {"VIRTUAL_ENV": "env"}).python == sys.executable
    answer = ask(sys.executable, environ)
    assert isinstance(answer, Reading)
    assert answer.packages["torch"]


@pytest.mark.skipif(sys.platform == "win32", reason="a wrapper is a shell script")
@pytest.mark.parametrize("name", ["python3.13t", "python3-dbg", "pypy3.10", "python3.11"])
def test_a_wrapper_named_like_an_interpreter_may_start_one(name: str, tmp_path: Path) -> None:
    wrapper = tmp_path / name
    wrapper.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    wrapper.chmod(0o755)
    assert find_target(str(wrapper), {}).python == str(wrapper)


def test_a_toolkit_that_cannot_be_looked_at_is_none(tmp_path: Path) -> None:
    assert read_toolkit({"CUDA_HOME": LONG, "PATH": ""}, root=tmp_path) == ("", None)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("version.json", "[" * 100_000),
        ("include/cuda_runtime_api.h", "#define CUDART_VERSION " + "9" * 5000),
    ],
)
def test_a_toolkit_that_tells_nonsense_is_unknown(name: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / "cuda" / name
    file.parent.mkdir(parents=True)
    file.write_text(text)
    version, reason = read_toolkit({"CUDA_HOME": str(tmp_path / "cuda"), "PATH": ""}, root=tmp_path)
    assert version is None
    assert "no file there states" in (reason or "")


def test_folders_that_are_closed_to_us_hide_what_is_in_them() -> None:
    hardware = read_linux({}, root=Path(LONG))
    assert hardware.driver.version == ""
    assert hardware.gpus is None
    assert "hidden" in hardware.unread["gpus"]
    assert read_host({}, root=Path(LONG)).container == ""
