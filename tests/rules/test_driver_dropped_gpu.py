"""driver-dropped-gpu: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "driver-dropped-gpu"

NEW = {"version": "590.48.01", "cuda": "13.1"}


def test_fires_on_a_driver_without_this_gpu(ask: Ask) -> None:
    found = ask("v100", driver=NEW)[NAME]
    assert found.severity == "error"
    assert (found.fixes[0].action, found.fixes[0].spec) == ("downgrade", "<581")


def test_is_silent_on_the_last_branch(ask: Ask) -> None:
    assert NAME not in ask("v100", driver={"version": "580.65.06", "cuda": "13.0"})


def test_is_silent_on_a_gpu_that_no_driver_dropped(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_is_silent_where_the_driver_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("v100", driver=None)
