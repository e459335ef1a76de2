"""What people make of a program's quotes hides nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from qdoctor.matrix import shipped
from qdoctor.rules.error_text import readable
from qdoctor.rules.quoting import loosened, unescaped, without_quotes
from qdoctor.rules.signatures import recognize

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS: list[dict[str, Any]] = shipped().table("signatures")["rows"]
QUOTED = [
    (row["id"], text)
    for row in ROWS
    for text in row["examples"]
    if "'" in text and len(text) < 1900 and row.get("role", "failure") == "failure"
]
HIDDEN = {
    "no-int8-matmul",
    "tensorflow-library",
    "cuda-unknown-error",
    "triton-circular",
    "mma-conversion",
    "accelerate-too-old",
    "quantization-config-twice",
    "bnb-setup-name-undefined",
}
"""Rows whose texts in other quotes are those of another row, or quote the program's own source."""

WRITTEN: dict[str, Callable[[str], str]] = {
    "quotation marks": lambda text: text.replace("'", '"'),
    "backticks": lambda text: text.replace("'", "`"),
    "none": lambda text: text.replace("'", ""),
    "json": lambda text: text.replace("'", r"\'"),
    "markdown": lambda text: text if "\\" in text else text.replace("_", r"\_"),
    "html": lambda text: text.replace('"', "&quot;").replace("'", "&#39;").replace("<", "&lt;"),
}


@pytest.mark.parametrize("how", WRITTEN)
@pytest.mark.parametrize(("row", "text"), QUOTED)
def test_a_text_in_other_quotes_is_known(row: str, text: str, how: str) -> None:
    found = recognize(WRITTEN[how](text), shipped())
    known = recognize(text, shipped())
    assert row in HIDDEN or (found and found[0].rules[:1] == known[0].rules[:1])


@pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])
def test_a_loosened_pattern_takes_what_the_pattern_takes(row: dict[str, Any]) -> None:
    loose = re.compile(loosened(row["pattern"]), re.MULTILINE)
    assert all(loose.search(readable(text, ())) for text in row["examples"])


def test_a_name_without_quotes_ends_where_it_ends() -> None:
    text = "ImportError: cannot import name libdevice from triton.language.extra"
    assert recognize(text, shipped())[0].said["origin"] == "triton.language.extra"


def test_a_quote_in_a_class_of_characters_stays() -> None:
    assert loosened(r"[^'\n]*'") == rf"[^'\n]*{loosened(chr(39))}"
    assert loosened(r"[^\]']'").startswith(r"[^\]']")
    assert loosened("plain") == "plain"


def test_what_is_escaped_is_read_as_it_was_printed() -> None:
    assert unescaped(r"No module named \'triton\_kernels\'") == "No module named 'triton_kernels'"
    assert unescaped("&lt;class &#39;X&#39;&gt; &amp; &copy;") == "<class 'X'> & &copy;"
    assert unescaped(r"C:\py\torch\__init__.py") == r"C:\py\torch\__init__.py"
    assert without_quotes("a 'b' `c` \"d\"") == "a b c d"


def test_a_harmless_notice_in_other_quotes_stays_one() -> None:
    text = (
        "A matching Triton is not available, some optimizations will not be enabled.\n"
        "Error caught was: No module named triton"
    )
    assert recognize(text, shipped())[0].rules == ("harmless-warning",)
