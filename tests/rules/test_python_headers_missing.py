"""python-headers-missing: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor.model import Finding, Observation

Ask = Callable[..., dict[str, Finding]]

NAME = "python-headers-missing"


def test_fires_where_kernels_are_started(ask: Ask) -> None:
    found = ask("h100", python={"headers": False})[NAME]
    assert found.severity == "warning"
    assert found.fixes[0].action == "install-system"


@pytest.mark.parametrize(
    ("version", "name"),
    [("3.10.12", "python3.10-dev"), ("3.13", "python3.13-dev"), (None, "python3-dev")],
)
def test_names_the_headers_of_the_interpreter_itself(
    ask: Ask, version: str | None, name: str
) -> None:
    fix = ask("h100", python={"headers": False, "version": version})[NAME].fixes[0]
    assert (fix.action, fix.package) == ("install-system", name)
    assert name in (fix.command or "")


def test_is_silent_where_it_is_there(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_is_silent_without_a_gpu(ask: Ask) -> None:
    assert NAME not in ask("cpu", python={"headers": False})


def test_is_silent_where_it_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("h100", python={"headers": None})


def test_a_text_accuses_where_it_is_unknown(ask: Ask) -> None:
    text = "cuda_utils.c:5:10: fatal error: Python.h: No such file or directory"
    assert ask("h100", error=text, python={"headers": None})[NAME].explains_error


def tried(outcome: str, code: str | None = None) -> Observation:
    return Observation(
        probe="triton_toolchain",
        variant="headers",
        outcome=outcome,  # type: ignore[arg-type]
        code=code,
        detail="no Python.h in /usr/include/python3.12",
        device="cuda:0",
    )


def test_the_probe_finds_what_the_facts_do_not_know(ask: Ask) -> None:
    found = ask("h100", observations=(tried("failed", NAME),), python={"headers": None})
    assert found[NAME].because[0].strength == "observed"
    assert "/usr/include/python3.12" in found[NAME].because[0].text
    assert not {"probe-failed", "probe-contradicts-matrix"} & found.keys()


def test_an_extension_that_was_built_refutes_what_was_read(ask: Ask) -> None:
    assert NAME not in ask("h100", observations=(tried("passed"),), python={"headers": False})


def test_headers_that_no_compiler_could_use_leave_it_to_the_facts(ask: Ask) -> None:
    skipped = tried("skipped", "no-c-compiler")
    assert NAME in ask("h100", observations=(skipped,), python={"headers": False})
    assert NAME not in ask("h100", observations=(skipped,))


def test_an_embeddable_python_of_windows_gets_copies(ask: Ask) -> None:
    text = "include file 'Python.h' not found"
    host, python = {"os": "windows", "libc": None}, {"headers": None}
    found = ask("h100", error=text, host=host, python=python)[NAME]
    assert found.fixes[0].action == "copy"
    assert "apt-get" not in " ".join(fix.command or "" for fix in found.fixes)


def test_python_h_in_peoples_words(ask: Ask) -> None:
    for text in ("Cannot find Python.h", "Python.h is missing"):
        assert ask("h100", error=text, python={"headers": None})[NAME].explains_error
