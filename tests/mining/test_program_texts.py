"""Which texts of a package's files are kept as notices and refusals."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING

import pytest

from qdoctor.mining.program_texts import read, table_of, texts_in, words_of

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = """
logger.warning(f"The adapter {name} was already merged into this model, nothing to do")
warnings.warn("Setting the parameter to its default, as it " "was not given here")
raise ValueError("The number of heads has to divide %d evenly, as a rule of it" % size)
raise ValueError("Please install the newest version of this very nice package")
raise RuntimeError("Some other kind of exception that says quite a lot of it")
logger.info("too short")
"""


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("notices", "was already merged into this model nothing to do"),
        ("notices", "setting the parameter to its default as it was not given here"),
        ("refusals", "the number of heads has to divide"),
    ],
)
def test_a_text_is_kept_without_what_differs(kind: str, text: str) -> None:
    assert (kind, text) in list(texts_in(SOURCE))


def test_installing_other_exceptions_and_few_words_are_left_out() -> None:
    assert len(list(texts_in(SOURCE))) == 3
    assert not list(texts_in("this is no Python"))


def test_a_wheel_is_read_without_its_tests(tmp_path: Path) -> None:
    path = tmp_path / "pkg-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("pkg/core.py", SOURCE)
        wheel.writestr("pkg/tests/test_core.py", SOURCE.replace("heads", "tails"))
    found = read(path)
    assert found["refusals"] == {"the number of heads has to divide"}
    table = table_of({"a": found, "b": found}, {"a": "1.0", "b": "1.0"})
    assert table["rows"]["b"]["refusals"] == []
    assert json.dumps(table)


def test_words_are_compared_without_letters_case_and_marks() -> None:
    assert words_of("`r` should be: A Number!") == ["r", "should", "be", "a", "number"]
