"""torchao's quantized linear layers: how the installed release makes each of them.

One place for the probes and for qdoctor's backends: which class or function of a release makes
``int8``, ``fp8``, ``int4``, ``mxfp4`` and ``nvfp4``. Releases are told apart by what they have.
Python 3.8 syntax, standard library only.
"""

# ruff: noqa: ANN401 - torch and torchao come without types

from __future__ import annotations

import importlib
import importlib.util
import inspect
from enum import Enum
from functools import partial
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple

FORMATS = ("int8", "fp8", "int4", "mxfp4", "nvfp4")
GPU_ONLY = ("mxfp4", "nvfp4")
STABLE = "torchao.quantization"
MICROSCALED = "torchao.prototype.mx_formats"
TRAINING = "torchao.prototype.quantized_training"
OLDEST = ("change_linear_weights_to_int8_dqtensors", "apply_dynamic_quant")
"""The one call for int8 of its first releases, before there was quantize_."""
GROUP = 128
"""Weights that share a scale and a zero point in int4: torchao's own default."""

Way = Optional[Tuple[Callable[..., Any], Dict[str, Any]]]
"""What makes a configuration, and its arguments; None: this release has none."""


class Missing(LookupError):  # noqa: N818 - says what is so
    """The installed torchao has no such recipe."""


class Recipe(NamedTuple):
    """How a model is quantized: in words, torchao's configuration (or None), the call itself."""

    words: str
    config: Any
    apply: Callable[[Any], Any]


def recipe(
    name: str, device: str = "cuda", *, group: int = GROUP, emulated: bool = False
) -> Recipe:
    """Find how the installed torchao quantizes a model to a format of FORMATS.

    ``device`` is ``cpu`` or ``cuda``; ``group`` is int4's (128, 64 or 32); ``emulated`` asks mxfp4
    to dequantize and multiply in half precision, which runs anywhere. Raises Missing, ImportError,
    or what torchao itself raises of this torch.
    """
    on_cpu = device == "cpu"
    ways: Dict[str, Callable[[], Way]] = {
        "int8": _int8,
        "fp8": _fp8_on_cpu if on_cpu else _fp8,
        "int4": partial(_int4_on_cpu if on_cpu else _int4, group),
        "mxfp4": partial(_mxfp4, emulated=emulated),
        "nvfp4": _nvfp4,
    }
    where = "the CPU" if on_cpu else "a GPU"
    none_here = on_cpu and name in GPU_ONLY and not emulated
    found = None if none_here else _by_configuration(ways[name])
    found = found or (_by_oldest() if name == "int8" else None)
    return found or _missing("{} recipe for {}".format(name, where))


def trainable_int8() -> Recipe:
    """Find int8 mixed-precision training: weights stay as they are, products are int8 both ways.

    As a module that is swapped in: as a tensor it multiplies in half precision without a word in
    the releases whose tensors are no longer asked by torch.nn.functional.linear (0.15 to 0.18).
    """
    return _by_configuration(_int8_training) or _missing("int8 mixed-precision training")


def release() -> str:
    """Name the installed release; the first ones do not say it themselves."""
    torchao = importlib.import_module("torchao")
    version = getattr(torchao, "__version__", None)
    if version is None:
        metadata = importlib.import_module("importlib.metadata")
        try:
            version = metadata.version("torchao")
        except metadata.PackageNotFoundError:
            version = "of unknown version"
    return "torchao {}".format(version)


def _missing(what: str) -> Recipe:
    text = "{} has no {}".format(release(), what)
    raise Missing(text)


def _by_configuration(find: Callable[[], Way]) -> Optional[Recipe]:
    quantize = _get(STABLE, "quantize_")  # first: a module of that name may take its place
    way = None if quantize is None else find()
    if way is None:
        return None
    make, arguments = way
    config = make(**dict(arguments, **_own_settings(make)))
    told = ", ".join("{}={}".format(name, _told(value)) for name, value in arguments.items())
    name = getattr(make, "__name__", str(make)) + ("({})".format(told) if told else "")
    words = "{}: quantize_ with {}".format(release(), name)
    return Recipe(words, config, partial(_quantized, quantize, config))


def _own_settings(make: Callable[..., Any]) -> Dict[str, Any]:
    """Keep torch's compiler as its user set it up: by default torchao changes it for everybody."""
    known = inspect.signature(make).parameters
    return {"set_inductor_config": False} if "set_inductor_config" in known else {}


def _quantized(quantize: Callable[..., Any], config: Any, model: Any) -> None:
    """Quantize a model in place, leaving float32 products as exact as they were.

    Some releases lower torch's precision of them for the whole process.
    """
    torch = importlib.import_module("torch")
    before = torch.get_float32_matmul_precision()
    try:
        quantize(model, config)
    finally:
        torch.set_float32_matmul_precision(before)


def _told(value: Any) -> str:
    return str(value.value) if isinstance(value, Enum) else str(value)


