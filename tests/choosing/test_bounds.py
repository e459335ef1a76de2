"""What each objective bears: every figure has its reason, and the caller's word comes first."""

from __future__ import annotations

import math
from typing import get_args

from qdoctor.choosing.bounds import AIMS, asked_slowdown, error_bound, usual_slowdown
from qdoctor.choosing.request import OBJECTIVES
from qdoctor.model import Asked, Objective


def test_every_objective_has_its_bounds_with_reasons() -> None:
    assert set(AIMS) == set(get_args(Objective)) == set(OBJECTIVES)
    for one in AIMS.values():
        assert 0 < one.error < 1
        assert one.slowdown is None or one.slowdown > 1
        assert len(one.why_error) > 20
        assert len(one.why_time) > 20


def test_what_the_caller_says_comes_first() -> None:
    assert error_bound(Asked("accuracy")) == 0.02
    assert error_bound(Asked("accuracy", max_error=0.3)) == 0.3
    assert (asked_slowdown(Asked("memory")), usual_slowdown(Asked("memory"))) == (math.inf, 4.0)
    said = Asked("memory", max_slowdown=9.0)
    assert (asked_slowdown(said), usual_slowdown(said)) == (9.0, math.inf)
    assert usual_slowdown(Asked("balanced")) == math.inf
