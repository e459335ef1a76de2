from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from packaging.version import Version

from qdoctor import planned
from qdoctor.model import BadInput, Facts, Host, Python

if TYPE_CHECKING:
    from pathlib import Path

    from qdoctor.matrix import Matrix


class Known:
    """A matrix that knows three releases of one package."""

    def versions(self, package: str) -> tuple[Version, ...]:
        known = {"bitsandbytes": ("0.44.1", "0.45.0", "0.50.2")}
        return tuple(Version(text) for text in known.get(package, ()))


MATRIX = cast("Matrix", Known())


def read(*specs: str, files: tuple[str, ...] = (), facts: Facts | None = None) -> planned.Plan:
    return planned.read(specs, files, facts or Facts(), MATRIX)


def test_an_exact_pin_is_taken_as_it_is_known_or_not() -> None:
    plan = read("bitsandbytes==0.42.0", "Torch_Ao===0.1.weird", "torch == 2.5.1+cu121")
    assert plan.packages == {
        "bitsandbytes": "0.42.0",
        "torch-ao": "0.1.weird",
        "torch": "2.5.1+cu121",
    }
    assert plan.assumptions == []


@pytest.mark.parametrize(
    ("spec", "version"),
    [
        ("bitsandbytes", "0.50.2"),
        ("bitsandbytes<0.50", "0.45.0"),
        ("bitsandbytes~=0.44.0", "0.44.1"),
        ("bitsandbytes==0.44.*", "0.44.1"),
        ("bitsandbytes>=0.44,!=0.50.2", "0.45.0"),
    ],
)
def test_a_loose_spec_becomes_the_newest_known_release_and_says_so(spec: str, version: str) -> None:
    plan = read(spec)
    assert plan.packages == {"bitsandbytes": version}
    assert len(plan.assumptions) == 1
    assert version in plan.assumptions[0]


def test_a_package_unknown_to_the_matrix_keeps_an_unknown_version() -> None:
    plan = read("leftpad>=1")
    assert plan.packages == {"leftpad": "?"}
    assert "no release of leftpad" in plan.assumptions[0]


@pytest.mark.parametrize(
    ("specs", "said"),
    [
        (("bitsandbytes>=99",), r"0\.44\.1 to 0\.50\.2"),
        (("bitsandbytes=0.42",), "is no requirement"),
        (("",), "is no requirement"),
        (("bitsandbytes==0.42.0", "bitsandbytes==0.43.0"), "planned twice"),
        (("x @ https://index.example/x.whl",), "URL"),
        (("x==1; nothing == '1'",), "is no requirement"),
    ],
)
def test_what_cannot_be_planned_is_refused(specs: tuple[str, ...], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        read(*specs)


def test_markers_apply_to_the_examined_machine() -> None:
    windows = Facts(host=Host(os="windows"), python=Python(version="3.9.1"))
    plan = read(
        "a==1; sys_platform == 'win32'",
        "b==1; sys_platform == 'linux'",
        "c==1; python_version < '3.10'",
        facts=windows,
    )
    assert plan.packages == {"a": "1", "c": "1"}
    assert "not for this machine" in plan.assumptions[0]


def test_a_requirements_file(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("torch==2.5.1\n")
    main = tmp_path / "requirements.txt"
    main.write_text(
        "\ufeff# comment\n"
        "--extra-index-url https://index.example/whl/cu121\n"
        "bitsandbytes==0.42.0 \\\n    --hash=sha256:00\n"
        "-r more.txt\n"
        "-e ./mine\n"
        "peft[dev]==0.10 # why\n"
    )
    plan = read(files=(str(main),))
    assert plan.packages == {"bitsandbytes": "0.42.0", "torch": "2.5.1", "peft": "0.10"}
    said = " ".join(plan.assumptions)
    assert said.count("option is not followed") == 2
    assert "extras (dev)" in said


def test_a_file_that_includes_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("-r b.txt\n")
    (tmp_path / "b.txt").write_text("-r a.txt\n")
    with pytest.raises(BadInput, match="includes itself"):
        read(files=(str(tmp_path / "a.txt"),))


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", b"a==1\n" * 1_000_000])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "requirements.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadInput, match="requirements"):
        read(files=(str(path),))
