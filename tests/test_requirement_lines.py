from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from qdoctor import requirement_lines
from qdoctor.model import BadInput

if TYPE_CHECKING:
    from pathlib import Path


def test_a_requirements_file(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("torch==2.5.1\n")
    main = tmp_path / "requirements.txt"
    main.write_text(
        "\ufeff# comment\n"
        "--extra-index-url https://index.example/whl/cu121\n"
        "--find-links ./wheels\n"
        "bitsandbytes==0.42.0 \\\n    --hash=sha256:00\n"
        "-r more.txt\n"
        "-e ./mine\n"
        "peft[dev]==0.10 # why\n"
    )
    lines = requirement_lines.read((), (str(main),))
    assert [str(one.requirement) for one in lines.asked] == [
        "bitsandbytes==0.42.0",
        "torch==2.5.1",
        "peft[dev]==0.10",
    ]
    assert lines.build == "cu121"
    assert [line.rpartition(": ")[2] for line in lines.remarks] == [
        "this option is not followed",
        "which package it installs is not told without opening it",
    ]


def test_a_file_that_includes_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("-r b.txt\n")
    (tmp_path / "b.txt").write_text("-r a.txt\n")
    with pytest.raises(BadInput, match="includes itself"):
        requirement_lines.read((), (str(tmp_path / "a.txt"),))


@pytest.mark.parametrize(
    "content",
    [None, b"", b"# nothing\n", b"\xff\xfe\x00", b"\x7fELF\x00\x00torch\n", b"a==1\n" * 1_000_000],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "requirements.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadInput, match="requirements"):
        requirement_lines.read((), (str(path),))


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        requirement_lines.read((), (str(tmp_path),))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_what_powershell_writes_is_read(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_bytes("# naïve\r\ntorch==2.5.1\r\n".encode(encoding))
    (one,) = requirement_lines.read((), (str(path),)).asked
    assert str(one.requirement) == "torch==2.5.1"


def test_a_comment_ends_where_its_line_ends_as_it_does_for_pip(tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text("# see C:\\wheels\\\ntorch==2.5.1\ntriton \\\n  # why\nnumpy\\")
    asked = requirement_lines.read((), (str(path),)).asked
    assert [str(one.requirement) for one in asked] == ["torch==2.5.1", "triton", "numpy"]


def test_an_included_file_may_stand_in_quotes(tmp_path: Path) -> None:
    (tmp_path / "two words.txt").write_text("torch==2.5.1\n")
    for word in ('"two words.txt"', "'two words.txt'", "two words.txt"):
        (tmp_path / "main.txt").write_text(f"-r {word}\n")
        assert len(requirement_lines.read((), (str(tmp_path / "main.txt"),)).asked) == 1


@pytest.mark.parametrize("content", ["--pre\n", "-e .\n", "-c constraints.txt\n", "./mine\n"])
def test_a_file_of_nothing_but_options_plans_nothing(content: str, tmp_path: Path) -> None:
    (tmp_path / "constraints.txt").write_text("torch==2.5.1\n")
    path = tmp_path / "requirements.txt"
    path.write_text(content)
    with pytest.raises(BadInput, match="names no package"):
        requirement_lines.read((), (str(path),))


def test_files_that_include_ever_more_files_are_refused(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"{number}.txt").write_text(f"-r {number + 1}.txt\n" * 2)
    (tmp_path / "40.txt").write_text("torch==2.5.1\n")
    with pytest.raises(BadInput, match="includes more than"):
        requirement_lines.read((), (str(tmp_path / "0.txt"),))


@pytest.mark.parametrize(
    "spec",
    [
        f"torch=={'9' * 5000}",
        f"torch>={'1.' * 5000}1",
        f"torch; {'(' * 500}os_name>'a'{')' * 500}",
        f"./mine{' ' * 1_000_000}x",
    ],
    ids=["digits", "parts", "parentheses", "spaces"],
)
def test_a_requirement_that_nobody_writes_is_refused(spec: str) -> None:
    with pytest.raises(BadInput, match="is no requirement") as refused:
        requirement_lines.read((spec,), ())
    assert len(str(refused.value)) < 500


def test_what_is_refused_does_not_depend_on_the_recursion_limit() -> None:
    """torch.compile lifts it to 2000 for its whole process."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        with pytest.raises(BadInput, match="more than 50 parentheses"):
            requirement_lines.read((f"torch; {'(' * 500}os_name>'a'{')' * 500}",), ())
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "names no file"),
        ("https://index.example/r.txt", "not fetched"),
        ("a\0b", "cannot be read"),
        ("a" * 5000, "cannot be read"),
    ],
)
def test_what_names_no_file_is_refused(name: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        requirement_lines.read((), (name,))


def test_places_are_read_by_their_names_and_the_rest_of_the_file_all_the_same(
    tmp_path: Path,
) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text(
        "certifi @ file:///croot/certifi_1745939228380/certifi\n"
        "torch @ https://index.example/torch-2.5.1%2Bcu121-cp310-cp310-linux_x86_64.whl"
        "#sha256=00 ; os_name == 'posix'\n"
        "./wheels/peft-0.10.0-py3-none-any.whl ; os_name == 'nt'\n"
        "git+https://me:secret@github.com/huggingface/transformers@v4.40.0\n"
        "-e git+https://index.example/d.git@abc#egg=diffusers\n"
        "-e .\n"
        "../mine\n"
        "bitsandbytes==0.45.5\n"
    )
    lines = requirement_lines.read((), (str(path),))
    assert [str(one.requirement) for one in lines.asked] == [
        "certifi",
        'torch==2.5.1+cu121; os_name == "posix"',
        'peft==0.10.0; os_name == "nt"',
        "transformers",
        "diffusers",
        "bitsandbytes==0.45.5",
    ]
    assert [one.told is not None for one in lines.asked] == [True] * 5 + [False]
    assert [line.rpartition("): ")[2] for line in lines.remarks] == [
        "which package it installs is not told without opening it",
        "which package it installs is not told without opening it",
    ]
    assert "secret" not in " ".join([*lines.remarks, *(one.origin for one in lines.asked)])


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            "torchvision @ https://index.example/torch-2.5.1-cp310-cp310-linux_x86_64.whl",
            "that is a wheel of torch, not of torchvision",
        ),
        ("./mine", "is not told without opening it; write NAME==VERSION"),
        ("https://me:secret@index.example/archive/v1.zip", r"https://\*\*\*\*@index"),
    ],
)
def test_a_place_that_can_be_no_plan_is_refused(spec: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        requirement_lines.read((spec,), ())


def test_constraints_ask_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "bounds.txt").write_text("-r more.txt\ntorch<2.5\n")
    (tmp_path / "more.txt").write_text("numpy<2\n")
    path = tmp_path / "requirements.txt"
    path.write_text("torch\n-c bounds.txt\n-c https://index.example/constraints.txt\n")
    lines = requirement_lines.read((), (str(path),))
    assert [(str(one.requirement), one.bound) for one in lines.asked] == [
        ("torch", False),
        ("numpy<2", True),
        ("torch<2.5", True),
    ]
    assert lines.remarks == ()
    assert lines.unfetched == (
        "requirements.txt, requirement 3 (-c https://index.example/constraints.txt)",
    )
    path.write_text("torch\n-c gone.txt\n")
    with pytest.raises(BadInput, match=r"gone.txt: cannot be read"):
        requirement_lines.read((), (str(path),))


def test_a_file_at_a_url_is_named_with_its_line_and_without_its_token(tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text("torch\n-r https://me:secret@index.example/more.txt\n")
    said = r"^requirements.txt, requirement 2 \(-r https://\*\*\*\*@index.example/more.txt\): "
    with pytest.raises(BadInput, match=f"{said}a requirements file is not fetched"):
        requirement_lines.read((), (str(path),))
    with pytest.raises(BadInput, match=r"^https://\*\*\*\*@index.example/more.txt: "):
        requirement_lines.read((), ("https://me:secret@index.example/more.txt",))
