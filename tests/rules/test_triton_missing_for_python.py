"""triton-missing-for-python: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor import diagnose
from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "triton-missing-for-python"


def test_fires_on_a_python_without_a_wheel(ask: Ask) -> None:
    found = ask("a100", python={"version": "3.12.4"})[NAME]
    assert found.severity == "note"
    assert found.fixes[0].action == "use-python"


def test_is_silent_on_a_python_with_one(ask: Ask) -> None:
    assert NAME not in ask("a100")


def test_is_silent_where_python_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("a100", python={"version": None})


def test_a_nightly_that_is_gone_is_no_fault_of_this_python() -> None:
    text = (
        "ERROR: Could not find a version that satisfies the requirement triton==2.0.0.dev20221120 "
        "(from versions: 0.4.1, 1.0.0, 1.1.1, 2.0.0, 2.1.0, 2.2.0, 2.3.0"
    )
    facts = {"host": {"os": "linux"}, "python": {"version": "3.8"}}
    (found,) = (one for one in diagnose(facts, text).findings if one.explains_error)
    assert found.rule == "plan-does-not-install"
    assert (found.fixes[0].action, found.fixes[0].package) == ("install", "triton")
    assert found.fixes[0].spec == "==2.0.0"


def test_where_no_triton_is_listed_and_no_system_is_told_it_may_be_windows() -> None:
    text = "Could not find a version that satisfies the requirement triton (from versions: none)"
    (found,) = (one for one in diagnose({}, text).findings if one.explains_error)
    assert found.rule == NAME
    assert found.fixes[0].package == "triton-windows"


def test_a_system_without_triton_is_told_to_leave_it_out() -> None:
    text = "ERROR: No matching distribution found for triton"
    found = diagnose({"host": {"os": "macos"}}, text).findings[0]
    assert (found.rule, found.fixes[0].action) == (NAME, "change-code")


def test_on_windows_a_nightly_of_triton_has_another_name() -> None:
    text = "ERROR: No matching distribution found for triton-nightly"
    found = diagnose({"host": {"os": "windows"}}, text).findings[0]
    assert (found.rule, found.fixes[0].package) == ("plan-does-not-install", "triton-windows")


def test_no_triton_for_windows_goes_with_an_old_torch() -> None:
    facts = {"host": {"os": "windows"}, "packages": {"torch": "2.1.0+cu118"}}
    error = "ERROR: Could not find a version that satisfies the requirement triton (from versions:"
    found = diagnose(facts, f"{error} none)").findings[0]
    first = found.fixes[0]
    newer = next(fix for fix in found.fixes if fix.action == "upgrade")
    assert (first.action, first.package, first.command) == ("install", "triton-windows", None)
    assert "3.1.0.post17" in first.why
    assert (newer.package, newer.spec, newer.index) == ("torch", ">=2.5.0", "cu118")
