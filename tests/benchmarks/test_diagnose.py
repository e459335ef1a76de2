"""benchmarks/diagnose.py as a command: it runs by its path from anywhere, and refuses nonsense."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def run(checkout: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(checkout / "benchmarks" / "diagnose.py"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_it_says_what_it_measures_and_takes(checkout: Path, tmp_path: Path) -> None:
    done = run(checkout, tmp_path, "--help")
    assert done.returncode == 0, done.stderr
    assert "machines a second" in done.stdout
    assert "--machines" in done.stdout


def test_each_number_of_machines_gets_a_rate(checkout: Path, tmp_path: Path) -> None:
    done = run(checkout, tmp_path, "--machines", "16", "--runs", "1")
    assert done.returncode == 0, done.stderr
    told = re.findall(
        r"^(facts alone|with an error text), (\d+) (.+): (\d+) a s", done.stdout, re.MULTILINE
    )
    of_each = [("2", "machines"), ("4", "machines"), ("8", "machines"), ("16", "machines")]
    expected = [*of_each, ("4", "not seen before")]
    assert [(number, what) for name, number, what, _ in told if name == "facts alone"] == expected
    assert [(number, what) for name, number, what, _ in told if name != "facts alone"] == expected
    assert all(int(rate) > 0 for *_, rate in told)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("--machines", "20"), "a multiple of 16"), (("--runs", "0"), "at least 1")],
)
def test_what_cannot_be_measured_is_refused(
    checkout: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = run(checkout, tmp_path, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
