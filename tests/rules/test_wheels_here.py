"""Which releases an installer finds here, and how its refusals are answered by that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

BARE: dict[str, Any] = {"packages": {"torch": None, "triton": None, "bitsandbytes": None}}
REFUSED = "plan-does-not-install"
TRITON = "triton-missing-for-python"
PLATFORM = "bnb-platform-unsupported"


def refused(package: str, versions: str = "none") -> str:
    """What pip prints where it finds no release of ``package``."""
    return (
        f"ERROR: Could not find a version that satisfies the requirement {package} "
        f"(from versions: {versions})\nERROR: No matching distribution found for {package}"
    )


def answer(ask: Ask, text: str, system: str, machine: str | None, python: str) -> Finding:
    host = {"os": system, "machine": machine, "libc": None}
    found = ask("a100", error=text, host=host, python={"version": python}, native=None, **BARE)
    return next(iter(found.values()))


@pytest.mark.parametrize(
    ("machine", "python", "spec", "last"),
    [("aarch64", "3.10", ">=3.5.0,<3.9.0", "rebuild"), ("x86_64", "3.13", ">=3.2.0", "use-python")],
)
def test_a_triton_without_a_wheel_here_is_answered_by_the_nearest_that_has_one(
    machine: str, python: str, spec: str, last: str, ask: Ask
) -> None:
    first = answer(ask, refused("triton==2.0.0"), "linux", machine, python)
    assert (first.rule, first.fixes[0].spec, first.fixes[-1].action) == (TRITON, spec, last)


def test_a_triton_that_has_a_wheel_here_is_not_called_missing(ask: Ask) -> None:
    found = answer(ask, refused("triton==2.0.0"), "linux", "x86_64", "3.10")
    assert not found.explains_error


@pytest.mark.parametrize(
    ("system", "machine", "spec"),
    [
        ("macos", "arm64", ">=0.49.0"),
        ("linux", "aarch64", ">=0.46.0"),
        ("windows", "x86_64", ">=0.43.0"),
    ],
)
def test_a_bitsandbytes_for_other_systems_is_answered_by_one_made_for_this(
    system: str, machine: str, spec: str, ask: Ask
) -> None:
    first = answer(ask, refused("bitsandbytes==0.41.0"), system, machine, "3.10")
    assert (first.rule, first.fixes[0].spec) == (PLATFORM, spec)


@pytest.mark.parametrize("machine", ["x86_64", None])
def test_where_the_platform_is_served_something_else_is_refused(
    machine: str | None, ask: Ask
) -> None:
    for system in ("linux", "windows"):
        first = answer(ask, refused("bitsandbytes>=0.45"), system, machine, "3.10")
        assert first.rule == REFUSED


@pytest.mark.parametrize(
    ("package", "versions", "spec"),
    [
        ("xformers==0.0.16", "0.0.1, 0.0.28.post1, 0.0.29", "==0.0.28.post1"),
        ("decord>=1.0", "0.5.2, 0.6.0", "==0.6.0"),
        ("torch==1.13.1", "2.0.0, 2.0.1", "==2.0.0"),
    ],
)
def test_what_the_installer_lists_is_there_to_take(
    package: str, versions: str, spec: str, ask: Ask
) -> None:
    text = refused(package, versions)
    found = ask("a100", error=text, python=None, host={"machine": None}, **BARE)[REFUSED]
    assert found.fixes[0].spec == spec


ADDRESS = (
    "error: Failed to determine installation plan\n  Caused by: A URL dependency is "
    "incompatible with the current platform: https://index.example/flash_attn-2.8.3%2Bcu12torch2.8-cp312-cp312-"
    "linux_x86_64.whl"
)
BROKEN = "ERROR: Wheel 'flash-attn' located at /x/flash_attn-2.7.0.whl is invalid."


@pytest.mark.parametrize(("text", "action"), [(ADDRESS, "install-matching"), (BROKEN, "install")])
def test_a_wheel_that_is_no_wheel_here_is_named(text: str, action: str, ask: Ask) -> None:
    found = ask("a100", error=text)[REFUSED]
    assert found.explains_error
    assert (found.fixes[0].action, found.fixes[0].package) == (action, "flash-attn")