def _by_oldest() -> Optional[Recipe]:
    for name in OLDEST:
        call = _get(STABLE, name)
        if call is not None:
            return Recipe("{}: {}".format(release(), name), None, call)
    return None


def _get(module: str, *names: str) -> Any:
    """Give the first name that a module of torchao has; None where it has none, or is not there.

    A module that is there and cannot be imported raises ImportError.
    """
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        absent = error.name or ""
        if "." in absent and (module + ".").startswith(absent + "."):
            return None
        raise
    return next((getattr(found, name) for name in names if hasattr(found, name)), None)


def _int8() -> Way:
    make = _get(
        STABLE, "Int8DynamicActivationInt8WeightConfig", "int8_dynamic_activation_int8_weight"
    )
    return make and (make, {})


def _int8_training() -> Way:
    make = _get(TRAINING, "int8_mixed_precision_training")
    return make and (make, {"module_swap": True})


def _fp8() -> Way:
    """One scale for a tensor, torchao's own default: fp8 is a floating format.

    Scales by row are not taken: with them cuBLASLt refuses some products of large depth.
    """
    make = _get(
        STABLE,
        "Float8DynamicActivationFloat8WeightConfig",
        "float8_dynamic_activation_float8_weight",
    )
    return make and (make, {})


def _fp8_on_cpu() -> Way:
    """A product of torchao's own native code, which most of its wheels come without."""
    operator = "torchao::float8_linear_prepack_cpu"
    make = _get(
        "torchao.prototype.float8_opaque_tensor",
        "Float8DynamicActivationFloat8WeightOpaqueTensorConfig",
    )
    return (make, {}) if make is not None and _runs_on_cpu(operator) else None


def _runs_on_cpu(operator: str) -> bool:
    """Ask torch whether an operator has code for the CPU; a name alone may be declared."""
    has_kernel = importlib.import_module("torch")._C._dispatch_has_kernel_for_dispatch_key  # noqa: SLF001
    try:
        return bool(has_kernel(operator, "CPU"))
    except RuntimeError:  # no such operator at all
        return False


def _int4(group: int) -> Way:
    """Weights packed for torch's own product: other packings need other packages' kernels."""
    make = _get(STABLE, "Int4WeightOnlyConfig", "int4_weight_only")
    packing = _packing("TILE_PACKED_TO_4D")
    chosen = {} if packing is None else {"int4_packing_format": packing}
    return make and (make, dict(chosen, group_size=group))


def _int4_on_cpu(group: int) -> Way:
    arguments: Dict[str, Any] = {"group_size": group}
    for module in ("torchao.prototype.quantization.int4", "torchao.prototype.int4_opaque_tensor"):
        make = _get(module, "PrototypeInt4WeightOnlyConfig", "Int4WeightOnlyOpaqueTensorConfig")
        if make is not None:
            return make, arguments
    make = _get(STABLE, "Int4WeightOnlyConfig", "int4_weight_only")
    packing, layout = _packing("OPAQUE"), _get("torchao.dtypes", "Int4CPULayout")
    if packing is not None:
        return make and (make, dict(arguments, int4_packing_format=packing))
    return make and layout and (make, dict(arguments, layout=layout()))


def _packing(name: str) -> Any:
    """Give a packing format of int4 weights, where this release names them."""
    formats = _get(
        "torchao.quantization.quantize_.workflows.int4.int4_packing_format", "Int4PackingFormat"
    )
    return getattr(formats, name, None)


def _mxfp4(*, emulated: bool) -> Way:
    """fp4 (e2m1) operands with a power-of-two scale for each 32: OCP's MX 1.0."""
    four = getattr(importlib.import_module("torch"), "float4_e2m1fn_x2", None)
    arguments: Dict[str, Any] = {"activation_dtype": four, "weight_dtype": four}
    make = _get(MICROSCALED, "MXDynamicActivationMXWeightConfig")
    kernels = _get(STABLE + ".quantize_.common.kernel_preference", "KernelPreference")
    if make is not None and four is not None:
        arguments["kernel_preference"] = kernels.EMULATED if emulated else kernels.AUTO
        return make, arguments
    make = _get(MICROSCALED, "MXFPInferenceConfig")
    kernels = _get(MICROSCALED, "MXGemmKernelChoice")
    if make is not None and four is not None:
        arguments["gemm_kernel_choice"] = kernels.EMULATED if emulated else kernels.CUTLASS
        return make, arguments
    return None


def _nvfp4() -> Way:
    """fp4 (e2m1) operands with an e4m3 scale for each 16 and a float32 scale a tensor.

    Activations are cast by MSLK's kernel where that is installed, else by torch's operators.
    """
    make = _get(MICROSCALED, "NVFP4DynamicActivationNVFP4WeightConfig", "NVFP4InferenceConfig")
    by_kernel = importlib.util.find_spec("mslk") is not None
    return make and (make, {"use_triton_kernel": by_kernel})
