"""custom-arch-deepcopy: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "custom-arch-deepcopy"

TEXT = (
    '  File "/x/integrations/bitsandbytes.py", line 300, in get_keys_to_not_convert\n'
    "    copied = deepcopy(model)\n"
    "TypeError: 'NoneType' object is not callable"
)


def test_says_what_the_text_means_and_what_is_not_covered(ask: Ask) -> None:
    first = next(iter(ask("s3-evo-deepcopy", error=TEXT).values()))
    assert (first.rule, first.explains_error, first.severity) == (NAME, True, "note")
    assert "not covered yet" in (first.undecided or "")


def test_is_silent_on_another_text(ask: Ask) -> None:
    assert NAME not in ask("s3-evo-deepcopy", error="TypeError: something else")


def test_is_silent_without_a_text(ask: Ask) -> None:
    assert NAME not in ask("s3-evo-deepcopy")
