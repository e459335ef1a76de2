"""plan-does-not-install: where it fires, what it offers, and where not."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from qdoctor.diagnosis import diagnose
from qdoctor.doctor import examine
from qdoctor.model import Facts
from qdoctor.question import Question

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdoctor.model import Finding, Report

    Ask = Callable[..., dict[str, Finding]]

NAME = "plan-does-not-install"


def report(*specs: str, **options: str) -> Report:
    question = Question(facts_file="-", specs=specs, bare=True, gpu="sm_80", **options)  # type: ignore[arg-type]
    return examine(question, stdin=io.BytesIO(b"{}"))


def findings(*specs: str, python: str = "3.11", platform: str = "linux_x86_64") -> list[Finding]:
    found = report(*specs, python_version=python, platform=platform).findings
    return [one for one in found if one.rule == NAME]


def test_a_plan_that_installs_is_not_reported() -> None:
    assert findings("torch==2.9.1", "bitsandbytes==0.48.2") == []


def test_no_wheel_for_the_python_names_the_nearest_release_that_has_one() -> None:
    """torch 2.0.1 has wheels for Python 3.8 to 3.11; 2.2.0 is the first one with 3.12."""
    (found,) = findings("torch==2.0.1", python="3.12")
    assert found.severity == "error"
    assert "has no wheel for Python 3.12" in found.title
    assert [fix.spec for fix in found.fixes] == ["==2.2.0"]


def test_no_wheel_for_the_platform() -> None:
    """triton is published for Linux alone, so no release of it is near."""
    (found,) = findings("triton==3.5.1", platform="win_amd64")
    assert "has no wheel for windows x86_64" in found.title
    assert found.fixes == []


def test_a_c_library_older_than_the_wheels_tag() -> None:
    """torch 2.9.1 is tagged manylinux_2_28; 2.6.0, tagged manylinux1, is the last one before."""
    (found,) = findings("torch==2.9.1", platform="manylinux2014_x86_64")
    assert "needs glibc 2.28" in found.title
    assert [fix.spec for fix in found.fixes] == ["==2.6.0"]


def test_contradicting_pins_offer_the_one_that_is_required() -> None:
    (found,) = findings("torch==2.0.1", "triton==2.1.0")
    assert "torch 2.0.1 requires triton==2.0.0" in found.title
    assert [(fix.package, fix.spec) for fix in found.fixes] == [("triton", "==2.0.0")]


def test_a_release_that_is_not_known_is_not_refused() -> None:
    assert findings("torch==99") == []


def test_a_build_with_a_tag_is_sent_to_torch_s_own_index(ask: Ask) -> None:
    text = "ERROR: No matching distribution found for torch==2.1.0+cu118"
    first = ask("h100", text, python={"version": "3.10"}, packages={"torch": None})[NAME].fixes[0]
    assert (first.action, first.spec, first.index) == ("install-build", "==2.1.0", "cu118")


def test_a_python_without_wheels_gets_the_nearest_release_that_has_some(ask: Ask) -> None:
    text = "ERROR: No matching distribution found for torch==1.13.1"
    found = ask("h100", text, python={"version": "3.11"}, packages={"torch": None})[NAME]
    assert found.explains_error
    assert found.fixes[-2].action == "use-python"


def test_a_wheel_of_another_python_is_to_be_replaced_by_the_matching_one(ask: Ask) -> None:
    text = "ERROR: flash_attn-2.7.4-cp311-cp311-linux_x86_64.whl is not a supported wheel on this"
    found = ask("h100", f"{text} platform.")[NAME]
    first = found.fixes[0]
    assert (first.action, first.package) == ("install-matching", "flash-attn")


def test_cuda_s_packages_are_left_out_where_there_is_no_wheel(ask: Ask) -> None:
    text = "ERROR: No matching distribution found for nvidia-cudnn-cu12==8.9.2.26"
    assert ask("h100", text, host={"os": "windows"})[NAME].fixes[0].action == "change-code"


def test_pip_that_takes_the_archive_without_torch_found_no_wheel(ask: Ask) -> None:
    text = "Collecting torch\n  Using cached torch-0.1.2.post2.tar.gz (128 kB)"
    fixes = ask("h100", error=text, python={"version": None})[NAME].fixes
    assert fixes[0].package == "torch"
    assert "None" not in fixes[0].why


def test_a_package_that_needs_rust_has_no_wheel_for_this_python(ask: Ask) -> None:
    found = ask("h100", error="error: can't find Rust compiler")[NAME]
    assert found.explains_error
    assert found.fixes[0].action == "use-python"


def test_the_name_that_conda_has_for_torch_is_torch(ask: Ask) -> None:
    text = "ERROR: No matching distribution found for pytorch==2.0.1"
    found = ask("a100", error=text, packages={"torch": None}, torch_cuda=None)[NAME]
    assert found.fixes[0].package == "torch"


def test_uv_says_that_a_build_is_in_no_index_that_it_asked(ask: Ask) -> None:
    text = "Because there is no version of torch==2.4.0+cu124 and your project depends on it"
    fix = ask("a100", error=text, packages={"torch": None}, torch_cuda=None)[NAME].fixes[0]
    assert (fix.action, fix.package) == ("install-build", "torch")


def test_requirements_that_contradict_each_other_are_loosened_first() -> None:
    text = "No solution found when resolving dependencies: a depends on torch==2.5.1, b on 2.4.0"
    found = diagnose(Facts(), error=text)[1][0]
    assert (found.rule, "contradict" in found.title) == (NAME, True)
    assert [fix.action for fix in found.fixes] == ["change-code", "use-python"]


def test_the_systems_own_python_takes_packages_in_an_environment_only(ask: Ask) -> None:
    found = ask("h100", error="error: externally-managed-environment")[NAME]
    assert found.explains_error
    assert found.fixes[0].name == "python3 -m venv"
