"""The engine works with every Python that can be examined, for real where one is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from qdoctor.probes import catalog
from qdoctor.probes.plan import Step
from qdoctor.probes.runner import Patient, carry_out

MINORS = range(8, 15)


def interpreter(minor: int) -> str:
    """Find CPython 3.``minor`` on PATH or among pyenv's; skips where there is none that starts."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = sorted(pyenv.glob(f"3.{minor}.*/bin/python")) if os.access(pyenv, os.R_OK) else []
    for candidate in [shutil.which(f"python3.{minor}"), *map(str, found)]:
        if candidate and _is(candidate, minor):
            return candidate
    pytest.skip(f"no Python 3.{minor} here")


def _is(candidate: str, minor: int) -> bool:
    told = subprocess.run([candidate, "-V"], capture_output=True, text=True, check=False)
    return bool(re.match(rf"Python 3\.{minor}\.", told.stdout))


@pytest.mark.parametrize("minor", MINORS)
def test_probes_answer_crash_and_fail_alike_in_every_python(
    patients: Path, clean_world: str, minor: int
) -> None:
    names = ("passes", "segfaults", "raises_system_exit", "fails_to_import")
    paths = [patients / f"{name}.py" for name in names]
    steps = [Step(catalog.Kernel(path, catalog.read_header(path)), "run") for path in paths]
    environ = {**os.environ, "QDOCTOR_TEST_MARK": clean_world}
    seen = carry_out(steps, Patient(interpreter(minor), environ), lambda _: None)
    assert [(one.outcome, one.code, one.device) for one in seen] == [
        ("passed", None, "cpu"),
        ("crashed", "sigsegv", "cpu"),
        ("failed", "failed", "cpu"),
        ("failed", "import-failed", "cpu"),
    ]
