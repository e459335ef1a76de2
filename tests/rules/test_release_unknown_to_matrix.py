"""release-unknown-to-matrix: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "release-unknown-to-matrix"


def test_fires_on_a_release_that_is_not_in_the_data(ask: Ask) -> None:
    found = ask("h100", packages={"bitsandbytes": "99.0.0"})[NAME]
    assert found.severity == "note"
    assert "99.0.0" in found.title


def test_a_build_of_a_commit_is_not_the_release(ask: Ask) -> None:
    assert NAME in ask("h100", packages={"triton": "3.6.0+git7416ffcb"})


def test_is_silent_on_known_releases(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_is_silent_where_a_version_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("h100", packages={"bitsandbytes": "?"})


def test_a_release_can_be_learned_and_a_build_of_a_commit_cannot(ask: Ask) -> None:
    command = "python -m qdoctor matrix mine --only bitsandbytes==99.0.0"
    found = ask("h100", packages={"bitsandbytes": "99.0.0"})[NAME]
    assert command in [fix.command for fix in found.fixes]
    for version in ("3.6.0+git7416ffcb", "99.0.0.dev1"):
        fixes = ask("h100", packages={"triton": version})[NAME].fixes
        assert [fix.action for fix in fixes] == ["upgrade"]
