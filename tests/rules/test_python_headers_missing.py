"""python-headers-missing: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "python-headers-missing"


def test_fires_where_kernels_are_started(ask: Ask) -> None:
    found = ask("h100", python={"headers": False})[NAME]
    assert found.severity == "warning"
    assert (found.fixes[0].action, found.fixes[0].name) == ("install-system", "python3-dev")


def test_is_silent_where_it_is_there(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_is_silent_without_a_gpu(ask: Ask) -> None:
    assert NAME not in ask("cpu", python={"headers": False})


def test_is_silent_where_it_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("h100", python={"headers": None})


def test_a_text_accuses_where_it_is_unknown(ask: Ask) -> None:
    text = "cuda_utils.c:5:10: fatal error: Python.h: No such file or directory"
    assert ask("h100", error=text, python={"headers": None})[NAME].explains_error
