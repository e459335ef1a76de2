"""Warnings point at the line outside of qdoctor that asked."""

from __future__ import annotations

from types import ModuleType

import pytest

from qdoctor.caller import warn


def test_every_frame_of_ours_is_passed() -> None:
    inner, outer = ModuleType("qdoctor.inner"), ModuleType("qdoctor.outer")
    inner.__dict__["warn"] = warn
    exec("def ask():\n    warn('so it is', UserWarning)", inner.__dict__)  # noqa: S102 - a module
    outer.__dict__["ask"] = inner.__dict__["ask"]
    exec("def question():\n    ask()", outer.__dict__)  # noqa: S102 - another one
    with pytest.warns(UserWarning, match="^so it is$") as told:
        outer.__dict__["question"]()
    assert [one.filename for one in told] == [__file__]
