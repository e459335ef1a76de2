"""Files that are no requirements files are refused with what they are and what to do instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qdoctor import requirement_lines
from qdoctor.model import BadInput

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "text", "what", "advice"),
    [
        ("poetry.lock", '[[package]]\nname = "torch"\n', "poetry's lock file", "poetry export"),
        ("uv.lock", "version = 1\n", "uv's lock file", "uv export"),
        ("Pipfile", '[packages]\ntorch = "*"\n', "pipenv's list", "pipenv requirements"),
        ("Pipfile.lock", "{}", "pipenv's lock file", "pipenv requirements"),
        ("pyproject.toml", "[project]\nname = 'x'\n", "a project's", "uv pip compile"),
        ("renamed.lock", '# made by a tool\n[[package]]\nname = "torch"\n', "TOML", "one require"),
        (
            "environment.yml",
            "name: ml\nchannels:\n  - pytorch\ndependencies:\n  - pytorch=2.1.2\n",
            "a conda environment",
            "pip list --format=freeze",
        ),
        (
            "spec.txt",
            "# platform: linux-64\n_libgcc_mutex=0.1=main\npytorch=2.1.2=py3.10_cuda12.1_0\n",
            "what conda list --export prints",
            "pip list --format=freeze",
        ),
        ("spec.txt", "# platform: linux-64\n@EXPLICIT\n", "conda's list of files", "pip list"),
        (
            "list.txt",
            "# packages in environment at /opt/conda:\n#\n# Name  Version\n",
            "what conda list prints",
            "pip list --format=freeze",
        ),
        (
            "list.txt",
            "Package    Version\n---------- -------\ntorch      2.1.0\n",
            "the table that pip list prints",
            "pip list --format=freeze",
        ),
        (
            "env.yaml",
            "dependencies: [python=3.10]\n",
            "a conda environment",
            "pip list --format=freeze",
        ),
        ("pylock.dev.toml", "lock-version = '1.0'\n", "TOML", "one requirement a line"),
        ("torch-2.1.0-cp310-cp310-linux_x86_64.whl", "PK\0", "a wheel", "name it without -r"),
        ("facts.json", '{\n  "schema": "qdoctor/facts/1"\n}\n', "JSON", "--facts"),
        ("requirements.txt", "<!DOCTYPE html>\n<html>\n", "a web page", "download the file"),
    ],
)
def test_another_file_is_named(
    tmp_path: Path, name: str, text: str, what: str, advice: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput) as refused:
        requirement_lines.read((), (str(tmp_path / name),))
    assert str(refused.value).startswith(f"{tmp_path / name}: this is {what}")
    assert "not a requirements file; " in str(refused.value)
    assert advice in str(refused.value)


def test_what_a_requirements_file_may_hold_is_not_mistaken(tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text(
        "# dependencies:\n--config-settings=a=b\ntorch[x]\n"
        "peft[dev]==0.10 \\\n    --hash=sha256:00\n    # via\n    #   -r requirements.in\n"
    )
    assert len(requirement_lines.read((), (str(path),)).asked) == 2
