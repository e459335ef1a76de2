"""Files that Python would import in place of modules of its own library are found and named."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qdoctor.facts.collecting import collect
from qdoctor.facts.hiding import hidden_library
from qdoctor.facts.interpreter import Reading, ask
from qdoctor.model import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LIBRARY = str(Path(os.__file__).parent)


def lay(folder: Path, *files: str) -> str:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("raise SystemExit('imported')\n")
    return str(folder)


def hidden_by(*path: str) -> list[str]:
    return [copy.file or "" for copy in hidden_library(path, "3.11.7") if copy.version is None]


def test_a_file_and_a_package_that_come_first_are_found(tmp_path: Path) -> None:
    folder = lay(tmp_path / "mine", "random.py", "queue/__init__.py", "train.py")
    found = hidden_library([folder, LIBRARY], "3.11.7")
    assert [(one.name, one.version, one.file) for one in found] == [
        ("queue", None, f"{folder}/queue/__init__.py"),
        ("queue", "3.11.7", f"{LIBRARY}/queue.py"),
        ("random", None, f"{folder}/random.py"),
        ("random", "3.11.7", f"{LIBRARY}/random.py"),
    ]


def test_what_comes_after_the_library_hides_nothing(tmp_path: Path) -> None:
    assert hidden_by(LIBRARY, lay(tmp_path / "mine", "random.py")) == []


def test_what_python_has_already_and_folders_without_code_hide_nothing(tmp_path: Path) -> None:
    folder = lay(tmp_path / "mine", "os.py", "sys.py", "abc.py", "logging/train.log")
    assert hidden_by(folder, LIBRARY) == []


def test_a_path_without_a_library_tells_nothing(tmp_path: Path) -> None:
    assert hidden_by(lay(tmp_path / "mine", "random.py"), str(tmp_path / "gone")) == []


@pytest.mark.parametrize("name", ["json", "ast", "token", "mmap"])
def test_an_interpreter_answers_in_spite_of_them(
    name: str, tmp_path: Path, environ: Mapping[str, str], require: Callable[[str], Path]
) -> None:
    folder = tmp_path / "mine"
    lay(folder, f"{name}.py")
    answer = ask(str(require("3.11")), {**environ, "PYTHONPATH": str(folder)})
    assert isinstance(answer, Reading), answer
    assert answer.path[0] == str(folder)


def test_the_facts_name_them(tmp_path: Path, environ: Mapping[str, str]) -> None:
    folder = lay(tmp_path / "mine", "random.py")
    target = Target(kind="interpreter", chosen_by="test", python=sys.executable)
    facts = collect(target, {**environ, "PYTHONPATH": folder})
    found = [one.file for one in facts.packages_found or () if one.name == "random"]
    assert found[:1] == [f"{folder}/random.py"]
    assert len(found) == 2
