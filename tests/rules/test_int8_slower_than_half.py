"""int8-slower-than-half: where it fires, where not, and where the deciding time is unknown."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from qdoctor.diagnosis import diagnose
from qdoctor.model import Facts, Finding, Observation, from_json

if TYPE_CHECKING:
    from pathlib import Path

Ask = Callable[..., dict[str, Finding]]

NAME = "int8-slower-than-half"
SHAPE = {"rows": 1024.0, "depth": 1024.0, "columns": 4096.0}


def timed(probe: str, variant: str, milliseconds: float, **more: str) -> Observation:
    seen = Observation(probe=probe, outcome="passed", variant=variant, device="cuda:0")
    return msgspec.structs.replace(seen, numbers={"milliseconds": milliseconds, **SHAPE}, **more)


HALF = timed("half_gemm", "half", 0.03)
SLOW = timed("bnb_int8", "linear", 0.09)
OURS = timed("switchback_forward", "qdoctor", 0.02)


def test_fires_on_a_layer_that_took_longer(ask: Ask) -> None:
    found = ask("h100", observations=(HALF, SLOW))[NAME]
    assert (found.severity, found.affects) == ("note", [])
    assert found.title.startswith("bnb-int8 takes 3.0 times as long as half on cuda:0 (1024")
    assert [fix.backend for fix in found.fixes] == ["half"]


def test_offers_first_what_ran_faster_here(ask: Ask) -> None:
    found = ask("h100", observations=(HALF, SLOW, OURS))[NAME]
    assert [fix.backend for fix in found.fixes] == ["qdoctor-switchback", "half"]


def test_a_layer_with_several_probes_is_told_once(machines: Path) -> None:
    outliers = timed("bnb_int8", "linear-outliers", 0.2)
    facts = from_json((machines / "described" / "h100.json").read_text(), Facts, "h100")
    (found,) = [one for one in diagnose(facts, (HALF, SLOW, outliers))[1] if one.rule == NAME]
    assert found.title.startswith("bnb-int8 takes 3.0 times")
    assert [one.text for one in found.because] == [
        "bnb_int8 (linear) on cuda:0 took 0.09 ms",
        "bnb_int8 (linear-outliers) on cuda:0 took 0.2 ms",
        "half_gemm (half) on cuda:0 took 0.03 ms",
    ]


def test_needing_the_backend_does_not_make_it_an_error(ask: Ask) -> None:
    found = ask("h100", observations=(HALF, SLOW), need=("bnb-int8",))[NAME]
    assert found.severity == "note"


def test_is_silent_on_a_faster_layer_and_on_one_within_the_noise(ask: Ask) -> None:
    assert NAME not in ask("h100", observations=(HALF, OURS))
    assert NAME not in ask("h100", observations=(HALF, timed("bnb_int8", "linear", 0.032)))


def test_is_silent_on_what_multiplies_in_half(ask: Ask) -> None:
    assert NAME not in ask("h100", observations=(HALF, timed("bnb_4bit", "nf4", 0.2)))


def test_is_silent_where_a_time_is_unknown(ask: Ask) -> None:
    untimed = msgspec.structs.replace(HALF, numbers=SHAPE)
    elsewhere = msgspec.structs.replace(HALF, device="cuda:1")
    for half in ((), (untimed,), (elsewhere,), (msgspec.structs.replace(HALF, outcome="wrong"),)):
        assert NAME not in ask("h100", observations=(*half, SLOW))


def test_is_silent_where_the_layer_failed(ask: Ask) -> None:
    wrong = msgspec.structs.replace(SLOW, outcome="wrong", expected="pass")
    assert NAME not in ask("h100", observations=(HALF, wrong))
