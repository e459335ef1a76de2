"""driver-cannot-start: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor.matrix import shipped
from qdoctor.model import Finding, Observation

Ask = Callable[..., dict[str, Finding]]

NAME = "driver-cannot-start"


def met(code: str, *variants: str) -> tuple[Observation, ...]:
    return tuple(
        Observation(
            probe="cuda_alive",
            variant=variant,
            outcome="failed",
            code=code,
            device="cuda:0",
            detail=f"cuInit answered an error: {code}",
            expected="pass",
        )
        for variant in variants or ("context", "copy", "ptx-jit")
    )


@pytest.mark.parametrize(
    ("code", "words", "fix"),
    [
        ("driver-mismatch", "803", "reboot"),
        ("compat-not-supported", "804", "LD_LIBRARY_PATH"),
        ("fabric-not-ready", "802", "nvidia-fabricmanager"),
        ("driver-broken", "999", "nvidia_uvm"),
    ],
)
def test_fires_on_an_error_of_the_driver_and_takes_the_gpu_away(
    ask: Ask, code: str, words: str, fix: str
) -> None:
    found = ask("h100", observations=met(code))
    one = found[NAME]
    assert one.severity == "error"
    assert words in one.title
    assert one.fixes[0].name == fix
    assert {"gpu", "half", "cuda_alive"} <= set(one.affects)
    assert one.because[0].strength == "observed"
    assert "probe-contradicts-matrix" not in found


def test_a_missing_compiler_of_ptx_takes_no_backend_away(ask: Ask) -> None:
    one = ask("h100", observations=met("jit-compiler-missing", "ptx-jit"))[NAME]
    assert (one.severity, one.affects) == ("warning", ["cuda_alive"])


def test_is_silent_where_the_driver_starts(ask: Ask) -> None:
    passed = Observation(
        probe="cuda_alive", variant="context", outcome="passed", device="cuda:0", expected="pass"
    )
    assert NAME not in ask("h100", observations=(passed,))


@pytest.mark.parametrize("code", ["out-of-memory", "gpu-busy", "no-gpu"])
def test_is_silent_where_that_could_not_be_told(ask: Ask, code: str) -> None:
    skipped = Observation(
        probe="cuda_alive", variant="context", outcome="skipped", code=code, device="cuda:0"
    )
    assert NAME not in ask("h100", observations=(skipped,))


def test_is_silent_where_nothing_ran(ask: Ask) -> None:
    assert NAME not in ask("h100")


ERROR_804 = (
    "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 804: forward compatibility "
    "was attempted on non supported HW"
)


def test_a_text_alone_is_explained_where_the_facts_leave_nothing_else(ask: Ask) -> None:
    one = ask("h100", error=ERROR_804)[NAME]
    assert "(CUDA error 804)" in one.title
    assert one.explains_error
    old = ask("h100", error=ERROR_804, driver={"version": "470.82.01", "cuda": None})
    assert old["driver-too-old"].explains_error


def test_a_text_and_the_probe_agree(ask: Ask) -> None:
    one = ask("h100", error=ERROR_804, observations=met("compat-not-supported"))[NAME]
    assert one.undecided is None
    assert any("non supported HW" in reason.text for reason in one.because)


def test_a_text_does_not_stand_against_a_driver_that_starts(ask: Ask) -> None:
    passed = Observation(
        probe="cuda_alive", variant="context", outcome="passed", device="cuda:0", expected="pass"
    )
    assert NAME not in ask("h100", error=ERROR_804, observations=(passed,))


def test_every_row_says_what_helps() -> None:
    for row in shipped().table("driver_errors")["rows"]:
        assert row["fixes"]
        assert row["stops"] in {"gpu", "ptx"}


def test_what_linux_alone_has_is_offered_there_alone(ask: Ask) -> None:
    for system, first in (("linux", "nvidia_uvm"), ("windows", "reboot")):
        found = ask("h100", observations=met("driver-broken"), host={"os": system})
        assert found[NAME].fixes[0].name == first
