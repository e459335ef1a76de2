"""no-temporary-folder: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor.model import Finding, Observation

Ask = Callable[..., dict[str, Finding]]

NAME = "no-temporary-folder"
FULL = "no temporary folder: [Errno 28] No space left on device: '/tmp/qdoctor-facts-1'"


def test_fires_where_the_interpreter_could_not_be_asked_for_it(ask: Ask) -> None:
    found = ask("cpu", unread={"env.TMPDIR": FULL})
    assert found[NAME].severity == "error"
    assert found[NAME].because[0].text == FULL
    assert [(one.action, one.name) for one in found[NAME].fixes] == [
        ("set-env", "TMPDIR"),
        ("run", None),
    ]
    assert "interpreter-broken" not in found


@pytest.mark.parametrize(
    ("outcome", "code"), [("failed", "no-control-folder"), ("skipped", "no-temporary-folder")]
)
def test_fires_once_where_probes_had_none(ask: Ask, outcome: str, code: str) -> None:
    seen = [
        Observation(probe=name, outcome=outcome, code=code, detail=FULL)  # type: ignore[arg-type]
        for name in ("half_gemm", "triton_toolchain")
    ]
    found = ask("h100", observations=tuple(seen))
    assert found[NAME].severity == "error"
    assert [FULL in one.text for one in found[NAME].because] == [True]
    assert found[NAME].affects == ["half_gemm", "triton_toolchain"]
    assert not {"probe-failed", "probe-contradicts-matrix"} & found.keys()


def test_is_silent_where_nothing_was_in_the_way(ask: Ask) -> None:
    passed = Observation(probe="half_gemm", outcome="passed")
    assert NAME not in ask("h100", observations=(passed,))


def test_is_silent_where_nobody_looked(ask: Ask) -> None:
    assert NAME not in ask("h100", unread={"python": "it ended with exit status 1"})


def test_a_text_of_pythons_own_accuses(ask: Ask) -> None:
    text = (
        "FileNotFoundError: [Errno 2] No usable temporary directory found in "
        "['/tmp', '/var/tmp', '/usr/tmp', '/app']"
    )
    found = ask("h100", error=text)[NAME]
    assert found.explains_error
    assert found.fixes[0].name == "TMPDIR"


@pytest.mark.parametrize(
    "text",
    [
        "OSError: [Errno 28] No space left on device",
        "OSError: [Errno 122] Disk quota exceeded: '/scratch/u/model.safetensors'",
    ],
)
def test_a_disk_that_is_full_for_a_program_is_not_laid_to_temporary_files(
    ask: Ask, text: str
) -> None:
    found = ask("h100", error=text)
    assert found["not-environment"].title == "the disk is full"
    assert NAME not in found
