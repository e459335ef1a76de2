"""version-misreading: where it fires, where not, and where a version is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.diagnosis import diagnose
from qdoctor.model import Driver, Facts, Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "version-misreading"
MINOR = (
    "UserWarning: The detected CUDA version (12.4) has a minor version mismatch with the version "
    "that was used to compile PyTorch (12.1). Most likely this shouldn't be a problem."
)


def test_a_minor_mismatch_while_compiling_needs_no_fix(ask: Ask) -> None:
    found = ask("h100", error=MINOR)
    assert next(iter(found)) == NAME
    assert (found[NAME].severity, found[NAME].explains_error) == ("note", True)
    assert found[NAME].fixes[0].action == "none"


def test_another_toolkit_beside_torch_is_a_note_said_last(ask: Ask) -> None:
    found = ask("h100", toolkit_cuda="11.8")
    assert found[NAME].severity == "note"
    assert list(found)[-1] == NAME


def test_is_silent_where_the_versions_agree_or_one_is_unknown(ask: Ask) -> None:
    cuda = "12.1"
    assert NAME not in ask("h100", toolkit_cuda=cuda, torch_cuda=cuda)
    assert NAME not in ask("h100", toolkit_cuda=None)
    assert NAME not in ask("h100", toolkit_cuda=None, torch_cuda=None, packages={"torch": None})


def test_is_silent_where_the_driver_is_too_old_for_torch(ask: Ask) -> None:
    driver = {"version": "450.80.02", "cuda": "11.0"}
    assert NAME not in ask("h100", toolkit_cuda="11.8", driver=driver)


def test_a_toolkit_of_which_nothing_else_is_known_needs_no_match(ask: Ask) -> None:
    packages = {"torch": None, "triton": None}
    found = ask("h100", packages=packages, torch_cuda=None, native=None, toolkit_cuda="11.5")
    assert found["version-misreading"].fixes[0].action == "none"


def test_a_driver_of_which_nothing_else_is_known_serves_older_builds() -> None:
    found = diagnose(Facts(driver=Driver(cuda="12.3")))[1]
    assert [(one.rule, one.severity) for one in found] == [(NAME, "note")]
    assert found[0].fixes[0].action == "none"
    assert "12.3" in found[0].title
    assert not diagnose(Facts())[1]
