"""The matrix answers yes, no or unknown, with evidence, and never guesses a release."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdoctor import matrix
from qdoctor.model import BadInput

if TYPE_CHECKING:
    from pathlib import Path

    from qdoctor.matrix import Matrix

WHEEL = {"wheel": "triton-2.1.0-cp311.whl", "sha256": "0" * 64, "strength": "mined"}
NAMES = ["triton", "triton.language", "triton.language.math", "triton.language.tensor"]


def _write(folder: Path, member: str, content: object) -> None:
    path = folder / member
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    packages = {"triton": ["2.0.0", "2.1.0", "2.1.1", "3.0.0.post1"], "nvidia-ml-py": ["12.0"]}
    _write(tmp_path, "index.json", {"version": "2026.11.22", "packages": packages})
    pattern = {"pattern": "git", "source": "x", "strength": "documented"}
    _write(tmp_path, "tables/local_versions.json", {"rows": {"a": pattern}, "sources": {"x": "X"}})
    cuda = {"driver_linux": "530.30.02", "source": "notes", "strength": "documented"}
    table = {"rows": {"12.1": cuda}, "sources": {"notes": "Release Notes, table 3"}}
    _write(tmp_path, "tables/cuda.json", table)
    for package, versions in packages.items():
        for version in versions:
            _write(tmp_path, f"releases/{package}/{version}.json", _shard(package, version))
    return tmp_path


def _shard(package: str, version: str) -> dict[str, Any]:
    place = {**WHEEL, "member": "triton/language/__init__.py", "line": 7}
    doc = {"source": "the release notes", "strength": "documented"}
    return {
        "package": package,
        "version": version,
        "facts": {
            "names": NAMES,
            "closed_modules": ["triton", "triton.language"],
            "sm": ["sm_70"],
            "builds": {},
        },
        "evidence": {
            "names": [place],
            "closed_modules": [WHEEL],
            "sm": [{**WHEEL, "symbol": "sm_70"}] * 5,
            "builds": [place, doc],
        },
    }


@pytest.fixture
def small(folder: Path) -> Matrix:
    return matrix.load(folder)


@pytest.mark.parametrize(
    ("said", "release"),
    [
        ("2.1.0", "2.1.0"),
        ("2.1", "2.1.0"),
        ("2.1.0+cu121", "2.1.0"),
        ("2.1.0+cpu.cxx11.abi", "2.1.0"),
        ("3.0.0.post1", "3.0.0.post1"),
        ("2.1.x", "2.1.1"),
        ("2.x", "2.1.1"),
        ("2.1.*", "2.1.1"),
        ("2.1.X", "2.1.1"),
        (" 2.1.0 ", "2.1.0"),
        ("v2.1.0", "2.1.0"),
        ("2.1.0+git7416ffcb", None),
        ("2.1.0.dev20240330+cu121", None),
        ("2.1.0a0", None),
        ("2.1.1.dev0", None),
        ("3.0.0", None),
        ("2.10.x", None),
        ("9.9", None),
        ("2", "2.0.0"),
        ("1", None),
        ("", None),
        ("?", None),
        ("latest", None),
    ],
)
def test_a_version_is_the_release_or_unknown(small: Matrix, said: str, release: str | None) -> None:
    found = small.release("triton", said)
    assert (found.version if found else None) == release


@given(st.text(max_size=30))
def test_any_text_is_a_known_release_or_unknown(said: str) -> None:
    known = {str(version) for version in matrix.shipped().versions("triton")}
    assert set(matrix.shipped().matching("triton", said)) <= known


def test_a_prefix_says_all_that_it_may_mean(small: Matrix) -> None:
    assert small.matching("triton", "2.1.x") == ("2.1.0", "2.1.1")
    assert small.matching("triton", "2.1.0") == ("2.1.0",)
    assert small.matching("nothing", "1.0") == ()


@pytest.mark.parametrize("package", ["nvidia-ml-py", "nvidia_ml_py", "NVIDIA.ml-py"])
def test_packages_are_named_as_indexes_normalise_them(small: Matrix, package: str) -> None:
    assert [str(one) for one in small.versions(package)] == ["12.0"]


def test_versions_ascend_and_an_unknown_package_has_none(small: Matrix) -> None:
    versions = small.versions("triton")
    assert list(versions) == sorted(versions)
    assert small.versions("no-such-package") == ()


@pytest.mark.parametrize(
    ("dotted", "answer"),
    [
        ("triton.language", "yes"),
        ("triton.language.libdevice", "no"),
        ("triton.ops", "no"),
        ("triton.ops.matmul", "no"),
        ("triton.language.math.llrint", "unknown"),
        ("triton.language.tensor.shape", "unknown"),
        ("triton._C", "unknown"),
        ("torch.nn", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_name_is_there_or_not_or_cannot_be_told(small: Matrix, dotted: str, answer: str) -> None:
    assert small.has("triton", "2.1.0", dotted) == answer


def test_an_unknown_release_has_nothing_for_certain(small: Matrix) -> None:
    assert small.has("triton", "9.9", "triton.language") == "unknown"
    assert small.has("tritium", "2.1.0", "triton.language") == "unknown"


def test_evidence_becomes_a_reason(small: Matrix) -> None:
    because = small.because("triton", "2.1.0", "names", "it has no libdevice")
    assert because.text == "it has no libdevice"
    assert because.source == "triton-2.1.0-cp311.whl triton/language/__init__.py:7"
    assert because.strength == "mined"


def test_a_reason_without_words_states_the_fact_once(small: Matrix) -> None:
    because = small.because("triton", "2.1.0", "sm")
    assert because.text == 'triton 2.1.0: sm is ["sm_70"]'
    assert because.source == "triton-2.1.0-cp311.whl (sm_70); and 2 more"


def test_a_fact_is_as_strong_as_its_weakest_evidence(small: Matrix) -> None:
    assert small.strength("triton", "2.1.0", "builds") == "documented"
    assert small.strength("triton", "2.1.0", "sm") == "mined"
    assert small.strength("triton", "2.1.0", "nothing") is None
    assert small.strength("triton", "9.9", "sm") is None


@pytest.mark.parametrize(("version", "key"), [("2.1.0", "nothing"), ("9.9", "sm")])
def test_no_reason_is_made_up(small: Matrix, version: str, key: str) -> None:
    with pytest.raises(KeyError, match=key):
        small.because("triton", version, key)


def test_a_row_states_its_source_in_full(small: Matrix) -> None:
    row = small.row("cuda", "12.1")
    assert row is not None
    assert row["source"] == "Release Notes, table 3"
    assert small.row("cuda", "99.0") is None
    assert small.because_row("cuda", "12.1", "why").source == "Release Notes, table 3"
    with pytest.raises(KeyError, match=r"99\.0"):
        small.because_row("cuda", "99.0", "why")


def test_a_release_belongs_to_who_asked(small: Matrix) -> None:
    first = small.release("triton", "2.1.0")
    assert first is not None
    first.facts["sm"].append("sm_00")
    again = small.release("triton", "2.1.0")
    assert again is not None
    assert again.facts["sm"] == ["sm_70"]
    with pytest.raises(AttributeError):
        first.version = "9"  # type: ignore[misc]


def test_only_the_files_in_question_are_read(folder: Path) -> None:
    for path in folder.glob("releases/*/*.json"):
        if path.stem not in {"2.0.0", "2.1.0"}:
            path.write_text("broken", encoding="utf-8")
    (folder / "tables" / "cuda.json").unlink()
    small = matrix.load(folder)
    assert small.has("triton", "2.0.0", "triton.ops") == "no"
    assert small.release("triton", "2.1.0") is not None


@pytest.mark.parametrize(
    ("member", "content"),
    [
        ("index.json", None),
        ("index.json", "{"),
        ("index.json", "[]"),
        ("index.json", '{"version": "1"}'),
        ("index.json", '{"packages": {}}'),
        ("index.json", "\xff"),
        ("releases/triton/2.1.0.json", None),
        ("releases/triton/2.1.0.json", "not json"),
        ("releases/triton/2.1.0.json", '{"package": "triton"}'),
        ("tables/cuda.json", None),
        ("tables/cuda.json", "{}"),
    ],
)
def test_a_broken_matrix_says_which_file(folder: Path, member: str, content: str | None) -> None:
    path = folder / member
    path.unlink()
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    with pytest.raises(BadInput, match=path.name):
        _ask_everything(folder)


def _ask_everything(folder: Path) -> None:
    opened = matrix.load(folder)
    opened.release("triton", "2.1.0")
    opened.row("cuda", "12.1")


def test_a_folder_without_a_matrix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"index\.json"):
        matrix.load(tmp_path / "nothing")


def test_the_shipped_matrix_knows_where_libdevice_went() -> None:
    assert matrix.has("triton", "2.0.0", "triton.language.libdevice") == "yes"
    assert matrix.has("triton", "2.1.0", "triton.language.libdevice") == "no"
    assert matrix.has("triton", "2.1.0", "triton.language.math.llrint") == "yes"
    assert matrix.query("triton", "3.0.0").facts["libdevice_paths"]


def test_an_unknown_release_is_refused_with_what_is_known() -> None:
    with pytest.raises(BadInput, match="triton 1999"):
        matrix.query("triton", "1999")
    with pytest.raises(BadInput, match="no-such-package"):
        matrix.query("no-such-package", "1.0")


def test_a_question_imports_neither_requirements_nor_anything_examined() -> None:
    program = (
        "import sys; from qdoctor import matrix;"
        "matrix.has('triton', '2.0.0', 'triton.ops'); matrix.shipped().row('cuda', '12.1');"
        "print(*sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(ran.stdout.split())
    assert "qdoctor.matrix" in loaded
    assert not loaded & {"packaging.requirements", "packaging.version", "torch", "triton", "rich"}


def test_in_an_archive_it_says_that_it_must_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "program.pyz").write_bytes(b"PK")
    with pytest.raises(BadInput, match=r"unpack .*program\.pyz, or install it beside"):
        matrix.load(tmp_path / "program.pyz" / "matrix")
