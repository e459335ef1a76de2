"""Packages as an import would find them, with what changes when they do."""

from __future__ import annotations

import importlib.machinery
import sys
import types
import zipfile
from typing import TYPE_CHECKING

import pytest

from qdoctor.choosing import installed
from tests.choosing.asking import posix_only

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that packages are imported from, with torch and a library of NVIDIA's in it."""
    folder = tmp_path / "site"
    package(folder, "torch", "2.11.0+cu130")
    (folder / "nvidia_cublas-13.1.0.3.dist-info").mkdir()
    (folder / "nvidia_cublas-13.1.0.3.dist-info" / "RECORD").write_text("cublas")
    monkeypatch.setattr(sys, "path", [str(folder)])
    for name in installed.MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(
        sys, "meta_path", [importlib.machinery.PathFinder]
    )  # whatever else the tests' environment looks through
    yield folder
    importlib.invalidate_caches()


def package(folder: Path, name: str, version: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text("")
    metadata = folder / f"{name}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "RECORD").write_text(f"{name}/__init__.py,,\n")
    importlib.invalidate_caches()


def found(name: str = "torch") -> str:
    return installed.installed()[0][name]


def test_versions_are_read_off_the_folders(site: Path) -> None:
    told, watched = installed.installed()
    assert installed.version_in(told["torch"]) == "2.11.0+cu130"
    assert told["bitsandbytes"] == ""
    assert installed.version_in(told["nvidia_cublas"]) == "13.1.0.3"
    assert {str(site), str(site / "torch" / "__init__.py")} <= set(watched)
    assert str(site / "torch-2.11.0+cu130.dist-info" / "RECORD") in watched


def test_an_upgrade_is_seen(site: Path) -> None:
    before = found()
    (site / "torch-2.11.0+cu130.dist-info").rename(site / "torch-2.12.0.dist-info")
    assert found() != before
    assert installed.version_in(found()) == "2.12.0"


@pytest.mark.parametrize("file", ["torch/__init__.py", "torch-2.11.0+cu130.dist-info/RECORD"])
def test_a_change_in_place_is_seen(site: Path, file: str) -> None:
    before = found()
    (site / file).write_text("changed, with another size")
    assert found() != before


def test_a_new_library_beside_is_seen(site: Path) -> None:
    before = installed.installed()[0]["nvidia_cublas"]
    (site / "nvidia_cublas-13.1.0.3.dist-info" / "RECORD").write_text("another cublas")
    assert installed.installed()[0]["nvidia_cublas"] != before


def test_a_copy_that_comes_first_is_the_one(site: Path, tmp_path: Path) -> None:
    package(tmp_path / "mine", "torch", "1.0")
    sys.path.insert(0, str(tmp_path / "mine"))
    assert installed.version_in(found()) == "1.0"
    assert site


def test_a_file_of_that_name_shadows_the_package(site: Path, tmp_path: Path) -> None:
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "torch.py").write_text("")
    sys.path.insert(0, str(tmp_path / "script"))
    importlib.invalidate_caches()
    assert installed.version_in(found()) == "?"
    assert site


def test_a_source_tree_is_stamped_file_by_file(site: Path, tmp_path: Path) -> None:
    tree = tmp_path / "checkout" / "bitsandbytes"
    (tree / "nn").mkdir(parents=True)
    (tree / "__init__.py").write_text("")
    (tree / "nn" / "modules.py").write_text("one")
    sys.path.append(str(tree.parent))
    importlib.invalidate_caches()
    before = found("bitsandbytes")
    assert before.startswith("? ")
    (tree / "nn" / "modules.py").write_text("another one")
    assert found("bitsandbytes") != before
    assert site


@posix_only
def test_a_link_to_nothing_in_a_source_tree_is_no_error(site: Path, tmp_path: Path) -> None:
    """Emacs leaves one beside each file that is being edited: ``.#torch.py``."""
    tree = tmp_path / "checkout" / "bitsandbytes"
    tree.mkdir(parents=True)
    (tree / "__init__.py").write_text("")
    sys.path.append(str(tree.parent))
    importlib.invalidate_caches()
    before = found("bitsandbytes")
    (tree / ".#__init__.py").symlink_to("somebody@host.4711")
    assert found("bitsandbytes") == before
    assert site


def test_an_editable_install_is_found_by_its_finder(site: Path, tmp_path: Path) -> None:
    tree = tmp_path / "checkout" / "torchao"
    tree.mkdir(parents=True)
    (tree / "__init__.py").write_text("")

    class Finder:
        """What setuptools puts into ``sys.meta_path`` for an editable install."""

        def find_spec(
            self, name: str, path: object = None, target: object = None
        ) -> importlib.machinery.ModuleSpec | None:
            del path, target
            if name != "torchao":
                return None
            return importlib.machinery.ModuleSpec(
                name, None, origin=str(tree / "__init__.py"), is_package=True
            )

    sys.meta_path.append(Finder())
    before = found("torchao")
    assert before != ""
    (tree / "more.py").write_text("x")
    assert found("torchao") != before
    assert site


def test_a_package_that_is_imported_already_is_the_one_that_counts(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path / "loaded", "torch", "9.9")
    module = types.ModuleType("torch")
    origin = str(tmp_path / "loaded" / "torch" / "__init__.py")
    module.__spec__ = importlib.machinery.ModuleSpec("torch", None, origin=origin)
    monkeypatch.setitem(sys.modules, "torch", module)
    assert installed.version_in(found()) == "9.9"
    assert site


def test_a_finder_that_breaks_is_no_reason_to_break(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def find_spec(self, *_: object) -> None:
            raise RuntimeError("mine is broken")

    monkeypatch.setattr(sys, "meta_path", [Broken()])
    assert "RuntimeError" in found()
    assert site


def test_looking_imports_nothing(site: Path) -> None:
    (site / "torch" / "__init__.py").write_text("raise SystemExit('imported')")
    importlib.invalidate_caches()
    assert found()
    assert "torch" not in sys.modules


def test_a_zip_is_stamped_as_a_whole(site: Path, tmp_path: Path) -> None:
    def pack(text: str) -> None:
        with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
            archive.writestr("torchao/__init__.py", text)
        importlib.invalidate_caches()

    pack("")
    sys.path.append(str(tmp_path / "all.zip"))
    before = found("torchao")
    assert before.startswith("? in ")
    pack("another one")
    assert found("torchao") != before
    assert site


def test_triton_by_another_name_is_triton(site: Path) -> None:
    package(site, "triton", "3.6.0")
    (site / "triton-3.6.0.dist-info").rename(site / "pytorch_triton-3.7.0+git1.dist-info")
    importlib.invalidate_caches()
    assert installed.version_in(found("triton")) == "3.7.0+git1"
