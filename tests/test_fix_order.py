from __future__ import annotations

import pytest

from qdoctor.fix_order import BEYOND, smallest_first
from qdoctor.model import Action, Applicability, Fix


def fix(action: Action, applicability: Applicability = "display-only", why: str = "") -> Fix:
    return Fix(action=action, why=why, applicability=applicability)


def test_the_first_fix_is_its_rules_own() -> None:
    for first in (fix("upgrade-driver"), fix("install-build", "unsafe"), fix("upgrade", "safe")):
        assert smallest_first([first, fix("use"), fix("upgrade", "safe")])[0] is first


def test_alternatives_go_from_small_to_large() -> None:
    driver, build, use, safe = (
        fix("upgrade-driver"),
        fix("install-build", "unsafe"),
        fix("use"),
        fix("upgrade", "safe"),
    )
    ordered = smallest_first([fix("set-env"), driver, build, use, safe])
    assert ordered[1:] == [use, safe, build, driver]


@pytest.mark.parametrize("action", sorted(BEYOND))
def test_another_machine_is_the_last_thing_to_change(action: Action) -> None:
    ordered = smallest_first([fix("use"), fix(action), fix("install-build", "unsafe")])
    assert [one.action for one in ordered] == ["use", "install-build", action]


def test_a_rules_order_stays_among_equals() -> None:
    some = [fix("use", why=str(number)) for number in range(5)]
    assert smallest_first(some) == some
    assert smallest_first([]) == []


def test_the_same_command_is_offered_once() -> None:
    same = [
        Fix("upgrade", why, "safe", "x", ">=1", command="python -m pip install --upgrade 'x>=1'")
        for why in ("it has the library", "it has the kernel")
    ]
    by_hand = [fix("change-code", why="a"), fix("change-code", why="a")]
    assert smallest_first([*same, *by_hand]) == [same[0], *by_hand]
