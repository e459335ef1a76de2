"""peft-fork-incompatible: where it fires, where not, and where no package is stated."""

from __future__ import annotations

from qdoctor.diagnosis import diagnose
from qdoctor.model import Facts

NAME = "peft-fork-incompatible"
TEXT = "ValueError: You cannot perform fine-tuning on purely quantized models."


def rules(text: str | None = TEXT, **packages: str) -> list[str]:
    return [one.rule for one in diagnose(Facts(packages=packages or None), error=text)[1]]


def test_no_peft_beside_transformers_and_bitsandbytes() -> None:
    packages = {"transformers": "4.37.0", "bitsandbytes": "0.42.0"}
    found = diagnose(Facts(packages=packages), error=TEXT)[1][0]
    assert (found.rule, found.fixes[0].action) == (NAME, "downgrade")
    assert found.fixes[0].package == "transformers"


def test_a_stated_peft_acquits() -> None:
    assert NAME not in rules(transformers="4.37.0", bitsandbytes="0.42.0", peft="0.7.0")


def test_says_nothing_where_no_package_is_stated() -> None:
    assert NAME not in rules()


def test_is_silent_without_the_text() -> None:
    assert NAME not in rules(None, transformers="4.37.0", bitsandbytes="0.42.0")
