"""Watches over what a probe leaves behind in its parent's world."""

from __future__ import annotations

import os
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qdoctor.model import Observation
from qdoctor.probes import catalog
from qdoctor.probes.plan import Step
from qdoctor.probes.runner import Patient, carry_out
from tests.probes.wards import write_packages

Run = Callable[[str], list[Observation]]


@pytest.fixture
def patients() -> Path:
    return Path(__file__).parent / "patients"


@pytest.fixture
def clean_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A mark for the environment of children; afterwards nothing that carries it may be left."""
    if sys.platform != "linux":
        pytest.skip("reads /proc")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    mark = uuid.uuid4().hex
    before = descriptors()
    yield mark
    assert carriers(mark) == []
    with pytest.raises(ChildProcessError):  # no child of ours, alive or zombie
        os.waitpid(-1, os.WNOHANG)
    assert descriptors() == before
    assert list(tmp_path.iterdir()) == []


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def carriers(mark: str) -> list[int]:
    """Find running processes whose environment holds the mark."""
    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*") if _carries(folder, mark)]


def _carries(folder: Path, mark: str) -> bool:
    try:
        return mark.encode() in (folder / "environ").read_bytes()
    except OSError:
        return False


@pytest.fixture
def run(patients: Path, clean_world: str) -> Run:
    """Run one patient for real: the harness, a child, the bounds of its header."""
    environ = {**os.environ, "QDOCTOR_TEST_MARK": clean_world}

    def run(name: str) -> list[Observation]:
        path = patients / f"{name}.py"
        step = Step(catalog.Kernel(path, catalog.read_header(path)), "run", device=0)
        return carry_out([step], Patient(sys.executable, environ), lambda _: None)

    return run


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH with an empty torch."""
    folder = tmp_path_factory.mktemp("packages")
    write_packages(folder)
    return folder
