"""The README shows what the commands print."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"^```\n(\$ qdoctor .*?)^```$", re.MULTILINE | re.DOTALL)
ASKED = re.compile(r"^\$ qdoctor ((?:.*\\\n)*.*)\n", re.MULTILINE)
LEFT_OUT = re.compile(r"^ *\.\.\.$\n?", re.MULTILINE)


def shown() -> dict[str, str]:
    """Each command of the README under which it shows an output, and that output."""
    found: dict[str, str] = {}
    for block in BLOCK.findall(README.read_text(encoding="utf-8")):
        _, *pieces = ASKED.split(block)
        found.update(zip(pieces[::2], pieces[1::2], strict=True))
    return {command: output for command, output in found.items() if output}


def printed(command: str, checkout: Path) -> str:
    words = shlex.split(command.replace("\\\n", ""))
    line = [sys.executable, "-m", "qdoctor", *words]
    ended = subprocess.run(line, cwd=checkout, capture_output=True, text=True, check=False)
    assert ended.returncode in {0, 1}, ended.stderr
    return ended.stdout


def test_the_readme_shows_some_outputs() -> None:
    kinds = [command.split()[0] for command in shown()]
    assert kinds == ["check", "explain", "check", "check", "matrix", "matrix"]


@pytest.mark.parametrize("command", shown())
def test_what_the_readme_shows_is_what_is_printed(command: str, checkout: Path) -> None:
    rest = printed(command, checkout)
    for part in LEFT_OUT.split(shown()[command]):
        assert part in rest
        rest = rest.partition(part)[2] if part else rest


def test_the_whole_report_in_the_readme_is_a_whole_one(checkout: Path) -> None:
    command = next(iter(shown()))
    assert shown()[command] == printed(command, checkout)
