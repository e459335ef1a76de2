"""torch-not-installed: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "torch-not-installed"


def test_fires_without_torch(ask: Ask) -> None:
    found = ask("cpu", packages={"torch": ""}, torch_cuda=None)[NAME]
    assert found.severity == "note"
    assert found.fixes[0].command == "python -m pip install torch"


def test_is_an_error_where_a_backend_is_needed(ask: Ask) -> None:
    found = ask("cpu", packages={"torch": ""}, torch_cuda=None, need=("half",))
    assert found[NAME].severity == "error"


def test_is_silent_with_torch(ask: Ask) -> None:
    assert NAME not in ask("cpu")


def test_is_silent_where_torch_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("cpu", packages={"torch": None}, torch_cuda=None)


def test_a_torch_that_is_there_is_missed_by_another_python(ask: Ask) -> None:
    found = ask("h100", "ModuleNotFoundError: No module named 'torch'")[NAME]
    assert found.explains_error
    assert [one.action for one in found.fixes] == ["use-python", "install"]


def test_a_build_that_pip_isolates_has_no_torch(ask: Ask) -> None:
    text = (
        "  Getting requirements to build wheel did not run successfully.\n"
        "      ModuleNotFoundError: No module named 'torch'"
    )
    assert "--no-build-isolation" in (ask("h100", text)[NAME].fixes[0].why)
