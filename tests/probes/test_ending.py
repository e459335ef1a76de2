from __future__ import annotations

import pytest

from qdoctor.probes.ending import decisive, fate
from qdoctor.process import Ended

DUMP = b"""Fatal Python error: Segmentation fault

Current thread 0x00007f514f25a660 (most recent call first):
  File "/venv/lib/torch/cuda/__init__.py", line 412 in _lazy_init
  File "/kernels/half_gemm.py", line 60 in run

Extension modules: numpy.core (total: 1)
"""


def test_a_crash_has_its_signal_its_phase_and_its_place() -> None:
    found = fate(Ended(signal=11, stderr=DUMP), "importing torch", answered=False)
    assert found is not None
    assert (found.outcome, found.code) == ("crashed", "sigsegv")
    assert found.detail == (
        "SIGSEGV (segmentation fault) while importing torch: Fatal Python error: Segmentation fault"
    )
    assert found.evidence == ["/venv/lib/torch/cuda/__init__.py:412 in _lazy_init"]


def test_the_last_words_are_evidence_and_the_dump_around_them_is_not() -> None:
    words = b"".join(b"line %d\n" % number for number in range(20))
    found = fate(Ended(signal=6, stderr=words + DUMP), "", answered=False)
    assert found is not None
    assert found.evidence[1:] == [f"line {number}" for number in range(12, 20)]


def test_what_a_library_said_counts_more_than_the_dump() -> None:
    lines = ["warning: old", "terminate called after 'c10::Error'", *DUMP.decode().splitlines()]
    assert decisive([line for line in lines if line]) == "terminate called after 'c10::Error'"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0xC0000005, "access violation"),
        (0xC0000135, "DLL was not found"),
        (-1073741819, "access violation"),  # the same number, signed
        (0xC00000AA, "a Windows exception"),
    ],
)
def test_a_windows_crash_is_no_exit_status(code: int, words: str) -> None:
    found = fate(Ended(returncode=code), "", answered=False)
    assert found is not None
    assert found.outcome == "crashed"
    assert words in found.detail


@pytest.mark.parametrize(
    ("ended", "outcome", "code"),
    [
        (Ended(start_error="python: No such file"), "failed", "not-started"),
        (Ended(timed_out=True, signal=15, seconds=60.2), "timed-out", "timed-out"),
        (Ended(over_memory=True, signal=15, peak_mib=9000), "failed", "memory-limit"),
        (Ended(over_disk=True, signal=15), "failed", "disk-limit"),
        (Ended(signal=64), "crashed", "sigrtmax"),
        (Ended(signal=99), "crashed", "signal-99"),
        (Ended(returncode=0), "failed", "no-answer"),
        (Ended(returncode=1), "failed", "no-answer"),
        (Ended(), "failed", "no-answer"),
    ],
)
def test_an_end_without_an_answer_is_typed(ended: Ended, outcome: str, code: str) -> None:
    found = fate(ended, "", answered=False)
    assert found is not None
    assert (found.outcome, found.code) == (outcome, code)
    assert found.detail


@pytest.mark.parametrize("ended", [Ended(returncode=0), Ended()])
def test_a_child_that_answered_and_ended_has_no_fate(ended: Ended) -> None:
    assert fate(ended, "whatever", answered=True) is None


def test_a_bad_end_after_the_answer_is_told() -> None:
    found = fate(Ended(returncode=3, stderr=b"leak\n"), "whatever", answered=True)
    assert found is not None
    assert (found.code, found.detail) == ("bad-exit", "exit status 3 after it had answered: leak")


def test_what_was_injected_is_told_however_much_was_said_after_it() -> None:
    words = b"injected: hang@run\n" + b"".join(b"line %d\n" % number for number in range(20))
    found = fate(Ended(timed_out=True, stderr=words), "", answered=False)
    assert found is not None
    assert found.evidence == ["injected: hang@run", *(f"line {at}" for at in range(12, 20))]
