"""Who may be taken at all: what a probe showed here, what is allowed, what trains."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qdoctor import backends
from qdoctor.backends import NAMES
from qdoctor.matrix import shipped
from tests.choosing.conftest import FAST, choose, loser, measured, verdict

if TYPE_CHECKING:
    from qdoctor.model import Verdict


@pytest.mark.parametrize(
    ("judged", "why"),
    [
        (verdict("qdoctor-switchback", "no"), "it cannot be used here: why no"),
        (verdict("qdoctor-switchback", "unknown"), "is not known: why unknown"),
        (verdict("qdoctor-switchback", ran=False), "no probe of its own passed here"),
    ],
)
def test_only_what_a_probe_showed_here_is_taken(judged: Verdict, why: str) -> None:
    found = choose("latency", measured(FAST), [verdict("half"), judged])
    assert found.selected == "half"
    assert why in (loser(found, "qdoctor-switchback").lost or "")


def test_what_broke_down_while_measured_cannot_be_used() -> None:
    found = choose(
        "latency",
        measured({**FAST, "qdoctor-switchback": 0.1}, failed={"qdoctor-switchback": "SIGSEGV"}),
    )
    assert found.selected == "half"
    own = loser(found, "qdoctor-switchback")
    assert (own.lost, own.usable, own.milliseconds) == ("SIGSEGV", "no", None)


def test_what_is_not_allowed_or_denied_is_not_taken_and_half_always_is() -> None:
    found = choose("memory", measured(FAST), allow=["qdoctor-switchback"])
    assert found.selected == "qdoctor-switchback"
    assert "not among what is allowed" in (loser(found, "bnb-nf4").lost or "")
    found = choose("latency", measured(FAST), deny=["qdoctor-switchback"])
    assert (found.selected, loser(found, "qdoctor-switchback").lost) == ("half", "it is denied")


def test_half_that_stands_in_for_what_is_allowed_says_so() -> None:
    judged = [verdict("half"), verdict("bnb-nf4", "no"), verdict("bnb-int8")]
    found = choose("balanced", measured({"half": 1.0}), judged, allow=["bnb-nf4"])
    assert found.selected == "half"
    assert found.reason == (
        "half stands in for what is allowed, bnb-nf4: it cannot be used here: why no"
    )


def test_half_denied_leaves_the_fastest_of_the_others_and_says_that_it_is_slower() -> None:
    times = {"half": 1.0, "bnb-int8": 1.4, "qdoctor-switchback": 1.2}
    found = choose("latency", measured(times), deny=["half"])
    assert found.selected == "qdoctor-switchback"
    assert "half is denied" in found.reason
    only = [verdict("half"), verdict("bnb-int8", "no")]
    assert choose("latency", measured({"half": 1.0}), only, deny=["half"]).selected is None


def test_training_takes_only_what_trains() -> None:
    times = {"half": 1.0, "torch-fp8": 0.5, "qdoctor-switchback": 0.8}
    found = choose("latency", measured(times), training=True)
    assert found.selected == "qdoctor-switchback"
    assert "cannot train" in (loser(found, "torch-fp8").lost or "")


def test_the_table_says_of_each_backend_what_its_layer_says() -> None:
    rows = shipped().table("backends")["rows"]
    said = {name: row["trainable"] for name, row in rows.items()}
    assert said == {name: _says_trainable(name) for name in NAMES}


def _says_trainable(name: str) -> bool:
    source = Path(backends.__file__).with_name(f"{name.replace('-', '_')}.py").read_text()
    return any(
        isinstance(node, ast.Assign) and ast.unparse(node) == "trainable = True"
        for node in ast.walk(ast.parse(source))
    )
