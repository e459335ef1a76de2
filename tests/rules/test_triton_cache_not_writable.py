"""triton-cache-not-writable: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding, Observation

Ask = Callable[..., dict[str, Finding]]

NAME = "triton-cache-not-writable"
DETAIL = "/home/a/.triton/cache: /home/a is on a file system that is mounted read-only"
SEEN = Observation(
    probe="triton_toolchain", variant="cache", outcome="failed", code=NAME, detail=DETAIL
)
FINE = Observation(probe="triton_toolchain", variant="cache", outcome="passed")


def test_fires_where_kernels_are_started(ask: Ask) -> None:
    found = ask("h100", observations=(SEEN,))
    assert found[NAME].severity == "warning"
    assert DETAIL in found[NAME].title
    assert (found[NAME].fixes[0].action, found[NAME].fixes[0].name) == (
        "set-env",
        "TRITON_CACHE_DIR",
    )
    assert found[NAME].affects == ["bnb-switchback", "qdoctor-switchback"]
    assert not {"probe-failed", "probe-contradicts-matrix"} & found.keys()


def test_is_an_error_where_what_it_takes_away_is_needed(ask: Ask) -> None:
    found = ask("h100", observations=(SEEN,), need=("qdoctor-switchback",))
    assert found[NAME].severity == "error"


def test_is_silent_where_it_may_be_written_to(ask: Ask) -> None:
    assert NAME not in ask("h100", observations=(FINE,))


def test_is_silent_without_a_gpu(ask: Ask) -> None:
    assert NAME not in ask("cpu", observations=(SEEN,))


def test_is_silent_where_nobody_looked(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_a_text_accuses_where_nobody_looked_and_not_where_it_worked(ask: Ask) -> None:
    text = "PermissionError: [Errno 13] Permission denied: '/.triton'"
    found = ask("h100", error=text)[NAME]
    assert found.explains_error
    assert found.title.endswith(": /.triton")
    assert NAME not in ask("h100", error=text, observations=(FINE,))


def test_a_text_about_noexec_accuses_too(ask: Ask) -> None:
    text = "ImportError: /home/u/.triton/4d/cuda_utils.so: failed to map segment from shared object"
    assert ask("h100", error=text)[NAME].explains_error
