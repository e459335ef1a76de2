from __future__ import annotations

from qdoctor.model import Observation, OutcomeKind
from qdoctor.report.probes_text import _costs, _lines


def seen(probe: str, variant: str, **numbers: float) -> Observation:
    return Observation(probe=probe, variant=variant, outcome="passed", numbers=numbers)


def test_what_a_probe_took_is_its_slowest_and_its_largest_child() -> None:
    observations = [
        seen("a", "first", seconds=1.25, peak_mib=300.0),
        seen("a", "second", seconds=0.5, peak_mib=700.4),
        seen("b", "only", seconds=0.04),
        seen("c", "only", milliseconds=3.0),
    ]
    assert _costs(observations) == {"a": "took 1.2 s, 700 MiB", "b": "took 0.0 s"}


def test_probes_that_ended_for_one_reason_share_a_line() -> None:
    def one(probe: str, outcome: OutcomeKind, detail: str) -> Observation:
        return Observation(probe=probe, outcome=outcome, detail=detail)

    observations = [
        one("a", "skipped", "torch not installed"),
        one("b", "skipped", "no GPU is here"),
        one("c", "skipped", "torch not installed"),
        one("d", "failed", "no algorithm"),
        one("e", "failed", "no algorithm"),
        one("f", "crashed", "no algorithm"),
        one("g", "passed", ""),
        one("h", "passed", ""),
    ]
    together = [["a", "c"], ["b"], ["d", "e"], ["f"], ["g"], ["h"]]
    assert [names for names, _, _ in _lines(observations)] == together


def test_what_a_probe_took_is_said_in_the_first_line_of_its_own() -> None:
    def one(probe: str, variant: str, outcome: OutcomeKind) -> Observation:
        return Observation(probe, outcome, variant=variant, numbers={"seconds": 2.0})

    observations = [
        *(one("a", "x", "failed"), one("b", "x", "failed")),
        *(one("a", "y", "passed"), one("a", "z", "passed")),
    ]
    assert [texts for _, _, texts in _lines(observations)] == [[], ["took 2.0 s"], []]
