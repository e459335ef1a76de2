"""Which of a release's names makes a format: found by looking, in releases of every shape."""

from __future__ import annotations

import importlib.util
import sys
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")

if TYPE_CHECKING:
    from collections.abc import Callable

KERNEL = Path(__file__).resolve().parents[2] / "kernels" / "_torchao.py"
INT4_PACKING = "quantization.quantize_.workflows.int4.int4_packing_format"
PREFERENCE = "quantization.quantize_.common.kernel_preference"


@pytest.fixture
def recipes() -> Any:  # noqa: ANN401 - loaded by its path
    spec = importlib.util.spec_from_file_location("recipes_of_torchao", KERNEL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Packing(str, Enum):
    TILE_PACKED_TO_4D = "tile_packed_to_4d"
    OPAQUE = "opaque"


class Preference(str, Enum):
    AUTO = "auto"
    EMULATED = "emulated"


class Choice(Enum):
    EMULATED = "emulated"
    CUTLASS = "cutlass"


def maker(name: str, *accepted: str) -> Callable[..., Any]:
    """Make a configuration class of that name that takes the arguments named."""

    def init(self: Any, **given: Any) -> None:  # noqa: ANN401
        unknown = set(given) - set(accepted)
        assert not unknown, unknown
        self.given = given

    import inspect  # noqa: PLC0415 - for this one signature

    parameters = [inspect.Parameter(one, inspect.Parameter.KEYWORD_ONLY) for one in accepted]
    return type(name, (), {"__init__": init, "__signature__": inspect.Signature(parameters)})


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """``release({module: {name: value}})``: install a torchao; gives what quantize_ was given."""

    def install(names: dict[str, dict[str, Any]], *, quantize: bool = True) -> list[Any]:
        for known in [one for one in sys.modules if one.partition(".")[0] == "torchao"]:
            monkeypatch.delitem(sys.modules, known)
        seen: list[Any] = []

        def quantize_(model: object, config: object) -> None:
            torch.set_float32_matmul_precision("high")
            seen.append((model, config))

        root = {"": {"__version__": "0.0.7"}, "quantization": {}}
        for module, values in {**root, **names}.items():
            parts = ["torchao", *filter(None, module.split("."))]
            for end in range(1, len(parts) + 1):
                full = ".".join(parts[:end])
                if full not in sys.modules:
                    made = ModuleType(full)
                    made.__path__ = []
                    monkeypatch.setitem(sys.modules, full, made)
            vars(sys.modules[".".join(parts)]).update(values)
        if quantize:
            vars(sys.modules["torchao.quantization"])["quantize_"] = quantize_
        return seen

    return install


MX = "prototype.mx_formats"
FOUND = [
    ("int8", "cpu", {"quantization": ["int8_dynamic_activation_int8_weight"]}, ""),
    (
        "int8",
        "cuda",
        {
            "quantization": [
                "int8_dynamic_activation_int8_weight",
                "Int8DynamicActivationInt8WeightConfig",
            ]
        },
        "Int8DynamicActivationInt8WeightConfig",
    ),
    (
        "fp8",
        "cuda",
        {"quantization": ["float8_dynamic_activation_float8_weight"]},
        "float8_dynamic_activation_float8_weight",
    ),
    ("int4", "cuda", {"quantization": ["int4_weight_only"]}, "int4_weight_only(group_size=64)"),
    (
        "int4",
        "cpu",
        {
            "prototype.int4_opaque_tensor": ["Int4WeightOnlyOpaqueTensorConfig"],
            "quantization": ["Int4WeightOnlyConfig"],
        },
        "Int4WeightOnlyOpaqueTensorConfig(group_size=64)",
    ),
]


@pytest.mark.parametrize(("name", "device", "has", "words"), FOUND)
def test_a_format_is_found_under_the_names_it_has_had(  # noqa: PLR0913, PLR0917 - one case
    recipes: Any,  # noqa: ANN401
    release: Callable[..., list[Any]],
    name: str,
    device: str,
    has: dict[str, list[str]],
    words: str,
) -> None:
    names = {
        module: {one: maker(one, "group_size") for one in ones} for module, ones in has.items()
    }
    release(names)
    found = recipes.recipe(name, device, group=64)
    assert found.words.startswith("torchao 0.0.7: quantize_ with ")
    assert found.words.endswith(words)
    assert type(found.config).__name__ == (words.partition("(")[0] or has["quantization"][0])


def test_int4_is_packed_for_torchs_own_product_where_packings_have_names(
    recipes: Any,  # noqa: ANN401
    release: Callable[..., list[Any]],
) -> None:
    make = maker("Int4WeightOnlyConfig", "group_size", "int4_packing_format")
    names = {"quantization": {"Int4WeightOnlyConfig": make}}
    release({**names, INT4_PACKING: {"Int4PackingFormat": Packing}})
    on_gpu = recipes.recipe("int4", "cuda").config.given
    assert on_gpu == {"group_size": 128, "int4_packing_format": Packing.TILE_PACKED_TO_4D}
    assert recipes.recipe("int4", "cpu").config.given["int4_packing_format"] is Packing.OPAQUE


def test_int4_on_a_cpu_takes_the_layout_of_early_releases(
    recipes: Any,  # noqa: ANN401
    release: Callable[..., list[Any]],
) -> None:
    layout = type("Int4CPULayout", (), {})
    make = maker("int4_weight_only", "group_size", "layout")
    release({"quantization": {"int4_weight_only": make}, "dtypes": {"Int4CPULayout": layout}})
    assert isinstance(recipes.recipe("int4", "cpu").config.given["layout"], layout)


@pytest.mark.skipif(not hasattr(torch, "float4_e2m1fn_x2"), reason="this torch has no fp4 dtype")
def test_mxfp4_is_emulated_only_where_that_is_asked_for(
    recipes: Any,  # noqa: ANN401
    release: Callable[..., list[Any]],
) -> None:
    accepted = ("activation_dtype", "weight_dtype", "kernel_preference", "gemm_kernel_choice")
    newest, older = "MXDynamicActivationMXWeightConfig", "MXFPInferenceConfig"
    release({MX: {newest: maker(newest, *accepted)}, PREFERENCE: {"KernelPreference": Preference}})
    assert recipes.recipe("mxfp4", "cuda").config.given["kernel_preference"] is Preference.AUTO
    given = recipes.recipe("mxfp4", "cpu", emulated=True).config.given
    assert given["kernel_preference"] is Preference.EMULATED
    with pytest.raises(recipes.Missing, match=r"torchao 0\.0\.7 has no mxfp4 recipe for the CPU"):
        recipes.recipe("mxfp4", "cpu")
    release({MX: {older: maker(older, *accepted), "MXGemmKernelChoice": Choice}})
    assert recipes.recipe("mxfp4", "cuda").words.endswith("gemm_kernel_choice=cutlass)")


def test_nvfp4_takes_msl_ks_kernel_only_where_that_is_installed(
    recipes: Any,  # noqa: ANN401
    release: Callable[..., list[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release({MX: {"NVFP4InferenceConfig": maker("NVFP4InferenceConfig", "use_triton_kernel")}})
    assert recipes.recipe("nvfp4").config.given == {"use_triton_kernel": False}
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    assert recipes.recipe("nvfp4").config.given == {"use_triton_kernel": True}


def test_int8_training_is_a_module_that_is_swapped_in(
    recipes: Any,  # noqa: ANN401
    release: Callable[..., list[Any]],
) -> None:
    name = "int8_mixed_precision_training"
    release({"prototype.quantized_training": {name: maker(name, "output", "module_swap")}})
    assert recipes.trainable_int8().config.given == {"module_swap": True}
    release({})
    with pytest.raises(recipes.Missing, match="no int8 mixed-precision training"):
        recipes.trainable_int8()


def test_the_process_keeps_its_compiler_and_its_float32(
    recipes: Any,  # noqa: ANN401
    release: Callable[..., list[Any]],
) -> None:
    name = "Int8DynamicActivationInt8WeightConfig"
    seen = release({"quantization": {name: maker(name, "set_inductor_config")}})
    found = recipes.recipe("int8")
    assert found.words.endswith(name)
    before = torch.get_float32_matmul_precision()
    found.apply("a model")
    assert torch.get_float32_matmul_precision() == before
    ((model, config),) = seen
    assert (model, config.given) == ("a model", {"set_inductor_config": False})


def test_the_oldest_releases_have_one_call_and_no_configuration(
    recipes: Any,  # noqa: ANN401
    release: Callable[..., list[Any]],
) -> None:
    release({"quantization": {"apply_dynamic_quant": lambda model: [model]}}, quantize=False)
    found = recipes.recipe("int8", "cpu")
    assert (found.config, found.apply("m")) == (None, ["m"])
    assert found.words == "torchao 0.0.7: apply_dynamic_quant"


def test_a_part_that_does_not_import_is_an_error_and_no_absence(
    recipes: Any,  # noqa: ANN401
    release: Callable[..., list[Any]],
) -> None:
    release({})
    with pytest.raises(recipes.Missing):
        recipes.recipe("int4", "cpu")
    for known in [one for one in sys.modules if one.partition(".")[0] == "torchao"]:
        del sys.modules[known]
    if importlib.util.find_spec("torchao") is None:
        with pytest.raises(ModuleNotFoundError):
            recipes.recipe("int4", "cpu")
