"""bnb-name-missing: where it fires, where not, and where the release is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "bnb-name-missing"
LATER = "AttributeError: module 'bitsandbytes.optim' has no attribute 'AdEMAMix'"  # from 0.44.0
GONE = "ModuleNotFoundError: No module named 'bitsandbytes.cuda_setup'"  # until 0.43.0
CALLED = (
    "Traceback (most recent call last):\n"
    '  File "/x/site-packages/axolotl/cli.py", line 4, in <module>\n'
)
UNKNOWN = {"bitsandbytes": None}


def test_a_name_of_later_releases_asks_for_one_that_fits_here(ask: Ask) -> None:
    found = ask("h100", error=LATER, packages={"bitsandbytes": "0.43.0"})
    fix = found[NAME].fixes[0]
    assert found[NAME].explains_error
    assert (fix.action, fix.package) == ("upgrade", "bitsandbytes")


def test_a_name_that_is_gone_blames_who_asks(ask: Ask) -> None:
    found = ask("h100", error=CALLED + GONE)[NAME]
    assert [(fix.action, fix.package) for fix in found.fixes] == [
        ("upgrade", "axolotl"),
        ("change-code", None),
        ("downgrade", "bitsandbytes"),
    ]


def test_bitsandbytes_asking_itself_is_of_two_releases(ask: Ask) -> None:
    text = CALLED.replace("axolotl/cli", "bitsandbytes/nn/modules") + LATER
    found = ask("h100", error=text, packages={"bitsandbytes": "0.43.0"})[NAME]
    assert (found.fixes[0].action, found.fixes[0].spec) == ("reinstall", "==0.43.0")


def test_of_an_unknown_release_the_history_decides(ask: Ask) -> None:
    later, gone = (ask("h100", error=text, packages=UNKNOWN)[NAME] for text in (LATER, GONE))
    assert (later.fixes[0].action, later.undecided) == ("upgrade", None)
    assert gone.fixes[0].action == "change-code"


def test_a_release_that_has_the_name_is_another_copy(ask: Ask) -> None:
    assert "another copy" in ask("h100", error=LATER)[NAME].title


def test_is_silent_on_what_every_release_has_and_without_a_text(ask: Ask) -> None:
    text = "AttributeError: module 'bitsandbytes' has no attribute 'MatmulLtState'"
    assert NAME not in ask("h100", error=text)
    assert NAME not in ask("h100")
