"""A command does what its action says, whatever is installed already."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from qdoctor.rules.remedies import pip

if TYPE_CHECKING:
    from qdoctor.model import Action


def words(action: Action, spec: str = "") -> list[str]:
    command = pip(action, "trl", spec, "why", verify="x").command
    return shlex.split(command or "")


def test_what_is_installed_does_not_keep_an_upgrade_from_happening() -> None:
    assert words("upgrade")[3:] == ["install", "--upgrade", "trl"]
    assert words("upgrade", ">=0.15")[3:] == ["install", "--upgrade", "trl>=0.15"]


def test_what_is_asked_for_is_installed_where_it_is_missing() -> None:
    assert words("install")[3:] == ["install", "trl"]
    assert words("downgrade", "<0.15")[3:] == ["install", "trl<0.15"]


def test_an_uninstall_takes_away() -> None:
    assert words("uninstall")[3:] == ["uninstall", "-y", "trl"]


@pytest.mark.parametrize("action", ["downgrade", "install-matching", "install-build", "rebuild"])
def test_no_command_where_only_a_person_knows_which_release(action: Action) -> None:
    fix = pip(action, "trl", "", "as old as the caller", verify="x")
    assert (fix.command, fix.applicability) == (None, "display-only")
    assert fix.package == "trl"


def test_a_package_of_the_system_is_no_package_of_the_index() -> None:
    assert pip("install-system", "ffmpeg", "", "it decodes", verify="x").command is None
