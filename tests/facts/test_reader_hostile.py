"""What the reader makes of packages that are none, or of which nothing sensible can be read."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qdoctor.facts import _in_target_reader as reader
from qdoctor.facts import interpreter
from qdoctor.facts.interpreter import Reading, ask

if TYPE_CHECKING:
    from collections.abc import Callable

BUILD = "__version__ = '2.1.0+cu121'\ncuda = '12.1'\nhip = None\n"


def asked(environ: dict[str, str], *path: Path, **more: str) -> Reading:
    entries = os.pathsep.join(map(str, path))
    answer = ask(sys.executable, {**environ, "PYTHONPATH": entries, **more})
    assert isinstance(answer, Reading), answer
    return answer


def test_a_single_file_is_not_described_by_its_neighbours(
    tmp_path: Path, environ: dict[str, str], lay: Callable[..., Path]
) -> None:
    mine = tmp_path / "src"
    (mine / "lib").mkdir(parents=True)
    (mine / "lib" / "libtorch_python.so").write_bytes(b"\0sm_80 sm_90\0")
    (mine / "version.py").write_text("__version__ = '0.1'\ncuda = '9.9'\n")
    for name, source in (("torch", ""), ("bitsandbytes", ""), ("triton", "__version__ = '7'\n")):
        (mine / f"{name}.py").write_text(source)
    lay(tmp_path / "site", "torch", "2.1.0")
    answer = asked(environ, mine, tmp_path / "site")
    assert {name: answer.packages[name] for name in ("torch", "bitsandbytes", "triton")} == {
        "torch": "?",
        "bitsandbytes": "?",
        "triton": "7",
    }
    assert answer.packages_found[0].file == str(mine / "torch.py")
    assert (answer.torch_cuda, answer.torch_arch_list) == (None, None)
    assert "torch.py is a single file" in answer.unread["torch_cuda"]
    assert answer.folders.keys().isdisjoint({"torch", "bitsandbytes", "triton"})


def test_a_single_file_with_metadata_beside_it_has_that_version(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    (tmp_path / "triton.py").write_text("")
    info = tmp_path / "triton-2.0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: triton\nVersion: 2.0.0\n")
    assert asked(environ, tmp_path).packages["triton"] == "2.0.0"


def test_one_folder_by_two_names_is_one_copy(
    tmp_path: Path, environ: dict[str, str], lay: Callable[..., Path]
) -> None:
    lay(tmp_path / "lib", "triton", "2.1.0")
    (tmp_path / "lib64").symlink_to("lib")
    found = asked(environ, tmp_path / "lib64", tmp_path / "lib").packages_found
    assert [one.file for one in found if one.file.startswith(str(tmp_path))] == [
        str(tmp_path / "lib64" / "triton" / "__init__.py")
    ]


@pytest.mark.parametrize(
    ("source", "version"),
    [
        ("cuda = " + "-" * 100_000 + "1\n", "?"),
        ("cuda = " + "(" * 5_000 + ")" * 5_000 + "\n", "?"),
        ("__version__ = '2.0\\ud800'\ncuda = ['12.1']\n", "2.0?"),
        ("__version__ = '2.0'\ncuda = 12.1\n", "2.0"),
        (f"__version__ = '{'5' * 9000}'\ncuda = '{'5' * 9000}'\n", "?"),
    ],
)
def test_a_version_file_that_tells_nonsense_leaves_the_build_unknown(
    source: str,
    version: str,
    tmp_path: Path,
    environ: dict[str, str],
    lay_bare: Callable[[Path, str, str], Path],
) -> None:
    (lay_bare(tmp_path, "torch", "") / "version.py").write_text(source)
    answer = asked(environ, tmp_path)
    assert answer.packages["torch"] == version
    assert answer.torch_cuda is None
    assert "version.py" in answer.unread["torch_cuda"]


def test_a_folder_that_cannot_be_read_is_said(tmp_path: Path, environ: dict[str, str]) -> None:
    loop = tmp_path / "site"
    loop.symlink_to(loop)  # fails as a closed folder does, for an administrator too
    (tmp_path / "a.zip").touch()
    answer = asked(environ, loop, tmp_path / "a.zip", tmp_path / "not-there")
    assert answer.unread["packages"].startswith(f"{loop} cannot be read: ")


def test_warnings_that_are_errors_hide_nothing(
    tmp_path: Path, environ: dict[str, str], lay_bare: Callable[[Path, str, str], Path]
) -> None:
    (lay_bare(tmp_path, "torch", "") / "version.py").write_text(BUILD + "pattern = '\\d'\n")
    answer = asked(environ, tmp_path, PYTHONWARNINGS="error", PYTHONWARNDEFAULTENCODING="1")
    assert (answer.packages["torch"], answer.torch_cuda) == ("2.1.0+cu121", "12.1")


def test_a_finder_that_raises_hides_no_copy(
    tmp_path: Path, environ: dict[str, str], lay: Callable[..., Path]
) -> None:
    lay(tmp_path, "triton", "2.1.0")
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n\nclass Finder:\n    def find_spec(name, path=None, target=None):\n"
        "        if name == 'triton':\n            raise RuntimeError('licence expired')\n\n"
        "sys.meta_path.insert(0, Finder)\n"
    )
    assert asked(environ, tmp_path).packages["triton"] == "2.1.0"


@pytest.mark.skipif(sys.platform == "win32", reason="no FIFO lies in folders there")
def test_a_version_file_that_is_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "version.py")
    unread: dict[str, str] = {}
    told: list[object] = []
    asking = threading.Thread(
        target=lambda: told.append(reader.torch_build(str(tmp_path), unread)), daemon=True
    )
    asking.start()
    asking.join(30)
    assert told == [(None, None)]
    assert "version.py is missing" in unread["torch_cuda"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_our_own_folder_is_no_part_of_the_path_though_our_files_are_links(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, installed = tmp_path / "cache", tmp_path / "facts"
    cache.mkdir()
    installed.mkdir()
    for name in ("_in_target.py", "_in_target_reader.py"):
        shutil.copy(Path(interpreter.__file__).with_name(name), cache / name)
        (installed / name).symlink_to(cache / name)
    monkeypatch.setattr(interpreter, "_SCRIPT", installed / "_in_target.py")
    answer = asked(environ)
    assert answer.path
    assert {str(cache), str(installed)}.isdisjoint(answer.path)
