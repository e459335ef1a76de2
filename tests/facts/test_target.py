"""The target is what the user means, and what cannot be one is refused without being run."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from qdoctor.facts.target import find_target, is_tool_environment
from qdoctor.model import BadInput


def environment(folder: Path) -> Path:
    """Make what looks like a virtual environment; return its interpreter."""
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    return python


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder without ./.venv."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_an_environment_its_bin_folder_and_its_interpreter_are_the_same(tmp_path: Path) -> None:
    python = environment(tmp_path / "env")
    for named in (python, python.parent, python.parent.parent):
        found = find_target(str(named), {})
        assert (found.python, found.chosen_by) == (str(python), "--python")


def test_a_relative_path_and_a_home_folder_are_understood(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = environment(elsewhere / "env")
    monkeypatch.setenv("HOME", str(elsewhere))
    assert find_target("env", {}).python == str(python)
    assert find_target("~/env", {}).python == str(python)


def test_a_bare_name_is_looked_for_on_path(elsewhere: Path) -> None:
    python = environment(elsewhere / "env")
    assert find_target("python", {"PATH": str(python.parent)}).python == str(python)


def test_the_default_order(elsewhere: Path) -> None:
    environ: dict[str, str] = {}
    expected = [("the running interpreter", sys.executable)]
    for chosen_by in ("./.venv", "$CONDA_PREFIX", "$VIRTUAL_ENV"):
        folder = elsewhere / (".venv" if chosen_by == "./.venv" else chosen_by[1:])
        expected.append((chosen_by, str(environment(folder))))
        found = [find_target(None, environ)]
        if chosen_by.startswith("$"):
            environ[chosen_by[1:]] = str(folder)
        found.append(find_target(None, environ))
        assert (found[-1].chosen_by, found[-1].python) == expected[-1]
    shutil.rmtree(elsewhere / ".venv")
    assert find_target(None, {}).chosen_by == "the running interpreter"


def test_a_stale_variable_is_passed_over_and_said(elsewhere: Path) -> None:
    found = find_target(None, {"VIRTUAL_ENV": str(elsewhere / "gone")})
    assert found.python == sys.executable
    assert "$VIRTUAL_ENV" in found.assumptions[0]


def test_a_broken_environment_found_by_default_is_still_the_target(elsewhere: Path) -> None:
    python = environment(elsewhere / "env")
    python.unlink()
    python.symlink_to(elsewhere / "gone")
    assert find_target(None, {"VIRTUAL_ENV": str(elsewhere / "env")}).python == str(python)


@pytest.mark.parametrize("receipt", ["pipx_metadata.json", "uv-receipt.toml"])
def test_a_tools_own_environment_falls_through_to_path(
    receipt: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool, user = environment(elsewhere / "tool"), environment(elsewhere / "user")
    (elsewhere / "tool" / receipt).write_text("{}")
    for python in (tool, user):
        (python.parent / "python3").symlink_to(python)
    monkeypatch.setattr(sys, "prefix", str(elsewhere / "tool"))
    path = os.pathsep.join([str(tool.parent), str(user.parent)])
    for environ in ({"PATH": path}, {"PATH": path, "VIRTUAL_ENV": str(elsewhere / "tool")}):
        found = find_target(None, environ)
        assert (found.chosen_by, found.python) == ("python3 on PATH", f"{user.parent}/python3")
    alone = find_target(None, {"PATH": str(tool.parent)})
    assert alone.python == sys.executable
    assert "no python3 on PATH" in alone.assumptions[0]


@pytest.mark.parametrize(
    ("prefix", "is_tool"),
    [
        ("/home/me/.cache/uv/archive-v0/Zk3", True),
        ("/home/me/.cache/uv/environments-v2/script-1f", False),
        ("/home/me/.cache/uv/builds-v0/.tmpZg", False),
        ("/home/me/.cache/pipx/0a1b2c3d4e5f6a7", True),
        ("/home/me/.local/share/pipx/.cache/0a1b2c", True),
        ("/home/me/project/.venv", False),
        ("/opt/conda/envs/pipx", False),
    ],
)
def test_caches_of_tool_runners_are_known(prefix: str, *, is_tool: bool) -> None:
    assert is_tool_environment(Path(prefix)) is is_tool


def refused(named: Path | str) -> str:
    with pytest.raises(BadInput) as caught:
        find_target(str(named), {"PATH": ""})
    return str(caught.value)


def test_a_folder_without_interpreter_is_refused(tmp_path: Path) -> None:
    assert "has no Python interpreter" in refused(tmp_path)


def test_a_script_is_refused_without_being_run(tmp_path: Path) -> None:
    script = tmp_path / "deploy.sh"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    script.chmod(0o755)
    assert "not run" in refused(script)
    assert not (tmp_path / "ran").exists()


def test_what_is_not_there_or_not_executable_is_refused(tmp_path: Path) -> None:
    plain = tmp_path / "python"
    plain.write_text("#!/bin/sh\n")
    plain.chmod(0o644)
    assert "not executable" in refused(plain)
    assert "does not exist" in refused(tmp_path / "python3")
    assert "does not exist" in refused("no-such-python")
    assert "is no path" in refused("")
    assert "is no path" in refused("a\0b")
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in refused(tmp_path / "pipe")


def test_an_environment_whose_base_is_gone_is_refused_with_the_reason(tmp_path: Path) -> None:
    python = environment(tmp_path / "env")
    python.unlink()
    python.symlink_to(tmp_path / "gone")
    said = refused(tmp_path / "env")
    assert "moved or removed" in said
    assert str(tmp_path / "gone") in said
