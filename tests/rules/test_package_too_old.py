"""package-too-old: the text itself asks for a newer release."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor.diagnosis import diagnose
from qdoctor.model import Facts, Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "package-too-old"
BNB = (
    "ValueError: 4 bit quantization requires bitsandbytes>=0.39.0 - please upgrade your "
    "bitsandbytes version"
)
TORCHAO = (
    "RuntimeError: The minimum required version of `torchao` is 0.7.0, but the current version is "
    "0.6.1. Please upgrade with `pip install -U torchao`."
)


def test_the_release_that_the_text_asks_for_is_offered(ask: Ask) -> None:
    found = ask("a100", error=BNB, packages={"bitsandbytes": "0.38.1"})[NAME]
    assert found.explains_error
    fix = found.fixes[0]
    assert (fix.action, fix.package, fix.spec) == ("upgrade", "bitsandbytes", ">=0.39.0")


def test_a_new_enough_one_is_not_seen_yet(ask: Ask) -> None:
    found = ask("a100", error=BNB, packages={"bitsandbytes": "0.43.1"})[NAME]
    assert [fix.action for fix in found.fixes] == ["restart-kernel"]


def test_the_package_is_taken_from_the_text(ask: Ask) -> None:
    fix = ask("a100", error=TORCHAO, packages={"torchao": "0.6.1"})[NAME].fixes[0]
    assert (fix.package, fix.spec) == ("torchao", ">=0.7.0")


def test_a_refusal_of_old_releases_is_told_from_that_of_later_ones(ask: Ask) -> None:
    told = "ValueError: You can't train a model that has been loaded in 8-bit precision on multiple"
    pair = "accelerate-transformers-mismatch"
    fix = ask("a100", error=f"{told} devices.")[pair].fixes[0]
    assert (fix.package, fix.spec) == ("accelerate", ">=0.20.0")
    for later in (f"{told} devices in any distributed mode.", f"{told} devices in"):
        assert not {NAME, pair} & set(ask("a100", error=later))


def test_is_silent_without_a_text(ask: Ask) -> None:
    assert NAME not in ask("a100", packages={"bitsandbytes": "0.38.1"})


MISSING = "ImportError: cannot import name '{}' from 'transformers'"


def pair(name: str, **packages: str) -> Finding:
    return diagnose(Facts(packages=packages), error=MISSING.format(name))[1][0]


def test_a_package_that_lacks_what_another_imports_is_too_old_for_it() -> None:
    found = pair("EncoderDecoderCache", transformers="4.39.3", peft="0.14.0")
    assert (found.rule, found.undecided) == (NAME, None)
    assert [(fix.action, fix.package) for fix in found.fixes] == [
        ("upgrade", "transformers"),
        ("downgrade", "peft"),
    ]
    assert found.fixes[1].spec == "<0.14.0"


def test_a_package_that_imports_what_is_gone_is_too_old_for_the_other() -> None:
    found = pair("HybridCache", transformers="5.5.0", peft="0.17.0")
    assert (found.rule, found.undecided) == (NAME, None)
    assert [(fix.action, fix.package, fix.spec) for fix in found.fixes] == [
        ("upgrade", "peft", ">=0.18.0"),
        ("downgrade", "transformers", "<5.0.0"),
    ]


def test_a_release_that_does_not_import_the_name_is_not_named() -> None:
    for own in ("0.15.2", "0.18.0"):
        assert pair("HybridCache", transformers="5.5.0", peft=own).rule != NAME
    assert pair("EncoderDecoderCache", transformers="4.39.3").rule != NAME


@pytest.mark.parametrize(
    ("name", "module", "packages", "offers"),
    [
        (
            "shard_checkpoint",
            "transformers.modeling_utils",
            {"transformers": "4.47.1", "autoawq": "0.2.5"},
            [("upgrade", "autoawq", ">=0.2.7"), ("downgrade", "transformers", "<4.47.1")],
        ),
        (
            "top_k_top_p_filtering",
            "transformers",
            {"transformers": "4.40.0", "trl": "0.7.11"},
            [("upgrade", "trl", ">=0.8.6"), ("downgrade", "transformers", "<4.39.3")],
        ),
        (
            "PartialState",
            "accelerate",
            {"accelerate": "0.16.0", "trl": "0.7.11"},
            [("upgrade", "accelerate", ">=0.17.1"), ("downgrade", "trl", "<0.7.11")],
        ),
    ],
)
def test_what_released_files_import_settles_two_stated_releases(
    name: str, module: str, packages: dict[str, str], offers: list[tuple[str, str, str]]
) -> None:
    text = f"ImportError: cannot import name '{name}' from '{module}'"
    found = diagnose(Facts(packages=packages), error=text)[1][0]
    assert (found.rule, found.undecided) == (NAME, None)
    assert [(fix.action, fix.package, fix.spec) for fix in found.fixes] == offers


def test_accelerate_and_transformers_have_a_rule_of_their_own() -> None:
    text = "ImportError: cannot import name 'skip_first_batches' from 'accelerate'"
    facts = Facts(packages={"accelerate": "0.15.0", "transformers": "4.30.2"})
    assert diagnose(facts, error=text)[1][0].rule == "accelerate-transformers-mismatch"


def test_a_traceback_that_shows_another_asker_counts() -> None:
    called = 'File "/x/site-packages/optimum/exporters/base.py", line 3, in <module>'
    text = f"{called}\n{MISSING.format('top_k_top_p_filtering')}"
    facts = Facts(packages={"transformers": "4.40.0", "trl": "0.7.11"})
    assert diagnose(facts, error=text)[1][0].rule != NAME


def test_where_the_installed_release_has_the_name_neither_is_too_old() -> None:
    assert pair("HybridCache", transformers="4.50.0", peft="0.17.0").rule != NAME


@pytest.mark.parametrize("owner", ["ForgeParams4bit", "Params4bit"])
def test_what_a_weight_of_four_bits_came_to_have(owner: str) -> None:
    found = diagnose(Facts(), error=f"'{owner}' object has no attribute 'quant_storage'")[1][0]
    assert (found.rule, found.fixes[0].package) == (NAME, "bitsandbytes")
    assert (found.fixes[0].action, found.fixes[0].spec) == ("upgrade", ">=0.43.0")


def test_a_node_names_the_library_that_it_goes_with() -> None:
    text = (
        "ComfyUI-nunchaku 0.3.3 is not compatible with nunchaku 0.3.2. "
        "Please update nunchaku to a supported version in ['v0.3.3']"
    )
    fix = diagnose(Facts(), error=text)[1][0].fixes[0]
    assert (fix.package, fix.spec) == ("nunchaku", ">=0.3.3")


def test_a_release_that_a_text_fails_to_fill_in_is_left_open() -> None:
    text = "Found an incompatible version of auto-gptq. Found version 0.4.2, but only versions "
    found = diagnose(Facts(), error=text + "above {AUTOGPTQ_MINIMUM_VERSION} are supported")[1]
    fix = found[0].fixes[0]
    assert (fix.action, fix.package, fix.spec) == ("upgrade", "auto-gptq", "")


def test_flashinfer_asks_for_parts_of_its_own_release() -> None:
    text = "flashinfer-cubin version (0.6.13) does not match flashinfer version (0.6.14)."
    fix = diagnose(Facts(), error=text)[1][0].fixes[0]
    assert (fix.package, fix.spec) == ("flashinfer-cubin", ">=0.6.14")
