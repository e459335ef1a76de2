"""Names of Hugging Face's packages and triton's keywords that came or went, in error texts."""

from __future__ import annotations

import pytest
from packaging.version import Version

from qdoctor.diagnosis import diagnose
from qdoctor.matrix import shipped
from qdoctor.model import Facts, Finding

IMPORT = "ImportError: cannot import name '{}' from '{}'"
MEMBER = "AttributeError: '{}' object has no attribute '{}'"
CALL = "TypeError: {}() got an unexpected keyword argument '{}'"


def explained(text: str, **packages: str) -> list[Finding]:
    found = diagnose(Facts(packages=packages or None), error=text)[1]
    return [one for one in found if one.explains_error]


def offers(found: Finding) -> list[tuple[str, str | None, str | None]]:
    return [(fix.action, fix.package, fix.spec) for fix in found.fixes]


@pytest.mark.parametrize(
    ("text", "packages", "rule", "offer"),
    [
        (
            IMPORT.format("is_flash_attn_greater_or_equal_2_10", "transformers.utils"),
            {"transformers": "4.30.0"},
            "accelerate-transformers-mismatch",
            ("upgrade", "transformers", ">=4.36.2"),
        ),
        (
            IMPORT.format("top_k_top_p_filtering", "transformers"),
            {"transformers": "4.50.0"},
            "accelerate-transformers-mismatch",
            ("downgrade", "transformers", "<4.39.3"),
        ),
        (
            CALL.format("jit", "launch_metadata"),
            {"triton": "2.1.0"},
            "triton-too-old-for-package",
            ("upgrade", "triton", ">=3.0.0"),
        ),
        (
            CALL.format("do_bench", "percentiles"),
            {"triton": "3.0.0"},
            "triton-api-moved-other",
            ("downgrade", "triton", "<2.1.0"),
        ),
    ],
)
def test_the_installed_release_decides(
    text: str, packages: dict[str, str], rule: str, offer: tuple[str, str, str]
) -> None:
    found = explained(text, **packages)[0]
    assert (found.rule, found.undecided) == (rule, None)
    assert offer in offers(found)


def test_a_keyword_of_triton_brings_its_torch_along() -> None:
    found = explained(CALL.format("jit", "launch_metadata"), triton="2.1.0")[0]
    assert ("upgrade", "torch", ">=2.4.0") in offers(found)


def test_a_name_that_the_installed_release_has_accuses_another_copy() -> None:
    text = IMPORT.format("is_flash_attn_greater_or_equal_2_10", "transformers.utils")
    assert explained(text, transformers="4.50.0")[0].rule == "stale-package-shadowing"


def test_an_instance_that_lacks_what_its_class_may_have_accuses_no_copy() -> None:
    text = MEMBER.format("LlamaForCausalLM", "hf_device_map")
    rules = [one.rule for one in explained(text, transformers="4.50.0")]
    assert "stale-package-shadowing" not in rules


def test_a_function_that_nobody_knows_is_not_explained() -> None:
    assert not explained(CALL.format("paint", "colour"))
    call = 'File "/x/site-packages/peft/model.py", line 3, in paint'
    found = explained(f"{call}\n{CALL.format('paint', 'colour')}")[0]
    assert (found.rule, found.fixes[0].action) == ("api-keyword-renamed", "change-code")
    assert not explained(MEMBER.format("Painter", "colour"))


WENT = [
    (owner, name)
    for owner, row in shipped().table("hub_names")["rows"]["transformers"]["members"].items()
    for names in row["went"].values()
    for name in names
    if not name.startswith("_") and any(name in came for came in row["came"].values())
]
MODULES = shipped().table("hub_names")["rows"]["transformers"]["imports"].values()


def born(owner: str) -> str | None:
    """Return the release in which a class is first seen in any module."""
    came = [one for module in MODULES for one, names in module["came"].items() if owner in names]
    return min(came, key=Version, default=None)


