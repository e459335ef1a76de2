from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qdoctor.model import BadInput
from qdoctor.settings import project_needs

if TYPE_CHECKING:
    from pathlib import Path


def test_a_project_states_its_needs(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.qdoctor]\nneed = ["half", "gpu"]\n')
    assert project_needs(tmp_path) == ("half", "gpu")


@pytest.mark.parametrize("text", [None, "", "[tool.ruff]\nline-length = 100\n", "[tool.qdoctor]\n"])
def test_a_project_that_says_nothing_needs_nothing(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "pyproject.toml").write_text(text)
    assert project_needs(tmp_path) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.qdoctor", "not valid TOML"),
        (f"qdoctor = {'[' * 5000}", "not valid TOML"),
        (f"qdoctor = {'9' * 5000}", "not valid TOML"),
        ("[tool]\nqdoctor = 3\n", "must be a table"),
        ("[tool.qdoctor]\nneed = 'half'\n", "must be a list"),
        ("[tool.qdoctor]\nneed = [1]\n", "must be a list"),
        ("[tool.qdoctor]\nneeds = ['half']\n", "no option 'needs'"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(BadInput, match=said):
        project_needs(tmp_path)


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes(b"\xff\xfe[tool.qdoctor]")
    with pytest.raises(BadInput, match="cannot be read"):
        project_needs(tmp_path)
