"""A C library older than all wheels that were asked for: glibc-too-old, and what helps there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "glibc-too-old"
BARE: dict[str, Any] = {"packages": {"torch": None, "triton": None, "bitsandbytes": None}}


def first(ask: Ask, wanted: str, libc: str | None, machine: str | None = None) -> Finding:
    host = {"os": "linux", "machine": machine, "libc": libc}
    text = f"ERROR: No matching distribution found for {wanted}"
    return next(iter(ask("a100", error=text, host=host, native=None, **BARE).values()))


@pytest.mark.parametrize("machine", [None, "x86_64"])
@pytest.mark.parametrize(
    ("wanted", "libc", "fix"),
    [
        ("bitsandbytes>=0.44.0", "2.17", "upgrade-os 2.24"),
        ("bitsandbytes==0.46.1", "2.23", "downgrade 2.24"),
        ("torch>=2.9.0", "2.17", "upgrade-os 2.28"),
        ("vllm==0.12.0", "2.26", "upgrade 2.31"),
    ],
)
def test_a_libc_older_than_every_wheel_asked_for_is_the_cause(
    wanted: str, libc: str, fix: str, machine: str | None, ask: Ask
) -> None:
    found = first(ask, wanted, f"glibc {libc}", machine)
    assert (found.rule, found.explains_error) == (NAME, True)
    assert libc in found.title
    action, floor = fix.split()
    assert found.fixes[0].action == action
    newer = next(one for one in found.fixes if one.action == "upgrade-os")
    assert f"glibc {floor}" in newer.why
    assert "rebuild" in {one.action for one in found.fixes}


def test_a_triton_is_kept_away_by_the_libc_as_well(ask: Ask) -> None:
    found = first(ask, "triton==3.4.0", "glibc 2.17")
    assert found.rule == NAME
    assert found.fixes[0].action == "downgrade"


def test_an_installer_that_names_no_text_of_pip_is_understood_too(ask: Ask) -> None:
    text = "Because bitsandbytes==0.45.0 has no wheels with a matching platform tag (e.g. `x`)"
    host = {"os": "linux", "machine": None, "libc": "glibc 2.17"}
    assert next(iter(ask("a100", error=text, host=host, native=None, **BARE))) == NAME


@pytest.mark.parametrize("libc", ["glibc 2.35", None])
def test_another_libc_keeps_nothing_away(libc: str | None, ask: Ask) -> None:
    assert first(ask, "bitsandbytes>=0.44.0", libc).rule != NAME


def test_releases_for_every_platform_are_found_whatever_the_libc(ask: Ask) -> None:
    assert first(ask, "bitsandbytes==0.42.0", "glibc 2.17").rule != NAME
