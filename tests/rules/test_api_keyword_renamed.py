"""api-keyword-renamed: where it fires, where not, and where the release is unknown."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from qdoctor.diagnosis import diagnose
from qdoctor.matrix import shipped
from qdoctor.model import Facts, Finding, Python
from qdoctor.rules.signatures import recognize

Ask = Callable[..., dict[str, Finding]]

NAME = "api-keyword-renamed"
TEXT = "TypeError: {}() got an unexpected keyword argument '{}'"
ROWS = shipped().table("api_names")["rows"]


def first(error: str, **packages: str) -> Finding:
    return diagnose(Facts(packages=packages or None), error=error)[1][0]


def test_a_release_before_the_keyword_is_to_be_upgraded() -> None:
    found = first(TEXT.format("__init__", "load_in_8bit"), transformers="4.21.3")
    assert (found.rule, found.severity) == (NAME, "error")
    assert (found.fixes[0].action, found.fixes[0].spec) == ("upgrade", ">=4.22.0,<5.0.0")


def test_a_release_after_the_keyword_asks_for_other_code_first() -> None:
    found = first(TEXT.format("LlamaForCausalLM.__init__", "load_in_4bit"), transformers="5.1.0")
    assert [fix.action for fix in found.fixes] == ["change-code", "downgrade"]
    assert "BitsAndBytesConfig" in found.fixes[0].why


def test_a_release_that_has_it_means_another_copy_runs() -> None:
    found = first(TEXT.format("__init__", "load_in_8bit"), transformers="4.40.0")
    assert found.fixes[0].action == "restart-kernel"


def test_a_class_newer_than_the_keyword_gives_the_release_away() -> None:
    found = first(TEXT.format("Qwen2ForCausalLM.__init__", "load_in_4bit"))
    assert (found.fixes[0].action, found.undecided) == ("change-code", None)


def test_a_text_without_the_class_comes_from_an_older_python() -> None:
    found = first(TEXT.format("__init__", "load_in_4bit"))
    assert (found.fixes[0].action, found.undecided) == ("upgrade", None)


def test_a_known_newer_python_takes_that_hint_away() -> None:
    facts = Facts(python=Python(version="3.12.1"))
    found = diagnose(facts, error=TEXT.format("__init__", "load_in_4bit"))[1][0]
    assert [fix.action for fix in found.fixes] == ["change-code", "upgrade", "downgrade"]


def test_an_unknown_release_offers_both_ways() -> None:
    found = first(TEXT.format("LlamaForCausalLM.__init__", "load_in_4bit"))
    assert [fix.action for fix in found.fixes] == ["change-code", "upgrade", "downgrade"]


def test_a_keyword_that_never_was_is_called_otherwise() -> None:
    found = first(TEXT.format("__init__", "load_in_8bit_fp32_cpu_offload"))
    assert (found.rule, [fix.action for fix in found.fixes]) == (NAME, ["change-code"])
    assert "llm_int8_enable_fp32_cpu_offload" in found.fixes[0].why


def test_is_silent_on_a_keyword_of_someone_elses() -> None:
    found = diagnose(Facts(python=Python(version="3.11")), error=TEXT.format("f", "colour"))[1]
    assert found == []


def test_is_silent_without_a_text(ask: Ask) -> None:
    assert NAME not in ask("h100", packages={"transformers": "4.21.3"})


@pytest.mark.parametrize("row", ROWS, ids=[f"{row['kind']}-{row['name']}" for row in ROWS])
def test_every_name_of_the_table_is_recognized(row: dict[str, str]) -> None:
    texts = {
        "keyword": TEXT.format("__init__", row["name"]),
        "attribute": f"AttributeError: 'PeftModel' object has no attribute '{row['name']}'",
        "import": f"ImportError: cannot import name '{row['name']}' from '{row['package']}' (/x)",
    }
    signals = recognize(texts[row["kind"]], shipped())
    assert [row["rule"] in one.rules for one in signals] == [True]
    assert row["name"] in signals[0].said.values()


def test_a_call_without_what_this_release_asks_for_is_of_another() -> None:
    text = "TypeError: {}() missing 1 required positional argument: '{}'"
    found = first(text.format("LlamaRotaryEmbedding.__init__", "config"))
    assert (found.rule, found.fixes[0].action) == (NAME, "change-code")
    own = first(text.format("forward", "x"))
    assert own.rule == "not-environment"


def test_names_of_packages_beside_hugging_faces() -> None:
    text = "ImportError: cannot import name '{}' from 'flash_attn'"
    newer = first(text.format("flash_attn_varlen_func"))
    assert (newer.fixes[0].action, newer.fixes[0].spec) == ("upgrade", ">=2.0.0")
    gone = first(text.format("flash_attn_unpadded_func"))
    assert gone.fixes[0].action == "change-code"
    unknown = first(text.format("flash_attn_of_tomorrow"))
    assert (unknown.rule, unknown.fixes[0].action) == (NAME, "change-code")
    asked = first(
        '  File "/x/site-packages/transformers/y.py", line 1, in <module>\n'
        + text.format("flash_attn_of_tomorrow")
    )
    assert [fix.package for fix in asked.fixes[:2]] == ["flash-attn", "transformers"]


def test_a_keyword_that_the_table_knows_of_other_classes_only() -> None:
    found = first(TEXT.format("BirdCollator.__init__", "max_prompt_length"))
    assert (found.rule, found.fixes[0].action) == (NAME, "change-code")


@pytest.mark.parametrize(
    "on", ["BirdQuantizer.create_bird", "Bird4bitQuantizer.create_param", "__init__"]
)
def test_a_method_that_lacks_a_keyword_is_of_another_release_than_its_caller(on: str) -> None:
    found = first(TEXT.format(on, "colour"))
    assert (found.rule, found.fixes[0].action) == (NAME, "change-code")


def test_a_models_own_code_is_older_than_what_calls_it() -> None:
    found = first(TEXT.format("QWenBlock.forward", "past_key_values"))
    assert [(fix.action, fix.package) for fix in found.fixes] == [
        ("downgrade", "transformers"),
        ("change-code", None),
    ]


HANDED = """  File "/x/site-packages/awq/quantize/quantizer.py", line 472, in init_quant
    layer_kwargs = self.model.prepare_inputs_for_generation(samples, **layer_kwargs)
  File "/x/site-packages/transformers/models/llama/modeling_llama.py", line 1256, in prepare
    past = getattr(self.model.layers[0].self_attn, "past_key_value", None)
  File "/x/site-packages/torch/nn/modules/module.py", line 1695, in __getattr__
    raise AttributeError(text)
