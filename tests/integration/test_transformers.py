"""transformers and PEFT with the backends that work on the CPU, for real, on a small Llama.

What is asked of each: to load by its configuration, to answer and generate, to be saved and loaded
again, to train adapters whose gradients all arrive, to merge them. Where a library falls short the
test says in which way, so that a release that mends it is noticed.
"""

# ruff: noqa: ANN401 - the answers are JSON

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [
    pytest.mark.environments,
    pytest.mark.skipif(sys.platform != "linux", reason="bitsandbytes' and torchao's wheels"),
    pytest.mark.timeout(900),
]

RELEASES = ("transformers==5.17.0", "peft==0.21.2", "accelerate==1.15.0", "torchao==0.18.0")
LAYERS = {
    "bnb-int8": "Linear8bitLt:Int8Params",
    "bnb-nf4": "Linear4bit:Params4bit",
    "bnb-fp4": "Linear4bit:Params4bit",
    "torchao-int8": "Linear:Int8Tensor",
    "qdoctor-switchback": "FrozenSwitchBackLinear:RewritableWeight",
}
CONFIGURED = [name for name in LAYERS if name != "qdoctor-switchback"]
BITSANDBYTES = [name for name in LAYERS if name.startswith("bnb")]
FOUR_BITS = ["bnb-nf4", "bnb-fp4"]
OFF = {"bnb-nf4": 0.3, "bnb-fp4": 0.35, "torch-fp8": 0.15}
"""By how much logits may be off: two layers deep, 4 bits; 0.06 for the others, which have 8."""

each = pytest.mark.parametrize("name", LAYERS)
each_bnb = pytest.mark.parametrize("name", BITSANDBYTES)


@pytest.fixture(scope="session")
def told(ask: Callable[..., Any]) -> Any:
    return ask("transformers_flow.py", *RELEASES)


def bound(name: str) -> float:
    return OFF.get(name, 0.06)


def learned(lora: dict[str, Any]) -> bool:
    return bool(lora["losses"][-1] < lora["losses"][0] - 0.2)


@each
def test_it_loads_and_answers(told: Any, name: str) -> None:
    backend = told["backends"][name]
    *quantized, output = backend["layers"].values()
    assert set(quantized) == {LAYERS[name]}
    assert output == "Linear:Parameter"  # the output layer is left alone
    assert (backend["config"] is None) is (name not in CONFIGURED)
    assert 0.001 < backend["logits"] <= bound(name)
    assert backend["words"] == [2, 17]


@pytest.mark.parametrize("name", CONFIGURED)
def test_quantize_does_what_the_configuration_does(told: Any, name: str) -> None:
    assert told["backends"][name]["config and quantize_"] <= 0.02


@each
def test_saved_and_loaded_it_answers_the_same(told: Any, name: str) -> None:
    assert told["backends"][name]["saved, fresh"] == 0


@each_bnb
def test_adapters_learn_and_are_merged_into_bitsandbytes_layers(told: Any, name: str) -> None:
    lora = told["backends"][name]["lora by config, fresh"]
    assert learned(lora)
    assert lora["without_gradient"] == []
    assert lora["merged"] == {"logits": pytest.approx(0, abs=bound(name)), "layer": LAYERS[name]}


@each_bnb
@pytest.mark.parametrize("when", ["fresh", "answered first"])
def test_what_quantize_made_of_them_learns_and_merges_at_any_time(
    told: Any, name: str, when: str
) -> None:
    lora = told["backends"][name][f"lora by quantize_, {when}"]
    assert learned(lora)
    assert lora["without_gradient"] == []
    assert lora["merged"]["layer"].split(":")[0] == LAYERS[name].split(":")[0]
    assert lora["merged"]["logits"] <= bound(name)


def test_int8_layers_of_bitsandbytes_may_have_answered_before(told: Any) -> None:
    backend = told["backends"]["bnb-int8"]
    assert backend["saved, answered first"] == 0
    lora = backend["lora by config, answered first"]
    assert lora["without_gradient"] == []
    assert lora["merged"]["logits"] <= bound("bnb-int8")


@pytest.mark.parametrize("name", FOUR_BITS)
def test_4_bit_layers_that_have_answered_on_a_cpu_with_avx512_are_spoilt(
    told: Any, name: str
) -> None:
    """bitsandbytes 0.50.2 packs the weight for such a CPU at its first answer without gradients.

    From then on no gradient passes the layer, and merging and saving read the packed bytes as
    plain ones. Where the CPU has no AVX512-BF16, nothing is packed and all is well.
    """
    backend = told["backends"][name]
    lora = backend["lora by config, answered first"]
    spoilt = {
        "gradients": bool(lora["without_gradient"]),
        "merging": lora["merged"]["logits"] > 2 * bound(name),
        "saving": backend["saved, answered first"] > 0.1,
    }
    assert set(spoilt.values()) == {backend["packed"]}, spoilt


@pytest.mark.parametrize("when", ["fresh", "answered first"])
@pytest.mark.parametrize("name", ["qdoctor-switchback", "torch-fp8"])
def test_adapters_beside_our_own_layers_learn_and_are_merged(
    told: Any, name: str, when: str
) -> None:
    lora = told["backends"][name][f"lora by quantize_, {when}"]
    assert learned(lora)
    assert lora["without_gradient"] == []
    assert lora["merged"]["logits"] <= OFF.get(name, 0.06)


def test_a_switchback_that_keeps_its_weight_takes_them_in(told: Any) -> None:
    lora = told["backends"]["qdoctor-switchback"]["lora by quantize_, training=True"]
    assert learned(lora)
    assert lora["without_gradient"] == []
    assert lora["merged"]["layer"] == "SwitchBackLinear:Parameter"
    assert lora["merged"]["logits"] <= 0.06


def test_torchaos_own_layers_pass_no_gradient_and_ours_do(told: Any) -> None:
    """By configuration, adapters below a quantized layer silently learn nothing."""
    backend = told["backends"]["torchao-int8"]
    assert backend["lora by config, fresh"]["without_gradient"]
    assert backend["lora by config, fresh"]["merged"]["logits"] <= 0.06
    lora = backend["lora by quantize_, fresh"]
    assert lora["without_gradient"] == []
    assert learned(lora)
    assert lora["merged"] == {
        "logits": pytest.approx(0, abs=0.06),
        "layer": "TorchAoLinear:Int8Tensor",
    }


@pytest.mark.parametrize("name", ["bnb-int8", "bnb-nf4", "torchao-int8"])
def test_what_is_to_be_left_out_is_left_out_of_a_model_with_tied_weights(
    told: Any, name: str
) -> None:
    found = told["skipping"][name]
    layers = {path.rpartition(".")[2]: kind for path, kind in found["layers"].items()}
    assert layers["down_proj"] == layers["lm_head"] == "Linear:Parameter"
    assert layers["up_proj"] == layers["q_proj"] == LAYERS[name]
    assert found["tied"]
    assert found["logits"] <= bound(name)


@pytest.mark.parametrize(("name", "why"), [
    ("bnb-switchback", "`qdoctor-switchback` is a drop-in"),
    ("torchao-mxfp4", "no mxfp4 recipe for the CPU"),
])  # fmt: skip
def test_what_is_not_to_be_had_says_why(told: Any, name: str, why: str) -> None:
    assert why in told["backends"][name]["unavailable"]
