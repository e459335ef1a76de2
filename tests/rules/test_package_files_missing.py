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
    linux = {"host": {"os": "linux"}, "packages": {"bitsandbytes": None}}
    found = ask("h100", error=text, **linux)
    assert [fix.action for fix in found[NAME].fixes] == ["reinstall"]
    assert NAME not in ask("h100", error=text.replace(".paths", ".main"))
    assert NAME not in ask("h100", error=text, **{**linux, "host": {"os": "windows"}})


def test_a_known_package_without_a_part_of_it_is_incomplete_or_older(ask: Ask) -> None:
    text = "ModuleNotFoundError: No module named 'axolotl.monkeypatch.models'"
    found = next(iter(ask("h100", error=text).values()))
    assert (found.rule, found.explains_error) == (NAME, True)
    assert [(fix.action, fix.package) for fix in found.fixes] == [
        ("reinstall", "axolotl"),
        ("upgrade", "axolotl"),
    ]
    assert NAME not in ask("h100", error="ModuleNotFoundError: No module named 'mine.own.part'")


NO_MODULE = "ModuleNotFoundError: No module named '{}'"


@pytest.mark.parametrize("text", [NO_MODULE, "NameError: name '{}' is not defined"])
def test_a_compiled_module_that_a_build_left_out(ask: Ask, text: str) -> None:
    """Where the package is there, installing it again from its wheel brings the module."""
    told = text.format("selective_scan_cuda")
    first = next(iter(ask("h100", error=told, packages={"mamba-ssm": "2.2.2"}).values()))
    assert (first.rule, first.undecided) == (NAME, None)
    assert [(fix.action, fix.package) for fix in first.fixes] == [
        ("reinstall", "mamba-ssm"),
        ("rebuild", "mamba-ssm"),
    ]
    for version in ("", None):
        assert NAME not in ask("h100", error=told, packages={"mamba-ssm": version})


@pytest.mark.parametrize("version", ["0.1", None])
def test_a_module_that_is_compiled_only_where_it_is_asked_for(
    ask: Ask, version: str | None
) -> None:
    """apex's own code imports it, so apex is there."""
    text = NO_MODULE.format("fused_layer_norm_cuda")
    first = next(iter(ask("h100", error=text, packages={"apex": version}).values()))
    assert first.rule == NAME
    assert [(fix.action, fix.package) for fix in first.fixes] == [
        ("rebuild", "apex"),
        ("uninstall", "apex"),
    ]
    assert "--cuda_ext" in (first.fixes[0].command or "")
    assert NAME not in ask("h100", error=text, packages={"apex": ""})


@pytest.mark.parametrize(
    "text",
    [
        NO_MODULE.format("vllm._C"),
        "ImportError: cannot import name '_C' from 'vllm' (/x/vllm/__init__.py)",
    ],
)
def test_a_compiled_part_is_no_name_of_another_release(ask: Ask, text: str) -> None:
    first = next(iter(ask("h100", error=text, packages={"vllm": "0.9.0"}).values()))
    assert (first.rule, first.fixes[0].action) == (NAME, "reinstall")
    assert first.fixes[0].spec == "==0.9.0"


def test_groundingdino_goes_on_without_its_extension(ask: Ask) -> None:
    found = ask("h100", error="NameError: name '_C' is not defined")[NAME]
    assert (found.fixes[0].action, found.fixes[0].package) == ("rebuild", "groundingdino")
