"""What people deny accuses nothing; what they report does, whatever words stand around it."""

from __future__ import annotations

import pytest

from qdoctor.matrix import shipped
from qdoctor.rules.denied import denied
from qdoctor.rules.signatures import recognize

DOT = "\u00b7"
DENIALS: list[str] = shipped().table("prose")["denials"]


@pytest.mark.parametrize("text", DENIALS)
def test_an_example_of_the_table_denies_what_stands_between_its_dots(text: str) -> None:
    before, quoted, after = text.split(DOT)
    plain = before + quoted + after
    assert denied(plain, len(before), len(before) + len(quoted), shipped())
    assert recognize(plain, shipped()) == ()
    assert recognize(quoted, shipped()) != ()


@pytest.mark.parametrize(
    "text",
    [
        "I get Torch not compiled with CUDA enabled, no idea why",
        "bitsandbytes was compiled without GPU support? no idea what that means",
        "it does not work: Torch not compiled with CUDA enabled",
        "AssertionError: Torch not compiled with CUDA enabled\nno",
        "did not help, still Torch not compiled with CUDA enabled",
        "The import is gone: No module named 'triton.ops'",
    ],
)
def test_a_text_beside_other_words_is_known(text: str) -> None:
    assert recognize(text, shipped()) != ()


def test_a_log_denies_nothing() -> None:
    text = "x\n" * 5000 + "I do not get Torch not compiled with CUDA enabled"
    assert recognize(text, shipped()) != ()
