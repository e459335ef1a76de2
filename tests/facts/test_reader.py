"""What the reader makes of packages as they really lie around: its functions, called in process."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from qdoctor.facts import _in_target_reader as reader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ARCHS = b"sm_50 sm_60 sm_70 sm_80 sm_86 sm_90a compute_90"


INTERESTING = {"bitsandbytes", "peft", "torch", "triton"}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An import path of one empty folder."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder)])
    for name in [name for name in sys.modules if name.split(".")[0] in INTERESTING]:
        monkeypatch.delitem(sys.modules, name)  # imported by another test: found before any path
    return folder


def packages() -> tuple[dict[str, str], dict[str, str]]:
    unread: dict[str, str] = {}
    found, _ = reader.packages_and_copies(reader.distributions(unread), unread)
    return found, unread


def test_versions_come_from_names_of_every_kind(site: Path) -> None:
    for name in (
        "torch-2.1.2+cu121.dist-info/METADATA",
        "Open_CLIP.torch-2.24.0-py3.11.egg-info/PKG-INFO",
        "~riton-2.0.0.dist-info/METADATA",
        "numpy-1.26.dist-info/RECORD",
    ):
        path = site / name
        path.parent.mkdir()
        path.write_text("Metadata-Version: 2.1\n")
    (site / "six-1.16.0.egg-info").write_text("Metadata-Version: 1.2\nName: six\nVersion: 1.16.0\n")
    (site / "mine.egg-info").mkdir()
    (site / "mine.egg-info" / "PKG-INFO").write_text("Name: Mine\nVersion: 0.1.dev0\n\nbody\n")
    found = {name: version for name, version, _, _ in reader.distributions({})}
    assert found == {
        "torch": "2.1.2+cu121",
        "open-clip-torch": "2.24.0",
        "six": "1.16.0",
        "mine": "0.1.dev0",
    }


def test_two_metadata_folders_leave_the_version_unknown(
    site: Path, lay: Callable[..., Path]
) -> None:
    lay(site, "peft", "0.10.0")
    (site / "peft-0.11.0.dist-info").mkdir()
    (site / "peft-0.11.0.dist-info" / "METADATA").write_text("Name: peft\nVersion: 0.11.0\n")
    found, unread = packages()
    assert found["peft"] == "?"
    assert "several metadata folders" in unread["packages.peft"]


def test_two_metadata_folders_are_settled_by_the_source(
    site: Path, lay_bare: Callable[[Path, str, str], Path]
) -> None:
    lay_bare(site, "triton", "__version__ = '3.1.0'\n")
    for version in ("3.0.0", "3.1.0"):
        (site / f"triton-{version}.dist-info").mkdir()
        (site / f"triton-{version}.dist-info" / "METADATA").write_text("Name: triton\n")
    found, unread = packages()
    assert found["triton"] == "3.1.0"
    assert unread == {}


def test_metadata_without_a_module_is_said(site: Path) -> None:
    (site / "triton-3.1.0.dist-info").mkdir()
    (site / "triton-3.1.0.dist-info" / "METADATA").write_text("Name: triton\nVersion: 3.1.0\n")
    found, unread = packages()
    assert found["triton"] == "3.1.0"
    assert "nothing to import" in unread["packages_found.triton"]


def test_another_distribution_may_bring_the_module(
    site: Path, lay_bare: Callable[[Path, str, str], Path]
) -> None:
    lay_bare(site, "triton", "")
    (site / "pytorch_triton-3.2.0.dist-info").mkdir()
    (site / "pytorch_triton-3.2.0.dist-info" / "METADATA").write_text("Name: pytorch-triton\n")
    found, _ = packages()
    assert found["triton"] == found["pytorch-triton"] == "3.2.0"


def test_a_module_without_any_version_is_installed_all_the_same(
    site: Path, lay_bare: Callable[[Path, str, str], Path]
) -> None:
    lay_bare(site, "bitsandbytes", "")
    assert packages()[0]["bitsandbytes"] == "?"


@pytest.mark.parametrize(
    ("flags", "archs"),
    [
        (b"\0" + ARCHS + b"\0", ARCHS.decode().split()),
        (b"std::string ipc_h" + ARCHS + b"\0", ARCHS.decode().split()),
        (b"\0sm_120\0", ["sm_120"]),
    ],
)
def test_a_cuda_build_tells_its_cuda_and_architectures(
    flags: bytes, archs: list[str], tmp_path: Path
) -> None:
    (tmp_path / "version.py").write_text(
        "from typing import Optional\n__version__ = '2.5.1+cu124'\n"
        "cuda: Optional[str] = '12.4'\nhip: Optional[str] = None\n"
    )
    (tmp_path / "lib").mkdir()
    content = b"\0" * 5000 + b" sm_90\0 asm_1 sm_x\0sm_80 or newer\0sm_" + flags + b"rest\0 sm_1\0"
    (tmp_path / "lib" / "libtorch_python.so").write_bytes(content)
    unread: dict[str, str] = {}
    assert reader.torch_build(str(tmp_path), unread) == ("12.4", archs)
    assert unread == {}


def test_a_rocm_build_tells_its_architectures_and_no_cuda(tmp_path: Path) -> None:
    (tmp_path / "version.py").write_text("cuda = None\nhip = '6.2.41133'\n")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libtorch_python.so").write_bytes(b"\0gfx90a gfx942 gfx1100\0")
    assert reader.torch_build(str(tmp_path), {}) == ("", ["gfx90a", "gfx942", "gfx1100"])


def test_a_cpu_build_is_known_to_have_neither(tmp_path: Path) -> None:
    (tmp_path / "version.py").write_text("cuda = None\nhip = None\n")
    assert reader.torch_build(str(tmp_path), {}) == ("", [])


@pytest.mark.parametrize("content", [None, b"", b"\0sm_80 or newer\0"])
def test_a_library_that_tells_no_architectures_leaves_them_unknown(
    content: bytes | None, tmp_path: Path
) -> None:
    (tmp_path / "version.py").write_text("cuda = '12.4'\n")
    (tmp_path / "lib").mkdir()
    if content is not None:
        (tmp_path / "lib" / "libtorch_python.so").write_bytes(content)
    unread: dict[str, str] = {}
    assert reader.torch_build(str(tmp_path), unread) == ("12.4", None)
    assert "torch_arch_list" in unread


def test_a_broken_version_file_leaves_the_build_unknown(tmp_path: Path) -> None:
    (tmp_path / "version.py").write_text("cuda = = '12.4'\n")
    unread: dict[str, str] = {}
    assert reader.torch_build(str(tmp_path), unread) == (None, None)
    assert "torch_cuda" in unread


def test_the_compiler_is_looked_for_as_triton_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert reader.c_compiler(None) is False
    for name in ("cc", "clang"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
        assert reader.c_compiler(None) is (name == "clang"), "triton never asks for cc"
    monkeypatch.setenv("CC", str(tmp_path / "gone"))
    assert reader.c_compiler(None) is False, "$CC is taken as it stands"


def test_every_distribution_is_named_once_with_its_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, version in (("first", "1.0"), ("second", "2.0")):
        path = tmp_path / folder / f"Some_Thing-{version}.dist-info" / "METADATA"
        path.parent.mkdir(parents=True)
        path.write_text("Metadata-Version: 2.1\n")
    first = tmp_path / "first"
    monkeypatch.setattr(sys, "path", [str(first), str(tmp_path / "second")])
    assert reader.distributions_of(reader.distributions({})) == [
        {
            "name": "some-thing",
            "version": "1.0",
            "file": str(first / "Some_Thing-1.0.dist-info" / "METADATA"),
            "folder": str(first),
        }
    ]
