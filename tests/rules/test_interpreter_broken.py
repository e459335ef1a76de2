"""interpreter-broken: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "interpreter-broken"


def test_fires_where_the_interpreter_gave_no_answer(ask: Ask) -> None:
    found = ask("cpu", unread={"python": "it ended with exit status 1"})[NAME]
    assert found.severity == "error"
    assert found.because[0].text == "it ended with exit status 1"


def test_is_silent_where_it_answered(ask: Ask) -> None:
    assert NAME not in ask("cpu")


def test_is_silent_where_something_else_stayed_unread(ask: Ask) -> None:
    assert NAME not in ask("cpu", unread={"torch_cuda": "torch/version.py is missing"})
