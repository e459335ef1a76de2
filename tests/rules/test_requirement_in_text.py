"""Requirements that a text says are broken: which way to go, and what is offered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdoctor.diagnosis import diagnose
from qdoctor.model import Facts, Finding

PIP = (
    "{asker} 1.2.3 requires {package}{spec}, but you have {package} {found} which is incompatible."
)
OWN = (
    "ImportError: {package}{spec} is required for a normal functioning of this module, "
    "but found {package}=={found}."
)
RELEASES = st.builds("{}.{}.{}".format, *[st.integers(0, 40)] * 3)


def explained(text: str) -> list[Finding]:
    return [one for one in diagnose(Facts(), error=text)[1] if one.explains_error]


@pytest.mark.parametrize("text", [PIP, OWN])
@pytest.mark.parametrize(
    ("package", "spec", "found", "rule", "action"),
    [
        ("accelerate", ">=0.26.0", "0.24.1", "accelerate-transformers-mismatch", "upgrade"),
        ("peft", ">=0.4.0", "0.3.0", "peft-too-old", "upgrade"),
        ("tokenizers", ">=0.14,<0.15", "0.13.3", "package-too-old", "upgrade"),
        (
            "huggingface-hub",
            ">=0.30.0,<1.0",
            "1.1.2",
            "accelerate-transformers-mismatch",
            "downgrade",
        ),
        ("trl", "<=0.9.6,>=0.8.6", "0.18.2", "accelerate-transformers-mismatch", "downgrade"),
    ],
)
def test_the_found_release_says_which_way(  # noqa: PLR0913, PLR0917 - a row of the table
    text: str, package: str, spec: str, found: str, rule: str, action: str
) -> None:
    told = explained(text.format(asker="llamafactory", package=package, spec=spec, found=found))[0]
    assert (told.rule, told.undecided) == (rule, None)
    fix = told.fixes[0]
    assert (fix.action, fix.package) == (action, package)
    assert found not in (fix.spec or "")


@given(low=RELEASES, found=RELEASES)
def test_a_floor_is_never_met_by_a_downgrade(low: str, found: str) -> None:
    text = OWN.format(package="safetensors", spec=f">={low}", found=found)
    first = explained(text)[0].fixes[0]
    older = tuple(map(int, found.split("."))) < tuple(map(int, low.split(".")))
    assert (first.action == "upgrade") == older


def test_who_requires_may_be_upgraded_instead() -> None:
    text = PIP.format(asker="autoawq", package="transformers", spec="<=4.47.1", found="4.49.0")
    told = explained(text)[0]
    assert [(fix.action, fix.package) for fix in told.fixes] == [
        ("downgrade", "transformers"),
        ("upgrade", "autoawq"),
    ]


def test_torch_and_triton_have_rules_of_their_own() -> None:
    torch = PIP.format(asker="xformers", package="torch", spec="==2.4.1", found="2.5.1")
    assert explained(torch)[0].rule == "extension-built-for-another-torch"
    pinned = PIP.format(asker="torch", package="triton", spec="==3.2.0", found="3.1.0")
    assert explained(pinned)[0].rule == "triton-pin-mismatch"


def test_what_is_not_installed_is_to_be_installed() -> None:
    told = explained("peft 0.17.1 requires transformers, which is not installed.")[0]
    assert (told.rule, told.fixes[0].action, told.fixes[0].package) == (
        "python-module-missing",
        "install",
        "transformers",
    )
