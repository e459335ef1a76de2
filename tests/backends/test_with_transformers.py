"""``quantize_`` on small models of transformers, with PEFT's adapters, where they are installed."""

# ruff: noqa: ANN401 - torch and transformers are untyped here

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
bitsandbytes = pytest.importorskip("bitsandbytes")

from qdoctor.backends import named  # noqa: E402 - torch first
from qdoctor.backends.replacing import quantize_  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIZES = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


def llama(device: Any, *, tied: bool = False) -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**SIZES, num_key_value_heads=2, tie_word_embeddings=tied)
    return transformers.LlamaForCausalLM(config).to(device, torch.bfloat16).eval()


@pytest.fixture
def tokens(device: Any) -> Any:
    return torch.arange(3, 19, device=device).view(2, 8)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("name", ["bnb-int8", "bnb-nf4", "qdoctor-switchback", "torch-fp8"])
def test_a_language_model_generates_without_its_output_layer(
    name: str, device: Any, tokens: Any, *, tied: bool, relative: Callable[[Any, Any], float]
) -> None:
    model = llama(device, tied=tied)
    with torch.no_grad():
        wanted = model(tokens).logits
        done = quantize_(model, name)
        assert 0.0 < relative(model(tokens).logits, wanted) <= 0.25
    assert len(done.replaced) == 14
    assert list(done.skipped) == ["lm_head"]
    assert model.generate(tokens, max_new_tokens=3, do_sample=False).shape == (2, 11)


@pytest.mark.parametrize("name", ["bnb-int8", "bnb-nf4", "bnb-fp4"])
def test_loading_with_the_configuration_is_quantizing_after_loading(
    name: str, device: Any, tokens: Any, tmp_path: Path, relative: Callable[[Any, Any], float]
) -> None:
    pytest.importorskip("accelerate")
    llama(device).save_pretrained(tmp_path)
    load = transformers.LlamaForCausalLM.from_pretrained
    config = named(name).transformers_config()
    theirs = load(
        tmp_path, quantization_config=config, device_map={"": device}, dtype=torch.bfloat16
    ).eval()
    ours = load(tmp_path, dtype=torch.bfloat16).to(device).eval()
    done = quantize_(ours, name)
    kinds = (bitsandbytes.nn.Linear8bitLt, bitsandbytes.nn.Linear4bit)
    assert set(done.replaced) == {
        path for path, module in theirs.named_modules() if isinstance(module, kinds)
    }
    with torch.no_grad():
        got, wanted = ours(tokens).logits, theirs(tokens).logits
    # transformers' 4-bit layers repack their weights on some CPUs, and round scales on the way
    assert relative(got, wanted) <= (0.0 if name == "bnb-int8" else 0.02)


@pytest.mark.parametrize("name", ["bnb-int8", "bnb-nf4"])
def test_a_quantized_model_is_saved_with_its_configuration_and_loaded_so(
    name: str, device: Any, tokens: Any, tmp_path: Path, relative: Callable[[Any, Any], float]
) -> None:
    pytest.importorskip("accelerate")
    model = llama(device)
    done = quantize_(model, name, skip=["k_proj"])
    model.config.quantization_config = named(name).transformers_config(skip=list(done.skipped))
    model.save_pretrained(tmp_path)
    again = transformers.LlamaForCausalLM.from_pretrained(
        tmp_path, device_map={"": device}, dtype=torch.bfloat16
    ).eval()
    assert type(again.model.layers[1].self_attn.k_proj) is torch.nn.Linear
    assert (
        again.model.layers[1].self_attn.q_proj.weight.dtype
        == model.get_submodule("model.layers.1.self_attn.q_proj").weight.dtype
    )
    with torch.no_grad():  # bitsandbytes' own layers round biases and scales on the way
        assert relative(again(tokens).logits, model(tokens).logits) <= 0.02


def test_a_classifier_keeps_its_head() -> None:
    config = transformers.BertConfig(**SIZES, num_labels=40)
    done = quantize_(transformers.BertForSequenceClassification(config), "qdoctor-switchback")
    assert list(done.skipped) == ["classifier"]


def test_weights_that_t5_asks_about_are_left_alone() -> None:
    config = transformers.T5Config(
        vocab_size=300, d_model=64, d_ff=128, num_layers=1, num_heads=4, d_kv=16
    )
    done = quantize_(transformers.T5ForConditionalGeneration(config), "bnb-nf4")
    assert {name.rpartition(".")[2] for name in done.skipped} == {"lm_head", "wo"}


def test_gpt2_s_layers_are_told_of() -> None:
    config = transformers.GPT2Config(vocab_size=300, n_embd=64, n_layer=1, n_head=4)
    done = quantize_(transformers.GPT2LMHeadModel(config), "qdoctor-switchback")
    assert done.replaced == ()
    assert "the other way round" in done.skipped["transformer.h.0.attn.c_attn"]


MERGED = ["half", "bnb-int8", "bnb-nf4", "qdoctor-switchback", "torch-fp8", "torchao-int8"]


@pytest.mark.filterwarnings(
    "ignore:(Merge|Unmerge) lora module",
    "ignore:TorchaoLoraLinear was",
    "ignore:.is_gradient_checkpointing. is deprecated",  # PEFT asks transformers for it
)
@pytest.mark.parametrize("name", MERGED)
def test_adapters_train_on_top_merge_and_come_out_again(
    name: str, device: Any, tokens: Any, relative: Callable[[Any, Any], float]
) -> None:
    peft = pytest.importorskip("peft")
    if name.startswith("torchao"):
        pytest.importorskip("torchao")
    model = llama(device)
    quantize_(model, name)
    config = peft.LoraConfig(target_modules=["q_proj", "v_proj"], r=4, init_lora_weights=False)
    adapted = peft.get_peft_model(model, config).train()
    adapted(input_ids=tokens, labels=tokens).loss.backward()
    adapters = [one for one in adapted.parameters() if one.requires_grad]
    assert all(float(one.grad.abs().sum()) > 0.0 for one in adapters)
    for layer in adapted.modules():  # as the README says: PEFT knows it of TorchAoConfig only
        if getattr(layer, "get_apply_tensor_subclass", "") is None:
            config_of_torchao: Any = named(name).transformers_config()
            layer.get_apply_tensor_subclass = config_of_torchao.get_apply_tensor_subclass
    with torch.no_grad():
        wanted = adapted.eval()(tokens).logits
        adapted.merge_adapter(safe_merge=name == "torch-fp8")
        assert relative(adapted(tokens).logits, wanted) <= 0.25
        adapted.unmerge_adapter()
        assert relative(adapted(tokens).logits, wanted) <= 0.25
        merged = adapted.merge_and_unload()(tokens).logits
    assert relative(merged, wanted) <= 0.25
