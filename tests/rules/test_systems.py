"""Whatever the text: no system is offered what it cannot have."""

from __future__ import annotations

import pytest

from qdoctor.diagnosis import diagnose
from qdoctor.matrix import shipped
from qdoctor.model import Facts, Finding, Fix, Host

TEXTS = [
    (row["id"], text)
    for row in shipped().table("signatures")["rows"]
    for text in row["examples"][:1]
]
PACKAGES = {"torch": "2.1.2", "bitsandbytes": "0.41.1", "transformers": "4.33.1"}


def offered(system: str, text: str, machine: str, packages: dict[str, str] | None) -> list[Fix]:
    facts = Facts(host=Host(os=system, machine=machine), packages=packages)
    found: list[Finding] = diagnose(facts, error=text)[1]
    return [fix for one in found for fix in one.fixes]


@pytest.mark.parametrize(("row", "text"), TEXTS, ids=[row for row, _ in TEXTS])
@pytest.mark.parametrize("packages", [None, PACKAGES], ids=["bare", "stated"])
def test_a_mac_is_offered_no_build_with_cuda(
    row: str, text: str, packages: dict[str, str] | None
) -> None:
    fixes = offered("macos", text, "arm64", packages)
    assert [fix for fix in fixes if (fix.index or "").startswith("cu")] == [], row


@pytest.mark.parametrize(("row", "text"), TEXTS, ids=[row for row, _ in TEXTS])
def test_windows_is_offered_no_command_of_linux(row: str, text: str) -> None:
    commands = [fix.command or "" for fix in offered("windows", text, "x86_64", PACKAGES)]
    assert [one for one in commands if "apt-get" in one or "ldconfig" in one] == [], row
