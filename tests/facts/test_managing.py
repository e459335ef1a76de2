from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from qdoctor.facts import collect, find_target
from qdoctor.facts.interpreter import PythonPlaces
from qdoctor.facts.managing import Management, managed_by


def places(prefix: Path, base: str = "/usr") -> PythonPlaces:
    return PythonPlaces("3.11.7", str(prefix / "bin/python"), str(prefix), base, headers=False)


def made(prefix: Path, *files: str, config: str = "home = /usr/bin\n") -> Path:
    for name in files:
        (prefix / name).parent.mkdir(parents=True, exist_ok=True)
        (prefix / name).write_text("")
    prefix.mkdir(parents=True, exist_ok=True)
    (prefix / "pyvenv.cfg").write_text(config)
    return prefix


def test_a_plain_environment_is_pips(tmp_path: Path) -> None:
    assert managed_by(places(made(tmp_path / "venv")), {}) == Management("pip")
    assert managed_by(places(tmp_path / "gone"), {}) == Management("pip")
    assert managed_by(places(Path("/usr"), "/usr"), {}) == Management("pip")


def test_uv_says_so_in_the_environments_settings(tmp_path: Path) -> None:
    made(tmp_path / "venv", config="home = /usr/bin\nuv = 0.9.5\nprompt = x\n")
    assert managed_by(places(tmp_path / "venv"), {}) == Management("uv")


def test_a_value_that_names_uv_is_no_key(tmp_path: Path) -> None:
    made(tmp_path / "venv", config="home = /opt/uv\nprompt = uv\n")
    assert managed_by(places(tmp_path / "venv"), {}) == Management("pip")


@pytest.mark.parametrize(("lock", "tool"), [("uv.lock", "uv"), ("poetry.lock", "poetry")])
def test_a_lock_file_beside_the_environment_names_the_project(
    tmp_path: Path, lock: str, tool: str
) -> None:
    made(tmp_path / ".venv")
    made(tmp_path / "other")
    (tmp_path / lock).write_text("")
    assert managed_by(places(tmp_path / ".venv"), {}) == Management(tool, str(tmp_path))
    assert managed_by(places(tmp_path / "other"), {}) == Management("pip")


def test_poetry_by_its_folder_or_its_active_shell(tmp_path: Path) -> None:
    kept = made(tmp_path / "pypoetry" / "virtualenvs" / "app-x-py3.11")
    assert managed_by(places(kept), {}) == Management("poetry")
    named = made(tmp_path / "venv")
    active = {"POETRY_ACTIVE": "1", "VIRTUAL_ENV": str(named)}
    assert managed_by(places(named), active) == Management("poetry")
    elsewhere = {"POETRY_ACTIVE": "1", "VIRTUAL_ENV": str(kept)}
    assert managed_by(places(named), elsewhere) == Management("pip")


def test_conda_and_its_relatives(tmp_path: Path) -> None:
    prefix = made(tmp_path / "env", "conda-meta/history")
    same = places(prefix, str(prefix))
    assert managed_by(same, {}) == Management("conda")
    assert managed_by(same, {"MAMBA_EXE": "/opt/bin/micromamba"}) == Management("micromamba")
    both = {"MAMBA_EXE": "/opt/bin/mamba", "CONDA_EXE": "/opt/bin/conda"}
    assert managed_by(same, both) == Management("conda")
    inside = made(tmp_path / "env" / "venv")
    assert managed_by(places(inside, str(prefix)), {}) == Management("pip"), "a venv of conda's"


def test_pixi_is_no_plain_conda(tmp_path: Path) -> None:
    prefix = made(tmp_path / ".pixi" / "envs" / "default", "conda-meta/history")
    assert managed_by(places(prefix, str(prefix)), {}) == Management("pixi", str(tmp_path))
    detached = made(tmp_path / "cache" / "env", "conda-meta/history", "conda-meta/pixi")
    assert managed_by(places(detached, str(detached)), {}) == Management("pixi")


def test_a_real_environment_and_the_systems_python(tmp_path: Path, environ: dict[str, str]) -> None:
    venv.create(tmp_path / "venv", symlinks=True)
    facts = collect(find_target(str(tmp_path / "venv"), environ), environ)
    assert facts.python is not None
    assert (facts.python.manager, facts.python.project) == ("pip", None)
    assert facts.python.externally_managed is False


def test_the_marker_is_what_pip_itself_looks_at(environ: dict[str, str]) -> None:
    python = shutil.which("python3", path="/usr/bin")
    if python is None:
        pytest.skip("there is no system Python here")
    look = (
        "import os, sys, sysconfig; print(sys.prefix == sys.base_prefix and os.path.exists("
        "os.path.join(sysconfig.get_path('stdlib'), 'EXTERNALLY-MANAGED')))"
    )
    said = subprocess.run([python, "-c", look], capture_output=True, text=True, check=True)
    facts = collect(find_target(python, environ), environ)
    assert facts.python is not None
    assert str(facts.python.externally_managed) == said.stdout.strip()


def test_the_environment_that_tests_run_in_is_named(environ: dict[str, str]) -> None:
    facts = collect(find_target(sys.executable, environ), environ)
    assert facts.python is not None
    assert facts.python.manager in {"pip", "uv", "conda", "mamba", "micromamba", "poetry", "pixi"}