AttributeError: 'Catcher' object has no attribute 'self_attn'
"""


def test_what_one_package_hands_to_another_is_of_another_release() -> None:
    found = first(HANDED)
    assert (found.rule, found.fixes[0].action) == (NAME, "upgrade")
    assert found.fixes[0].package == "autoawq"
    alone = HANDED.replace("site-packages/awq", "mine/awq").replace("Catcher", "Bird")
    assert diagnose(Facts(), error=alone)[1] == []


CONV = (
    "TypeError: causal_conv1d_fwd(): incompatible function arguments. The following argument types "
    "are supported:\n    1. (arg0: torch.Tensor, arg1: torch.Tensor, {}: bool) -> torch.Tensor"
)


@pytest.mark.parametrize(
    ("last", "packages", "offered"),
    [
        ("arg3", {}, ("upgrade", ">=1.2.0,<1.5.1")),
        ("arg3", {"mamba-ssm": "1.1.4"}, ("upgrade", ">=1.1.0,<1.2.0")),
        ("arg4", {}, ("upgrade", ">=1.2.0,<1.5.1")),
        ("arg6", {"mamba-ssm": "1.1.4"}, ("downgrade", ">=1.1.0,<1.2.0")),
        ("arg7", {"mamba-ssm": "2.2.4"}, ("downgrade", ">=1.2.0,<1.5.1")),
        ("arg7", {"mamba-ssm": "1.1.4"}, ("downgrade", ">=1.1.0,<1.2.0")),
    ],
)
def test_the_arguments_of_a_compiled_function_tell_its_release(
    last: str, packages: dict[str, str], offered: tuple[str, str]
) -> None:
    """How many causal_conv1d_fwd takes is its release; mamba-ssm passes as many as one takes."""
    found = first(CONV.format(last), **packages)
    assert (found.rule, found.fixes[0].package) == (NAME, "causal-conv1d")
    assert (found.fixes[0].action, found.fixes[0].spec) == offered
    assert found.fixes[1].package == "mamba-ssm"


def test_without_the_arguments_the_installed_release_tells() -> None:
    text = CONV.split(" The", maxsplit=1)[0]
    assert first(text, **{"causal-conv1d": "1.1.1"}).fixes[0].action == "upgrade"
    assert first(text, **{"causal-conv1d": "1.5.0.post8"}).fixes[0].spec == ">=1.1.0,<1.2.0"
    assert first(text).fixes[0].spec == ">=1.2.0,<1.5.1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("BirdDecoderLayer.forward() got multiple values for argument 'mask'", "with mask twice"),
        ("BirdAttention.forward() missing 1 required positional argument: 'x'", "without x"),
    ],
)
def test_a_layer_that_is_called_as_in_another_release(text: str, said: str) -> None:
    found = first(f"TypeError: {text}")
    assert found.rule == NAME
    assert said in found.title
    assert [fix.action for fix in found.fixes] == ["change-code", "downgrade"]


def test_a_stand_in_for_a_layer_lacks_what_the_layer_has() -> None:
    found = first("AttributeError: 'Catcher' object has no attribute 'attention_type'")
    assert found.rule == NAME
    assert [fix.package for fix in found.fixes] == ["autoawq", "transformers", None]


def test_forward_is_a_method_of_somebodys_model() -> None:
    found = first(TEXT.format("forward", "colour_ids"))
    assert (found.rule, found.fixes[0].action) == (NAME, "change-code")


def test_a_part_of_a_pipeline_belongs_to_diffusers() -> None:
    text = "FluxSingleTransformerBlock.forward() missing 1 required positional argument: 'x'"
    found = first(f"TypeError: {text}")
    assert found.rule == NAME
    assert [fix.package for fix in found.fixes] == [None, "diffusers"]


def test_a_patch_made_in_a_function_is_called_as_in_another_release() -> None:
    found = first(TEXT.format("patch_the_bird.<locals>.forward_bird", "colour"))
    assert (found.rule, found.fixes[0].action) == (NAME, "change-code")


@pytest.mark.parametrize("said", ["'ChatGLMTokenizer' object has", "ChatGLMTokenizer has"])
def test_a_models_own_tokenizer_is_older_than_what_calls_it(said: str) -> None:
    found = first(f"AttributeError: {said} no attribute vocab_size".replace("vocab", "'vocab"))
    assert (found.rule, found.fixes[0].package) == (NAME, "transformers")
    assert found.fixes[0].action == "downgrade"


def test_a_name_of_torchs_release_that_one_transformers_lacks() -> None:
    name = "is_torch_greater_or_equal_than_1_13"
    text = f"ImportError: cannot import name '{name}' from 'transformers.pytorch_utils'"
    fixes = first(text, transformers="4.48.0").fixes
    assert [(fix.action, fix.spec) for fix in fixes] == [
        ("change-code", None),
        ("downgrade", "<4.48.0"),
    ]
    assert first(text, transformers="4.30.2").fixes[0].action == "upgrade"


def test_torchaos_own_configuration_instead_of_its_name() -> None:
    found = first("TypeError: quant_type must be an AOBaseConfig instance, got str")
    assert (found.rule, found.fixes[1].spec) == (NAME, "<0.38.0")


def test_a_release_between_those_looked_at_goes_back_to_the_last_with_the_name() -> None:
    error = (
        "ImportError: cannot import name 'dequantize' from 'transformers.integrations.mxfp4' "
        "(/x/transformers/integrations/mxfp4.py)"
    )
    found = first(error, transformers="5.17.0")
    back = next(fix for fix in found.fixes if fix.action == "downgrade")
    assert back.spec is not None
    assert back.spec.startswith("<=")
    assert Version("5.17.0") not in SpecifierSet(back.spec)


def test_a_package_is_known_by_either_spelling_of_its_name() -> None:
    error = "ImportError: cannot import name 'OfflineModeIsEnabled' from 'huggingface_hub.utils'"
    for name in ("huggingface-hub", "huggingface_hub"):
        found = diagnose(Facts(packages={name: "0.19.4"}), error=error)[1][0]
        assert (found.fixes[0].action, found.fixes[0].spec) == ("upgrade", ">=0.20.3,<0.23.5")
