"""package-files-missing: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

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


CALL = '  File "/x/lib/python3.11/site-packages/{0}/{1}.py", line 4, in <module>\n    import x\n'


@pytest.mark.parametrize("package", ["peft", "transformers", "accelerate", "trl", "vllm", "timm"])
def test_a_package_that_misses_a_part_of_itself_is_of_two_releases(ask: Ask, package: str) -> None:
    missing = f"ModuleNotFoundError: No module named '{package}.utils.other'"
    first = next(iter(ask("h100", error=CALL.format(package, "a") + missing).values()))
    assert (first.rule, first.fixes[0].action) == (NAME, "reinstall")
    assert first.fixes[0].package == package
    for asks in (
        CALL.format("unsloth", "a"),
        CALL.format(package, "a") + CALL.format("x", "b"),
        "",
    ):
        assert NAME not in ask("h100", error=asks + missing)


def test_a_part_of_an_older_loader_in_a_newer_bitsandbytes_was_copied_there(ask: Ask) -> None:
    text = "ModuleNotFoundError: No module named 'bitsandbytes.cuda_setup.paths'"
    windows = {"host": {"os": "windows"}, "packages": {"bitsandbytes": None}}
    found = ask("h100", error=text, **windows)
    assert [fix.action for fix in found[NAME].fixes] == ["reinstall", "upgrade"]
    assert NAME not in ask("h100", error=text.replace(".paths", ".main"))


def test_a_known_package_without_a_part_of_it_is_incomplete_or_older(ask: Ask) -> None:
    text = "ModuleNotFoundError: No module named 'axolotl.monkeypatch.models'"
    found = next(iter(ask("h100", error=text).values()))
    assert (found.rule, found.explains_error) == (NAME, True)
    assert [(fix.action, fix.package) for fix in found.fixes] == [
        ("reinstall", "axolotl"),
        ("upgrade", "axolotl"),
    ]
    assert NAME not in ask("h100", error="ModuleNotFoundError: No module named 'mine.own.part'")
