"""Measuring on a real GPU: where a time comes from, what a full one is. No speed is asserted."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from qdoctor.choosing import measuring
from qdoctor.choosing.measured import figures
from qdoctor.choosing.measuring import Wish, measure

if TYPE_CHECKING:
    from collections.abc import Iterator

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.gpu

PREFILL, DECODE = (2048, 4096, 4096), (1, 1024, 1024)
HOLDER = """
import sys, torch
torch.zeros(1, device="cuda")
free, _ = torch.cuda.mem_get_info()
held = torch.empty(free - (int(sys.argv[1]) << 20), dtype=torch.uint8, device="cuda")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")


@pytest.fixture
def _full(request: pytest.FixtureRequest) -> Iterator[None]:
    """Another process that leaves so many MiB."""
    words = [sys.executable, "-c", HOLDER, str(request.param)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield
        holder.kill()


def test_device_and_host_are_timed_and_the_larger_counts() -> None:
    wish = Wish(("half", "qdoctor-switchback"), [PREFILL, DECODE], "cuda:0", seconds=20)
    found = measure(wish, sys.executable, os.environ)
    assert (found.failed, found.notes) == ({}, measuring._unsteady(found))
    assert (found.device.name, bool(found.device.sm)) == (torch.cuda.get_device_name(), True)
    for name in wish.backends:
        for one in found.timed[name]:
            assert one.milliseconds
            assert one.device_milliseconds
            assert one.host_milliseconds
            assert one.milliseconds == max(one.device_milliseconds, one.host_milliseconds)
            assert one.p10 is not None
            assert one.p90 is not None
            assert one.p10 <= one.milliseconds <= one.p90
    half, ours = (figures(found, name) for name in wish.backends)
    assert half
    assert ours
    assert half.error < 0.004 < ours.error < 0.02


@pytest.mark.parametrize("_full", [2500], indirect=True)
@pytest.mark.usefixtures("_full")
def test_what_does_not_fit_is_unknown_and_what_fits_is_measured() -> None:
    huge = (65536, 16384, 16384)
    found = measure(
        Wish(("half",), [DECODE, huge], "cuda:0", seconds=20), sys.executable, os.environ
    )
    small, large = found.timed["half"]
    assert small.milliseconds
    assert large.milliseconds is None
    assert (large.unknown or "").startswith("out-of-memory: ")
    assert found.notes == [
        *measuring._unsteady(found),
        f"not measured at 65536 rows of 16384 to 16384: {large.unknown}",
    ]


@pytest.mark.parametrize("_full", [64], indirect=True)
@pytest.mark.usefixtures("_full")
def test_a_gpu_without_room_for_a_context_is_a_reason() -> None:
    found = measure(Wish(("half",), [DECODE], "cuda:0"), sys.executable, os.environ)
    assert "out-of-memory" in found.failed["half"]
