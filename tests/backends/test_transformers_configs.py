"""transformers' configurations: the right arguments, real classes where they are installed."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

import importlib.util
import re
import sys
import types
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("bitsandbytes")

from qdoctor.backends import BackendUnavailable, named  # noqa: E402 - torch first
from qdoctor.backends.names import means  # noqa: E402

EXPECTED: dict[str, dict[str, Any]] = {
    "bnb-int8": {"load_in_8bit": True, "llm_int8_threshold": 6.0},
    "bnb-nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    "bnb-fp4": {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"},
}


class Recorded:
    """Stands for BitsAndBytesConfig: the arguments that releases 4.40 to 5.17 share."""

    def __init__(  # noqa: PLR0913 - the real one's
        self,
        *,
        load_in_8bit: bool = False,
        load_in_4bit: bool = False,
        llm_int8_threshold: float = 6.0,
        llm_int8_skip_modules: list[str] | None = None,
        bnb_4bit_compute_dtype: Any = None,
        bnb_4bit_quant_type: str = "fp4",
        bnb_4bit_use_double_quant: bool = False,
        bnb_4bit_quant_storage: Any = None,
    ) -> None:
        self.__dict__.update({key: value for key, value in locals().items() if key != "self"})


@pytest.fixture(params=["recorded", "real"])
def _transformers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "real":
        if importlib.util.find_spec("transformers") is None:
            pytest.skip("transformers is not installed")
        return
    module = types.ModuleType("transformers")
    module.BitsAndBytesConfig = Recorded  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "transformers", module)


@pytest.mark.usefixtures("_transformers")
@pytest.mark.parametrize("name", EXPECTED)
def test_the_configuration_says_what_the_layers_are(name: str) -> None:
    config: Any = named(name).transformers_config()
    assert {key: getattr(config, key) for key in EXPECTED[name]} == EXPECTED[name]
    assert config.llm_int8_skip_modules is None
    if "load_in_4bit" in EXPECTED[name]:
        layer = named(name).replaced(torch.nn.Linear(64, 64))
        state = layer.weight.quant_state
        assert config.bnb_4bit_quant_storage == layer.weight.dtype
        assert config.bnb_4bit_use_double_quant == state.nested
        if not torch.cuda.is_available():
            assert config.bnb_4bit_compute_dtype == layer.compute_dtype


@pytest.mark.usefixtures("_transformers")
@pytest.mark.parametrize("name", EXPECTED)
def test_a_list_keeps_the_output_layer_out(name: str) -> None:
    config: Any = named(name).transformers_config(skip=["poles", "residues"])
    assert config.llm_int8_skip_modules[:3] == ["poles", "residues", "lm_head"]
    config = named(name).transformers_config("lm_head")
    assert config.llm_int8_skip_modules[:1] == ["lm_head"]


LAYERS = [
    "lm_head",
    *(f"model.layers.{at}.{one}" for at in (1, 11) for one in ("mlp.up", "attn.k")),
]


def left_to_quantize(patterns: list[str]) -> list[str]:
    """Do what transformers 5.23 does with a list (quantizers/quantizers_utils.py)."""
    end = r"(?:(?<=\.)|(?=\.|$))"
    return [
        name
        for name in LAYERS
        if not any(re.match(f"(?:{one}){end}", name) or name.endswith(one) for one in patterns)
    ]


@pytest.mark.usefixtures("_transformers")
@pytest.mark.parametrize(
    ("skip", "left"),
    [
        ("attn.k", ["model.layers.1.mlp.up", "model.layers.11.mlp.up"]),
        ("attn", ["model.layers.1.mlp.up", "model.layers.11.mlp.up"]),
        ("layers.1", ["model.layers.11.mlp.up", "model.layers.11.attn.k"]),
        ("model.layers.1.mlp.up", [LAYERS[2], *LAYERS[3:]]),
        ("*.k", ["model.layers.1.mlp.up", "model.layers.11.mlp.up"]),
        ("layers.1?.*up", [*LAYERS[1:3], LAYERS[4]]),
        ("layers.[1-9].mlp", LAYERS[2:]),
        ("odel", LAYERS[1:]),
    ],
)
def test_skip_means_in_a_configuration_what_it_means_in_a_model(skip: str, left: list[str]) -> None:
    config: Any = named("bnb-nf4").transformers_config([skip])
    assert left_to_quantize(config.llm_int8_skip_modules) == left
    assert [name for name in LAYERS[1:] if not means(skip, name)] == left


@pytest.mark.usefixtures("_transformers")
@pytest.mark.parametrize("skip", [5, [5], [""]])
def test_what_is_no_list_of_names_is_refused(skip: Any) -> None:
    with pytest.raises(TypeError, match=r"transformers_config: skip is a list of module names"):
        named("bnb-nf4").transformers_config(skip)


@pytest.mark.parametrize("name", ["half", "qdoctor-switchback", "torch-fp8"])
def test_what_transformers_does_not_know_has_none(name: str) -> None:
    assert named(name).transformers_config(["lm_head"]) is None


def test_without_transformers_the_fix_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(BackendUnavailable, match="pip install transformers"):
        named("bnb-nf4").transformers_config()
