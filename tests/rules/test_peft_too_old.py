"""peft-too-old: where it fires, where not, and where the release is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "peft-too-old"
MERGE = "AttributeError: 'PeftModelForCausalLM' object has no attribute 'merge_and_unload'"
CONFIG = "TypeError: LoraConfig.__init__() got an unexpected keyword argument 'corda_config'"
IMPORT = "ImportError: cannot import name 'prepare_model_for_kbit_training' from 'peft' (/x/peft)"


def test_a_method_of_later_releases_asks_for_an_upgrade(ask: Ask) -> None:
    found = ask("h100", error=MERGE, packages={"peft": "0.2.0"})[NAME]
    assert (found.severity, found.explains_error) == ("error", True)
    assert (found.fixes[0].action, found.fixes[0].spec) == ("upgrade", ">=0.3.0")


def test_a_setting_that_a_newer_peft_wrote_asks_for_that_peft(ask: Ask) -> None:
    found = ask("h100", error=CONFIG, packages={"peft": "0.13.0"})
    assert next(iter(found)) == NAME
    assert found[NAME].fixes[0].spec == ">=0.15.0"


def test_an_unknown_release_is_too_old_where_no_later_one_lost_the_name(ask: Ask) -> None:
    found = ask("h100", error=IMPORT)[NAME]
    assert (found.fixes[0].action, found.undecided) == ("upgrade", None)


def test_a_release_that_has_it_means_another_copy_runs(ask: Ask) -> None:
    found = ask("h100", error=MERGE, packages={"peft": "0.12.0"})
    assert NAME not in found
    shadowing = found["stale-package-shadowing"]
    assert shadowing.explains_error
    assert [fix.action for fix in shadowing.fixes] == ["restart-kernel", "reinstall"]


def test_is_silent_on_other_attributes_and_without_a_text(ask: Ask) -> None:
    assert NAME not in ask("h100", error="'PeftModel' object has no attribute 'paint'")
    assert NAME not in ask("h100", packages={"peft": "0.2.0"})


def test_quantized_layers_that_peft_does_not_know(ask: Ask) -> None:
    text = "ValueError: Target module Linear4bit(in_features=8, out_features=8) is not supported."
    old = ask("h100", error=text, packages={"peft": "0.3.0"})[NAME]
    assert (old.fixes[0].action, old.fixes[0].spec) == ("upgrade", ">=0.4.0")
    new = ask("h100", error=text, packages={"peft": "0.12.0"})[NAME]
    assert new.fixes[0].action == "run"


def test_a_setting_that_bitsandbytes_lost(ask: Ask) -> None:
    text = "AttributeError: 'MatmulLtState' object has no attribute 'memory_efficient_backward'"
    found = ask("h100", error=text, packages={"peft": "0.9.0"})[NAME]
    assert [(one.package, one.spec) for one in found.fixes] == [
        ("peft", ">=0.14.0"),
        ("bitsandbytes", "<0.45"),
    ]
