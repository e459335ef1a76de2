from __future__ import annotations

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
        "this option is not followed",
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
