"""The table of texts is made of an archive's Python files, C++ sources and torch's libraries."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from typing import TYPE_CHECKING

from qdoctor import shipped
from qdoctor.mining.program_table import main, texts_of

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

PYTHON = 'raise ValueError("The number of heads has to divide the hidden size evenly")\n'
CPP = 'TORCH_CHECK(a.dim() == 2, "rank ", a.dim(), " is not two");\n'
LIBRARY = b"\x7fELF\x00torch.odd(): expected the input to have two dimensions, but got \x00"
OF_CPP = "runtimeerror rank * is not two"
OF_LIBRARY = "* * torch odd expected the input to have two dimensions but *"


def wheel(folder: Path, name: str) -> Path:
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/core.py", PYTHON)
        archive.writestr(f"{name}/csrc/kernel.cu", CPP)
        archive.writestr(f"{name}/csrc/third_party/other.cu", CPP.replace("rank", "size"))
        archive.writestr(f"{name}/lib/libtorch_cpu.so", LIBRARY)
    return path


def test_a_wheel_is_read_with_its_sources_and_torchs_library(tmp_path: Path) -> None:
    assert texts_of(wheel(tmp_path, "torch"))["shapes"] == {OF_CPP, OF_LIBRARY}


def test_a_library_of_that_name_counts_in_torch_only(tmp_path: Path) -> None:
    assert texts_of(wheel(tmp_path, "other"))["shapes"] == {OF_CPP}


def test_sources_in_an_archive_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "pkg-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo("pkg-1.0/csrc/kernel.cpp")
        info.size = len(CPP)
        archive.addfile(info, io.BytesIO(CPP.encode()))
    assert texts_of(path)["shapes"] == {OF_CPP}


def test_the_command_writes_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "wheels").mkdir()
    wheel(tmp_path / "wheels", "torch")
    monkeypatch.setattr(shipped, "matrix_folder", lambda: tmp_path)
    assert main([str(tmp_path / "wheels")]) == 0
    table = json.loads((tmp_path / "tables" / "program_texts.json").read_text(encoding="utf-8"))
    row = table["rows"]["torch"]
    assert row["shapes"] == sorted([OF_CPP, OF_LIBRARY])
    assert row["refusals"] == ["the number of heads has to divide the hidden size evenly"]
    assert table["sources"]["torch"] == "files of torch (1.0)"
