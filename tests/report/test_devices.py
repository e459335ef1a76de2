"""Several devices in few words."""

from __future__ import annotations

import pytest

from qdoctor.report.devices import ranges, shortly, told_of_any, without_device


@pytest.mark.parametrize(
    ("numbers", "written"),
    [([], []), ([3], ["3"]), ([2, 0, 1, 5], ["0-2", "5"]), ([0, 1], ["0-1"])],
)
def test_ranges(numbers: list[int], written: list[str]) -> None:
    assert ranges(numbers) == written


def test_other_devices_stand_as_they_are() -> None:
    assert shortly(["cuda:1", "cpu", "cuda:0", "sm_90", "cuda:1"]) == "cuda:0-1, cpu, sm_90"


def test_a_text_without_its_device() -> None:
    assert without_device("half_gemm (half) on cuda:5 should") == "half_gemm (half) should"
    assert without_device("on sm_90") == "on sm_90"


def test_what_was_measured_on_each_is_one_thing_to_say() -> None:
    slow = "bnb-int8 takes {} times as long as half on cuda:{} (1024 x 4096): it saves memory"
    assert told_of_any(slow.format(1.9, 0)) == told_of_any(slow.format(2.1, 7))
    assert told_of_any(slow.format(1.9, 0)) != told_of_any(slow.replace("4096", "8192"))
    assert told_of_any("SM 7.0 lacks it") != told_of_any("SM 8.0 lacks it")
