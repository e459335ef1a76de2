"""One backend for several kinds of device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdoctor import matrix as matrices
from qdoctor.choosing import merging
from qdoctor.model import Asked, Candidate, SelectedFor, Selection, Timed

if TYPE_CHECKING:
    from collections.abc import Mapping

SHAPE = (4096, 1024, 4096)
ERRORS = {"half": 0.003, "bnb-int8": 0.01, "bnb-nf4": 0.04, "torch-fp8": 0.03}


def cell(milliseconds: float | None, error: float, rows: int = 4096) -> Timed:
    if milliseconds is None:
        return Timed(rows, 1024, 4096, unknown="it crashed")
    ends = (milliseconds * 0.995, milliseconds * 1.005)
    return Timed(rows, 1024, 4096, milliseconds, *ends, error, 1.0)


def device(  # noqa: PLR0913 - what a device may be
    name: str,
    times: Mapping[str, float | None],
    *,
    objective: str = "latency",
    no: tuple[str, ...] = (),
    measured: bool = True,
    rows: int = 4096,
) -> Selection:
    """What a device found; a backend of ``no`` is not usable there."""
    candidates = [
        Candidate(
            backend=one,
            usable="no" if one in no else "yes",
            reason=f"{one} was looked at",
            rel_error=ERRORS[one],
            weight_bytes_per_param=1.0,
            shapes=[] if one in no or not measured else [cell(times[one], ERRORS[one], rows)],
        )
        for one in times
    ]
    asked = msgspec.convert({"objective": objective, "shapes": [[rows, 1024, 4096]]}, Asked)
    return Selection(
        asked=asked, selected="half", reason="made up", candidates=candidates,
        device=SelectedFor(name, "9.0"), measured=measured,
    )  # fmt: skip


def merged(*devices: Selection) -> Selection:
    return merging.merged(devices, matrices.shipped())


def test_one_device_is_as_it_is() -> None:
    one = device("a", {"half": 1.0, "bnb-int8": 0.5})
    assert merged(one) is one


def test_the_slowest_device_speaks_for_a_candidate() -> None:
    found = merged(
        device("a", {"half": 1.0, "bnb-int8": 0.25, "torch-fp8": 0.5}),
        device("b", {"half": 10.0, "bnb-int8": 9.0, "torch-fp8": 6.0}),
    )
    assert found.selected == "torch-fp8"
    assert found.measured
    speeds = {one.backend: one.speedup_vs_half for one in found.candidates}
    assert speeds["bnb-int8"] == pytest.approx(10 / 9)
    assert speeds["torch-fp8"] == pytest.approx(10 / 6)
    assert found.device.name == "a and b"
    assert any("judged where it does worst" in note for note in found.notes)


def test_it_took_as_long_as_on_the_slowest_device() -> None:
    spent = {"a": (9.0, 8.0), "b": (21.6, 11.8)}
    found = merged(
        *(
            msgspec.structs.replace(
                device(name, {"half": 1.0}), seconds=seconds, starting_seconds=starting
            )
            for name, (seconds, starting) in spent.items()
        )
    )
    assert (found.seconds, found.starting_seconds) == spent["b"]


def test_what_one_device_cannot_use_nobody_uses_and_it_is_named() -> None:
    found = merged(
        device("a", {"half": 1.0, "bnb-int8": 0.5}),
        device("b", {"half": 1.0, "bnb-int8": 0.5}, no=("bnb-int8",)),
    )
    assert found.selected == "half"
    lost = next(one for one in found.candidates if one.backend == "bnb-int8")
    assert lost.usable == "no"
    assert lost.reason == "on b: bnb-int8 was looked at"


def test_a_backend_that_a_device_does_not_know_is_unknown() -> None:
    found = merged(device("a", {"half": 1.0, "bnb-int8": 0.5}), device("b", {"half": 1.0}))
    assert found.selected == "half"
    assert {one.backend: one.usable for one in found.candidates}["bnb-int8"] == "unknown"


def test_a_candidate_that_broke_down_anywhere_is_not_taken() -> None:
    found = merged(
        device("a", {"half": 1.0, "bnb-int8": 0.5}),
        device("b", {"half": 1.0, "bnb-int8": None}),
    )
    assert found.selected == "half"


@pytest.mark.parametrize(
    "other",
    [
        device("b", {"half": 1.0, "bnb-int8": 0.5}, measured=False),
        device("b", {"half": 1.0, "bnb-int8": 0.5}, rows=1),
    ],
    ids=["not-measured", "other-shapes"],
)
def test_figures_that_cannot_be_compared_are_left_out(other: Selection) -> None:
    found = merged(device("a", {"half": 1.0, "bnb-int8": 0.5}), other)
    assert not found.measured
    assert found.selected == "half"  # for latency nothing is called fast unmeasured


times = st.floats(0.1, 10.0)
found_there = st.fixed_dictionaries(dict.fromkeys(ERRORS, times))


@settings(max_examples=100)
@given(st.lists(found_there, min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_the_devices_decides_nothing(
    every: list[dict[str, float]],
    random: Any,  # noqa: ANN401
) -> None:
    devices = [device(f"gpu {at}", one) for at, one in enumerate(every)]
    first = merged(*devices)
    shuffled = list(devices)
    random.shuffle(shuffled)
    assert merged(*shuffled).selected == first.selected


@settings(max_examples=100)
@given(st.lists(found_there, min_size=2, max_size=4))
def test_for_latency_no_device_gets_what_is_slower_than_half(every: list[dict[str, float]]) -> None:
    found = merged(*(device(f"gpu {at}", one) for at, one in enumerate(every)))
    assert found.selected is not None
    assert all(one[found.selected] <= one["half"] for one in every)


def test_half_is_taken_where_one_device_could_not_be_asked() -> None:
    whole = device("H100", {"half": 1.0, "bnb-int8": 0.5})
    busy = device("T4", {"half": 1.0, "bnb-int8": 0.5}, measured=False)
    unasked = [msgspec.structs.replace(one, usable="unknown") for one in busy.candidates]
    found = merged(whole, msgspec.structs.replace(busy, candidates=unasked))
    assert found.selected == "half"
    assert "on T4: half was looked at" in found.reason