@pytest.mark.parametrize(("owner", "name"), WENT[:: max(1, len(WENT) // 60)])
def test_a_class_that_a_text_names_is_no_release_from_before_it(owner: str, name: str) -> None:
    """What came with its class and went, went: the class is there."""
    row = shipped().table("hub_names")["rows"]["transformers"]["members"][owner]
    came = next(release for release, names in row["came"].items() if name in names)
    found = explained(MEMBER.format(owner, name))
    upgrades = [one for one in offers(found[0]) if one[0] == "upgrade"] if found else []
    if born(owner) == came and found and found[0].rule == "api-keyword-renamed":
        assert "transformers" not in {package for _, package, _ in upgrades}


def test_a_cache_without_a_method_that_it_was_made_with_is_too_new() -> None:
    found = explained(MEMBER.format("DynamicCache", "get_max_length"))[0]
    assert (found.undecided, offers(found)[0][:2]) == (None, ("downgrade", "transformers"))


@pytest.mark.parametrize(
    "text",
    [
        "AttributeError: BertTokenizer has no attribute batch_encode_plus. Did you mean: 'x'?",
        "BertTokenizer' object has no attribute 'batch_encode_plus",
        "AttributeError: BertTokenizer object has no attribute batch_encode_plus",
    ],
)
def test_quotes_that_are_not_there_hide_no_name(text: str) -> None:
    found = explained(text, transformers="5.5.0")[0]
    assert found.rule == "api-keyword-renamed"
    assert ("downgrade", "transformers", "<5.0.0") in offers(found)


def test_a_class_that_lacks_what_its_namesakes_have_is_code_of_another_time() -> None:
    text = MEMBER.format("BirdConfig", "get_text_config")
    found = explained(text, transformers="4.49.0")[0]
    assert (found.rule, found.fixes[0].action) == ("api-keyword-renamed", "change-code")
    part = explained(MEMBER.format("LlamaAttention", "colour"))[0]
    assert (part.rule, part.fixes[0].action) == ("api-keyword-renamed", "change-code")
    assert not explained(MEMBER.format("Attentive", "colour"))


def test_a_value_of_pythons_own_is_the_programs_business() -> None:
    found = explained(MEMBER.format("NoneType", "device"))
    assert [one.rule for one in found] == ["not-environment"]


def test_a_model_that_later_releases_know() -> None:
    text = "KeyError: 'llama4'"
    found = explained(text, transformers="4.40.0")[0]
    assert (found.rule, offers(found)[0]) == (
        "package-too-old",
        ("upgrade", "transformers", ">=4.51.3"),
    )


def test_a_model_that_the_installed_release_knows_is_not_its_fault() -> None:
    rules = [one.rule for one in explained("KeyError: 'llama4'", transformers="4.57.3")]
    assert rules == ["not-environment"]


def test_a_package_is_named_as_pip_knows_it() -> None:
    text = IMPORT.format("WQLinear_GEMVFast", "awq.modules.linear")
    found = explained(text, autoawq="0.1.8")[0]
    assert found.rule == "api-keyword-renamed"
    assert ("upgrade", "autoawq", ">=0.2.3") in offers(found)


def test_a_module_that_went_is_there_up_to_the_last_release_that_had_it() -> None:
    text = "ModuleNotFoundError: No module named 'vllm.model_executor.parallel_utils'"
    found = explained(text, vllm="0.6.2")[0]
    assert offers(found) == [("downgrade", "vllm", "<=0.3.3")]


@pytest.mark.parametrize(
    ("name", "offer"),
    [
        ("cached_path", ("downgrade", "transformers", "<4.23.1")),
        ("AutoModelWithLMHead", ("downgrade", "transformers", "<5.0.0")),
        ("AutoModelForSeq2SeqLM", ("upgrade", "transformers", ">=3.0.2")),
    ],
)
def test_what_old_releases_had_or_lacked(name: str, offer: tuple[str, str, str]) -> None:
    assert offers(explained(IMPORT.format(name, "transformers"))[0])[0] == offer


def test_what_a_models_part_held_once_is_gone() -> None:
    text = MEMBER.format("LlamaAttention", "rotary_emb")
    found = explained(text)[0]
    assert (found.rule, offers(found)[0]) == (
        "api-keyword-renamed",
        ("downgrade", "transformers", "<4.48.0"),
    )
    module = "transformers.models.bloom.modeling_bloom"
    moved = explained(IMPORT.format("_expand_mask", module))[0]
    assert offers(moved)[0] == ("downgrade", "transformers", "<4.35.2")


def test_of_an_unknown_release_the_likelier_side_comes_first() -> None:
    module = "transformers.models.llama.modeling_llama"
    found = explained(IMPORT.format("LlamaFlashAttention2", module))[0]
    assert [offer[0] for offer in offers(found)] == ["downgrade", "upgrade"]


def test_a_name_of_no_module_is_looked_for_where_classes_are_known() -> None:
    found = diagnose(Facts(), error="ImportError: cannot import name 'EncoderDecoderCache'")[1]
    assert found[0].explains_error
    assert (found[0].fixes[0].action, found[0].fixes[0].package) == ("upgrade", "transformers")


def test_a_name_that_nobody_knows_is_not_explained() -> None:
    found = diagnose(Facts(), error="ImportError: cannot import name 'no_such_name_at_all'")[1]
    assert not [one for one in found if one.explains_error]


def test_a_class_of_several_packages_is_the_installed_ones() -> None:
    text = "AttributeError: 'BitsAndBytesConfig' object has no attribute 'load_in_4bit'"
    assert diagnose(Facts(), error=text)[1][0].fixes[0].package == "transformers"
    installed = Facts(packages={"diffusers": "0.30.0"})
    assert diagnose(installed, error=text)[1][0].fixes[0].package == "diffusers"


def test_a_name_that_is_called_after_its_package_needs_no_module() -> None:
    text = "ImportError: cannot import name 'flash_attn_unpadded_qkvpacked_func'"
    found = diagnose(Facts(), error=text)[1][0]
    assert (found.rule, found.fixes[0].package) == ("api-keyword-renamed", "flash-attn")
    other = "ImportError: cannot import name 'get_model'"
    assert diagnose(Facts(), error=other)[1] == []
