"""package-files-missing: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "package-files-missing"
SAID = {"packages_found.bitsandbytes": "its metadata is installed, but nothing to import"}
TEXT = "ModuleNotFoundError: No module named 'bitsandbytes'"


def test_fires_where_only_the_metadata_is_there(ask: Ask) -> None:
    found = ask("h100", error=TEXT, packages={"bitsandbytes": "0.50.2"}, unread=SAID)
    first = next(iter(found.values()))
    assert (first.rule, first.severity, first.explains_error) == (NAME, "error", True)
    told = 'python -m pip install --force-reinstall --no-deps "bitsandbytes==0.50.2"'
    assert first.fixes[0].command == told


def test_a_text_about_another_module_is_not_quoted(ask: Ask) -> None:
    text = "ModuleNotFoundError: No module named 'scipy'"
    found = ask("h100", error=text, packages={"bitsandbytes": "0.50.2"}, unread=SAID)[NAME]
    assert len(found.because) == 1


def test_is_silent_on_a_whole_install(ask: Ask) -> None:
    assert NAME not in ask("h100", error=TEXT, packages={"bitsandbytes": "0.50.2"}, unread={})


def test_is_silent_where_nothing_is_known(ask: Ask) -> None:
    assert NAME not in ask("h100", error=TEXT, packages={"bitsandbytes": None}, unread=None)


def test_a_part_of_triton_s_wheel_that_is_not_there(ask: Ask) -> None:
    found = ask("h100", "RuntimeError: Cannot find ptxas")[NAME]
    assert (found.fixes[0].action, found.fixes[0].package) == ("reinstall", "triton")
