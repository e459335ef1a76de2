"""A user's own data adds releases to the shipped matrix and never replaces one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from qdoctor import local_data, matrix
from qdoctor.doctor import diagnose
from qdoctor.matrix import load, shipped
from qdoctor.model import BadInput
from qdoctor.shipped import matrix_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from qdoctor.matrix import Matrix


@pytest.fixture
def mined(tmp_path: Path) -> Callable[..., Matrix]:
    """Lay releases of triton over the shipped matrix: version -> facts."""

    def lay(**releases: dict[str, object]) -> Matrix:
        folder = tmp_path / "matrix"
        versions = [name.strip("v").replace("_", ".") for name in releases]
        for version, facts in zip(versions, releases.values(), strict=True):
            path = folder / "releases" / "triton" / f"{version}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            shard = {"package": "triton", "version": version, "facts": facts, "evidence": {}}
            path.write_text(json.dumps(shard))
        index = {"version": "2030.01.01", "packages": {"triton": versions}}
        (folder / "index.json").write_text(json.dumps(index))
        return local_data.current({"QDOCTOR_DATA_DIR": str(tmp_path)})

    return lay


def test_new_releases_are_added_in_order(mined: Callable[..., Matrix]) -> None:
    both = mined(v99_0_0={"ptxas": ["13.9.1"]}, v2_1_1={})
    assert both.version == f"{shipped().version}+local"
    versions = both.versions("triton")
    assert list(versions) == sorted(versions)
    assert str(versions[-1]) == "99.0.0"
    release = both.release("triton", "99.0.0")
    assert release
    assert release.facts == {"ptxas": ["13.9.1"]}
    assert both.release("triton", "2.1.0") == shipped().release("triton", "2.1.0")


def test_a_shipped_release_is_not_replaced(mined: Callable[..., Matrix]) -> None:
    both = mined(v3_0_0={"ptxas": ["lies"]})
    assert both.version == shipped().version
    assert both.release("triton", "3.0.0") == shipped().release("triton", "3.0.0")


def test_no_data_of_ones_own_is_the_shipped_matrix(tmp_path: Path) -> None:
    assert local_data.current({"QDOCTOR_DATA_DIR": str(tmp_path)}) is shipped()


def test_data_mined_since_is_seen(mined: Callable[..., Matrix]) -> None:
    assert mined(v98_0_0={}).release("triton", "99.0.0") is None
    assert mined(v98_0_0={}, v99_0_0={}).release("triton", "99.0.0")


def test_the_module_asks_it_and_diagnose_does_not(
    mined: Callable[..., Matrix], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QDOCTOR_DATA_DIR", str(tmp_path))
    with_it = mined(v99_0_0={"ptxas": ["13.9.1"]})
    assert matrix.query("triton", "99.0.0").facts == {"ptxas": ["13.9.1"]}
    facts = {"packages": {"triton": "99.0.0"}}
    unknown = "release-unknown-to-matrix"
    assert unknown in [one.rule for one in diagnose(facts).findings]
    assert unknown not in [one.rule for one in diagnose(facts, matrix=with_it).findings]


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ("{", "is broken"),
        ('{"version": "1", "packages": {"triton": ["99.0.0"]}}', "cannot read"),
        ('{"version": "1", "packages": {"triton": 3}}', "is broken"),
    ],
)
def test_broken_data_says_what_to_delete(tmp_path: Path, index: str, said: str) -> None:
    (tmp_path / "index.json").write_text(index)
    with pytest.raises(BadInput, match=said) as caught:
        load(matrix_folder(), tmp_path)
    assert f"delete your own data, the folder {tmp_path}" in str(caught.value)


def test_a_version_that_is_none_is_refused(mined: Callable[..., Matrix]) -> None:
    with pytest.raises(BadInput, match="Invalid version"):
        mined(vnewest={})


def test_the_folder_is_the_platform_s_unless_named(tmp_path: Path) -> None:
    assert local_data.folder({"QDOCTOR_DATA_DIR": str(tmp_path)}) == tmp_path
    assert local_data.folder({}).name == "qdoctor"
