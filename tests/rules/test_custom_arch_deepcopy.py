"""custom-arch-deepcopy: where it fires, where not, and where nothing else is known."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.diagnosis import diagnose
from qdoctor.model import Facts, Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "custom-arch-deepcopy"

TEXT = (
    '  File "/x/integrations/bitsandbytes.py", line 300, in get_keys_to_not_convert\n'
    "    copied = deepcopy(model)\n"
    "TypeError: 'NoneType' object is not callable"
)
PICKLE = "    self.modules_to_not_convert =\nTypeError: cannot pickle 'dict_keys' object"


def test_names_what_to_change(ask: Ask) -> None:
    first = next(iter(ask("s3-evo-deepcopy", error=TEXT).values()))
    assert (first.rule, first.explains_error, first.severity) == (NAME, True, "error")
    assert "llm_int8_skip_modules" in first.fixes[0].why


def test_knows_other_ways_to_fail_while_copying_on_an_unknown_machine() -> None:
    found = diagnose(Facts(), error=PICKLE)[1]
    assert [(one.rule, one.undecided) for one in found] == [(NAME, None)]


def test_is_silent_on_another_text(ask: Ask) -> None:
    assert NAME not in ask("s3-evo-deepcopy", error="TypeError: something else")


def test_is_silent_without_a_text(ask: Ask) -> None:
    assert NAME not in ask("s3-evo-deepcopy")
