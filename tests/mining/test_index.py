from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from qdoctor.mining.errors import UnreadableRelease
from qdoctor.mining.every_wheel import default_wheel
from qdoctor.mining.index import by_release, configured, wheels

if TYPE_CHECKING:
    from pathlib import Path

    from qdoctor.mining.http import Transport
    from tests.mining.conftest import Index

LINUX = "manylinux_2_28_x86_64"


def names(index: Index, transport: Transport, package: str = "torch") -> list[str]:
    grouped = by_release(wheels(index.url, package, transport))
    return [file.name for files in grouped.values() for file in files]


@pytest.mark.parametrize("html", [False, True])
def test_both_kinds_of_index_pages_are_read(
    index: Index, transport: Transport, *, html: bool
) -> None:
    name = f"torch-2.5.1-cp311-cp311-{LINUX}.whl"
    index.add("torch", {name: b"body"}, html=html)
    (file,) = wheels(index.url, "torch", transport)
    assert (file.name, file.version) == (name, Version("2.5.1"))
    assert file.url.startswith("http://127.0.0.1:")
    assert file.url.endswith(f"/files/{name}")
    assert len(file.sha256) == 64


def test_another_build_under_the_same_version_is_not_the_public_release(
    index: Index, transport: Transport
) -> None:
    public = f"torch-2.13.0-cp311-cp311-{LINUX}.whl"
    index.add("torch", {f"torch-2.13.0+cpu-cp311-cp311-{LINUX}.whl": b"local", public: b"public"})
    assert names(index, transport) == [public]


def test_of_two_builds_of_a_file_installers_take_the_highest(
    index: Index, transport: Transport
) -> None:
    old, new = (f"triton-3.0.0-{build}-cp311-cp311-{LINUX}.whl" for build in (1, 10))
    index.add("triton", {new: b"", old: b"", f"triton-3.0.0-cp311-cp311-{LINUX}.whl": b""})
    assert names(index, transport, "triton") == [new]


def test_what_is_no_wheel_of_the_package_is_left_out(index: Index, transport: Transport) -> None:
    index.add(
        "torch", {"torch-2.5.1.tar.gz": b"", "torch-x.whl": b"", "other-1-py3-none-any.whl": b""}
    )
    assert names(index, transport) == []


@pytest.mark.parametrize("page", [b"<html>", b"[]", b'{"files": [1]}', b'{"files": [{}]}'])
def test_a_page_that_is_not_what_it_says_is_refused(
    index: Index, transport: Transport, page: bytes
) -> None:
    index.files["/wheels/torch/"] = (page, "application/vnd.pypi.simple.v1+json")
    with pytest.raises(UnreadableRelease, match="PEP 691"):
        wheels(index.url, "torch", transport)


def test_the_default_wheel_is_linux_and_the_newest_ordinary_python(
    index: Index, transport: Transport
) -> None:
    tags = ("cp39-cp39", "cp313-cp313", "cp314-cp314t", "pp310-pypy310_pp73")
    mac = {"torch-2.5.1-cp314-none-macosx_11_0_arm64.whl": b""}
    index.add("torch", {f"torch-2.5.1-{tag}-{LINUX}.whl": b"" for tag in tags} | mac)
    (files,) = by_release(wheels(index.url, "torch", transport)).values()
    assert "cp313-cp313" in default_wheel(files).name
    with pytest.raises(UnreadableRelease, match="Linux x86_64"):
        default_wheel([file for file in files if "macosx" in file.name])


@pytest.mark.usefixtures("_pip")
def test_the_index_is_the_one_that_pip_is_configured_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nindex-url = https://index.example/team/wheels\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    assert configured()[0] == "https://index.example/team/wheels/"
    monkeypatch.setenv("PIP_INDEX_URL", "https://other.index.example/wheels")
    assert configured()[0] == "https://other.index.example/wheels/"


@pytest.mark.usefixtures("_pip")
def test_extra_indexes_and_folders_of_this_machine_are_not_asked(
    monkeypatch: pytest.MonkeyPatch, index: Index, transport: Transport, tmp_path: Path
) -> None:
    (tmp_path / f"torch-9.9.9-cp311-cp311-{LINUX}.whl").write_bytes(b"")
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", tmp_path.as_uri())
    index.add("torch", {f"torch-2.5.1-cp311-cp311-{LINUX}.whl": b""})
    assert configured()[0] == index.url
    assert [file.version for file in wheels(configured()[0], "torch", transport)] == [
        Version("2.5.1")
    ]


@pytest.mark.usefixtures("_pip")
def test_pip_is_not_imported_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nor is what lies in the folder that we stand in."""
    (tmp_path / "json.py").write_text("raise SystemExit('not this one')\n")
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    assert configured()[0].endswith("/")
    assert not {name for name in set(sys.modules) - before if name.partition(".")[0] == "pip"}


def test_without_pip_mining_says_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pip.py").write_text("raise ImportError('no pip here')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UnreadableRelease, match=r"needs pip.*no pip here"):
        configured()
