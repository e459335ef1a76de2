"""The key of an answer: equal where the answer is the same, and nowhere else."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qdoctor import local_data
from qdoctor import matrix as matrices
from qdoctor.choosing import devices, key

if TYPE_CHECKING:
    from tests.choosing.pretended import Here

GPU = devices.Device("NVIDIA H200", "NVIDIA H200 [10de 2335]", "GPU-1")


@pytest.fixture(autouse=True)
def _machine(here: Here) -> None:
    here.has(GPU, packages={"torch": "2.11.0 s", "triton": "3.6.0 t"})


def text(device: int | str | None = None, **environ: str) -> str:
    return key.key_of("a question", device, environ).text


def test_all_that_could_change_an_answer_stands_in_it() -> None:
    lines = text().splitlines()
    assert lines[0].startswith(f"qdoctor {key.__version__} matrix {matrices.shipped().version} ")  # type: ignore[attr-defined]
    folder = Path(sys.executable).parent.resolve()
    assert lines[1].startswith(f"python {sys.version.split()[0]} {folder} ")
    assert "package torch 2.11.0 s" in lines
    assert "driver 580.1" in lines
    assert "device NVIDIA H200 [10de 2335]" in lines
    assert lines[-1] == "asked a question"


def test_an_interpreter_is_one_by_whatever_name_it_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A venv's python, python3 and python3.11 are one; what `qdoctor select` found, each reads."""
    (tmp_path / "python").symlink_to(sys.executable)
    (tmp_path / "python3").symlink_to("python")
    (tmp_path / "here").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path)
    texts = set()
    for name in ("python", "python3", "here/../python", "linked/python"):
        monkeypatch.setattr(sys, "executable", str(tmp_path / name))
        monkeypatch.setattr(key, "_latest", [])
        texts.add(text())
    assert len(texts) == 1


def test_the_same_interpreter_in_another_environment_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = set()
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "python").symlink_to(sys.executable)
        monkeypatch.setattr(sys, "executable", str(tmp_path / name / "python"))
        monkeypatch.setattr(key, "_latest", [])
        texts.add(text())
    assert len(texts) == 2


@pytest.mark.parametrize("name", sorted(key.VARIABLES))
def test_every_variable_counts_and_has_its_reason(name: str) -> None:
    assert text(**{name: "1"}) != text()
    assert text(**{name: "1"}) != text(**{name: "0"})
    assert text("cpu", **{name: "1"}) != text("cpu")
    assert key.VARIABLES[name]


@pytest.mark.parametrize("name", sorted(key.ON_CPU))
def test_threads_count_on_the_cpu_alone(name: str) -> None:
    assert text("cpu", **{name: "1"}) != text("cpu")
    assert text(**{name: "1"}) == text()


def test_the_number_of_a_gpu_does_not_count_its_kind_does(here: Here) -> None:
    other = devices.Device(GPU.name, GPU.kind, "GPU-2")
    one = text()
    here.has(GPU, other)
    assert one == text() == text(1) == text(0, CUDA_VISIBLE_DEVICES="1")
    assert one != text("cpu")


def test_another_driver_is_another_machine(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    before = text()
    here.driver = "581.0"
    assert text() == before  # within a second, where nothing that is watched changed
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 2)
    assert text() != before


def test_own_data_counts(tmp_path: Path) -> None:
    before = text(QDOCTOR_DATA_DIR=str(tmp_path))
    (tmp_path / "matrix").mkdir()
    (tmp_path / "matrix" / "index.json").write_text("{}")
    key._latest.clear()
    assert text(QDOCTOR_DATA_DIR=str(tmp_path)) != before


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere platformdirs itself is asked")
@pytest.mark.parametrize("base", [None, "/srv/data"])
def test_own_data_is_looked_for_where_it_lies(
    monkeypatch: pytest.MonkeyPatch, base: str | None
) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    if base is not None:
        monkeypatch.setenv("XDG_DATA_HOME", base)
    for environ in ({}, {"QDOCTOR_DATA_DIR": "~/mine"}):
        assert key._data_folder(environ) == os.fspath(local_data.folder(environ))


def test_what_travels_names_versions_without_stamps() -> None:
    portable = key.key_of("a question", None, {}).portable
    assert portable["packages"] == {
        "torch": "2.11.0",
        "triton": "3.6.0",
        "bitsandbytes": "",
        "torchao": "",
    }
    assert portable["device"] == "NVIDIA H200"
    assert key.key_of("a question", "cpu", {}).portable["device"].startswith("cpu ")
