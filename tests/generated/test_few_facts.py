"""A text that proves its cause is answered however little is stated beside it."""

from __future__ import annotations

from typing import Any

import pytest

import qdoctor
from qdoctor.matrix import shipped

ROWS: list[dict[str, Any]] = shipped().table("signatures")["rows"]
SOME = ("bitsandbytes", "torch", "triton", "transformers", "accelerate", "peft")
STATED: dict[str, dict[str, Any]] = {
    "system": {"host": {"os": "linux", "machine": "x86_64"}, "python": {"version": "3.10"}},
    "windows": {"host": {"os": "windows"}},
    "driver": {"host": {"os": "linux"}, "toolkit_cuda": "12.1", "driver": {"version": "535.54.03"}},
    "versions not told": {"packages": dict.fromkeys(SOME, "?")},
}
REFUTED = {
    "system": {"no-triton-to-install"},  # the index has that very wheel for this Python
    "windows": {  # texts of Linux
        *("ldconfig-absent", "ldconfig-failed", "ldconfig-not-on-path", "whereis-absent"),
        *("libcuda-assertion", "libcuda-link-missing", "libcuda-not-linked", "libcuda-stub"),
    },
    "driver": set(),
    "versions not told": {"switchback-returned-none"},  # triton is said to be there
}
"""Rows that the stated facts contradict: their cause is out of the question there."""


def decided(row: dict[str, Any]) -> bool:
    """Whether the text alone accuses anything: else the facts have to confirm it."""
    return not set(row["rules"]) <= set(row.get("confirmed", []))


@pytest.mark.parametrize("stated", STATED)
def test_a_text_is_answered_beside_the_few_facts_that_people_state(stated: str) -> None:
    silent = {
        row["id"]
        for row in ROWS
        if decided(row)
        for text in row["examples"]
        if not _explained({"schema": "qdoctor/facts/1", **STATED[stated]}, text)
    }
    assert silent == REFUTED[stated]


def _explained(facts: dict[str, Any], text: str) -> bool:
    return any(one.explains_error for one in qdoctor.diagnose(facts, text).findings)
