"""Which native libraries of an environment are looked at, and how they are found again."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from qdoctor.facts import candidates
from qdoctor.facts.interpreter import Distribution
from tests.facts.readings import reading

if TYPE_CHECKING:
    from pathlib import Path


def installed(site: Path, name: str, *files: str) -> Distribution:
    """Lay a distribution out as an installer does, with its RECORD."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    for file in files:
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        (site / file).touch()
    lines = [f"{file},sha256=x,1" for file in (*files, f"{info.name}/METADATA")]
    (info / "RECORD").write_text("\n".join([*lines, f"{info.name}/RECORD,,", ""]))
    return Distribution(name, "1.0", str(info / "METADATA"), str(site))


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"QDOCTOR_CACHE_DIR": str(tmp_path / "cache")}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    return folder


def named(found: candidates.Found, top: Path) -> set[tuple[str, str]]:
    return {(one.package, os.path.relpath(one.path, top)) for one in found.candidates}


def test_a_record_names_what_an_installer_brought(site: Path, environ: dict[str, str]) -> None:
    one = installed(
        site, "flash-attn", "flash_attn_2_cuda.cpython-311.so", "flash_attn/__init__.py"
    )
    two = installed(site, "nvidia-cublas", "nvidia/cublas/lib/libcublas.so.12", "nvidia/x.so.txt")
    found = candidates.find(reading([site], one, two), environ)
    assert named(found, site) == {
        ("flash-attn", "flash_attn_2_cuda.cpython-311.so"),
        ("nvidia-cublas", "nvidia/cublas/lib/libcublas.so.12"),
    }


def test_what_no_record_names_is_walked(site: Path, environ: dict[str, str]) -> None:
    known = installed(site, "known", "known/a.so")
    (site / "mine" / "deep").mkdir(parents=True)
    (site / "mine" / "deep" / "kernels.so").touch()
    (site / "single.cpython-311-x86_64-linux-gnu.so").touch()
    found = candidates.find(reading([site], known), environ)
    assert named(found, site) == {
        ("known", "known/a.so"),
        ("mine", "mine/deep/kernels.so"),
        ("single", "single.cpython-311-x86_64-linux-gnu.so"),
    }


def test_folders_on_the_path_are_walked(tmp_path: Path, environ: dict[str, str]) -> None:
    for name in ("pkg/_C.so", "pkg/.git/x.so", "node_modules/y.so", "pkg/readme.so.md"):
        (tmp_path / "work" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "work" / name).touch()
    found = candidates.find(reading([tmp_path / "work"]), environ)
    assert named(found, tmp_path / "work") == {("pkg", "pkg/_C.so")}


def test_the_standard_library_is_not_walked(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "python3.11").mkdir()
    (tmp_path / "python3.11" / "os.py").touch()
    (tmp_path / "python3.11" / "x.so").touch()
    assert candidates.find(reading([tmp_path / "python3.11"]), environ).candidates == []


def test_an_editable_install_s_source_is_walked(
    site: Path, tmp_path: Path, environ: dict[str, str]
) -> None:
    source = tmp_path / "my source"
    (source / "csrc").mkdir(parents=True)
    (source / "csrc" / "_C.so").touch()
    mine = installed(site, "mine", "mine-1.0.dist-info/direct_url.json")
    stated = {"url": source.as_uri(), "dir_info": {"editable": True}}
    (site / "mine-1.0.dist-info" / "direct_url.json").write_text(json.dumps(stated))
    found = candidates.find(reading([site], mine), environ)
    assert named(found, source) == {("mine", "csrc/_C.so")}


def test_extensions_that_torch_compiled_are_found(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "ext" / "py311_cu130" / "my_op").mkdir(parents=True)
    (tmp_path / "ext" / "py311_cu130" / "my_op" / "my_op.so").touch()
    found = candidates.find(reading([]), {**environ, "TORCH_EXTENSIONS_DIR": str(tmp_path / "ext")})
    assert [one.path for one in found.candidates] == [
        str(tmp_path / "ext" / "py311_cu130" / "my_op" / "my_op.so")
    ]


def test_a_new_file_in_a_known_folder_is_seen(tmp_path: Path, environ: dict[str, str]) -> None:
    work = tmp_path / "work"
    work.mkdir()
    assert candidates.find(reading([work]), environ).candidates == []
    (work / "built.so").touch()
    assert named(candidates.find(reading([work]), environ), work) == {("built", "built.so")}


def test_a_new_record_is_read_anew(site: Path, environ: dict[str, str]) -> None:
    one = installed(site, "pkg", "pkg/a.so")
    candidates.find(reading([site], one), environ)
    (site / "pkg" / "b.so").touch()
    record = site / "pkg-1.0.dist-info" / "RECORD"
    record.write_text(record.read_text() + "pkg/b.so,,\n")
    assert ("pkg", "pkg/b.so") in named(candidates.find(reading([site], one), environ), site)


def test_a_walk_has_an_end_and_says_so(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "MOST_FOLDERS", 5)
    for number in range(10):
        (tmp_path / "work" / str(number)).mkdir(parents=True)
    assert "5 folders" in candidates.find(reading([tmp_path / "work"]), environ).left_out


def test_a_link_to_its_own_parent_ends(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "again").symlink_to(tmp_path / "work")
    assert candidates.find(reading([tmp_path / "work"]), environ).left_out == ""


def test_what_is_not_there_is_no_failure(tmp_path: Path, environ: dict[str, str]) -> None:
    gone = Distribution("gone", "1.0", str(tmp_path / "gone-1.0.dist-info/METADATA"), str(tmp_path))
    assert candidates.find(reading([tmp_path / "nowhere"], gone), environ).candidates == []
