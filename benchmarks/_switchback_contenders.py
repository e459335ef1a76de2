"""Who runs in benchmarks/switchback.py: each made from one and the same torch.nn.Linear.

``CONTENDERS[name](torch, linear, training)`` gives a callable of x and the dtype of x that it is
best at; it raises what its package raises, where it cannot be made: that is a result.
"""

# ruff: noqa: ANN401, PLC0415 - torch is untyped here, and packages are imported on demand

from __future__ import annotations

import copy
import functools
import importlib
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

COMPILE = {"dynamic": False, "mode": "default"}
"""How torch.compile is asked; the options of the benchmark write it."""
FEW_ROWS = 16
"""Up to so many rows torch's own int8 product refuses on GPUs, in what torch.compile makes too."""
BY_TRITON = {"max_autotune_gemm": True, "max_autotune_gemm_backends": "TRITON"}
"""torch.compile's options for such rows: of Triton's products alone, the fastest."""
TUNING = {"timed": True}
"""Whether torchao's product times its 27 ways for a shape; who only compiles leaves that out."""


class OtherPassError(Exception):
    """The contender does not take part in this kind of pass; the text says why."""


class Contender(NamedTuple):
    """A layer or a bare product, the dtype of its input, whether its output is the layer's."""

    layer: Any
    dtype: Any
    comparable: bool = True


def _linear(torch: Any, linear: Any, *, training: bool) -> Contender:
    return Contender(linear.train(training), torch.bfloat16)


def _switchback(kind: str) -> Callable[..., Contender]:
    def make(torch: Any, linear: Any, *, training: bool) -> Contender:
        from qdoctor import nn

        layer = getattr(nn, kind)(
            linear.in_features,
            linear.out_features,
            device=linear.weight.device,
            dtype=torch.bfloat16,
        )
        layer.load_state_dict(linear.state_dict())
        if not training:
            layer.eval().prepare_for_eval()
        return Contender(layer, torch.bfloat16)

    return make


def _bitsandbytes(threshold: float) -> Callable[..., Contender]:
    def make(torch: Any, linear: Any, *, training: bool) -> Contender:
        import bitsandbytes

        layer = bitsandbytes.nn.Linear8bitLt(
            linear.in_features, linear.out_features, has_fp16_weights=training, threshold=threshold
        )
        layer.load_state_dict({name: t.half().cpu() for name, t in linear.state_dict().items()})
        layer = layer.half().to(linear.weight.device)
        return Contender(layer.train(training), torch.float16)

    return make


def _torchao(*, compiled: bool) -> Callable[..., Contender]:
    def make(torch: Any, linear: Any, *, training: bool) -> Contender:
        if training:
            raise OtherPassError("its weight is quantized for good: for inference only")
        quantization = importlib.import_module("torchao.quantization")
        layer = torch.nn.Sequential(copy.deepcopy(linear)).eval()
        quantization.quantize_(layer, quantization.Int8DynamicActivationInt8WeightConfig())
        return Contender(_compiled_by_rows(torch, layer) if compiled else layer, torch.bfloat16)

    return make


def _torchao_training(*, compiled: bool) -> Callable[..., Contender]:
    def make(torch: Any, linear: Any, *, training: bool) -> Contender:
        if not training:
            raise OtherPassError("quantizes its weight in each forward: for training")
        if linear.weight.is_cuda:
            _tuned_briefly()
        # As a weight of its own kind it compiles best; some torch releases pass that kind over.
        for swapped in (False, True):
            layer = _torchao_mixed(torch, linear, swapped=swapped)
            if _quantizes(torch, layer, linear):
                return Contender(_compiled(torch, layer) if compiled else layer, torch.bfloat16)
        raise RuntimeError("its layer computes what torch.nn.Linear does: nothing was quantized")

    return make


def _torchao_mixed(torch: Any, linear: Any, *, swapped: bool) -> Any:
    prototype = importlib.import_module("torchao.prototype.quantized_training")
    layer = torch.nn.Sequential(copy.deepcopy(linear)).train()
    config = prototype.int8_mixed_precision_training(module_swap=swapped)
    importlib.import_module("torchao.quantization").quantize_(layer, config)
    return layer


def _quantizes(torch: Any, layer: Any, linear: Any) -> bool:
    weight = linear.weight
    x = torch.randn(32, linear.in_features, device=weight.device, dtype=torch.bfloat16)
    with torch.no_grad():
        return not torch.equal(layer(x), linear(x))


def _tuned_briefly() -> None:
    """Let torchao's product time each of its 27 ways for 20 ms in place of 100, or not at all."""
    testing = importlib.import_module("triton.testing")

    def untimed(call: Callable[[], Any], **_: Any) -> list[float]:
        call()
        return [1.0, 1.0, 1.0]

    bench = functools.partial(testing.do_bench, warmup=5, rep=20)
    module = importlib.import_module("torchao.prototype.quantized_training.int8_mm")
    kernel = module._scaled_int8_mm_kernel  # noqa: SLF001 - nothing public says how to time it
    kernel._do_bench = bench if TUNING["timed"] else untimed  # noqa: SLF001


def _compiled(torch: Any, layer: Any) -> Any:
    return torch.compile(layer, **COMPILE)


def _compiled_by_rows(torch: Any, layer: Any) -> Callable[[Any], Any]:
    many = _compiled(torch, layer)
    few = torch.compile(layer, dynamic=COMPILE["dynamic"], options=BY_TRITON)

    def call(x: Any) -> Any:
        return (few if x.is_cuda and x.shape[0] <= FEW_ROWS else many)(x)

    return call


def _linear_compiled(torch: Any, linear: Any, *, training: bool) -> Contender:
    return Contender(_compiled(torch, linear.train(training)), torch.bfloat16)


def _int_mm(torch: Any, linear: Any, *, training: bool) -> Contender:
    if training:
        raise OtherPassError("a product, no layer")
    weight = (linear.weight.detach() * 1000).clamp(-127, 127).to(torch.int8).t()

    def product(x: Any) -> Any:
        return torch._int_mm(x, weight)  # noqa: SLF001 - the only way to it

    return Contender(product, torch.int8, comparable=False)


def _backend(name: str) -> Callable[..., Contender]:
    def make(torch: Any, linear: Any, *, training: bool) -> Contender:
        if training:
            raise OtherPassError("its weight is quantized for good: for inference only")
        from qdoctor.backends import named

        return Contender(named(name).replaced(linear), torch.bfloat16)

    return make


CONTENDERS: dict[str, Callable[..., Contender]] = {
    "linear": _linear,
    "switchback-vector": _switchback("SwitchBackLinearVectorwise"),
    "switchback-global": _switchback("SwitchBackLinearGlobal"),
    "switchback-mem-efficient": _switchback("SwitchBackLinearGlobalMemEfficient"),
    "Linear8bitLt": _bitsandbytes(0.0),
    "LLM.int8-6.0": _bitsandbytes(6.0),
    "torchao": _torchao(compiled=False),
    "torchao-compiled": _torchao(compiled=True),
    "torchao-training": _torchao_training(compiled=False),
    "torchao-training-compiled": _torchao_training(compiled=True),
    "linear-compiled": _linear_compiled,
    "torch-fp8": _backend("torch-fp8"),
    "int_mm": _int_mm,
}
"""``linear`` first: every speedup is against it."""
DEFAULT = {
    "forward": (
        "linear", "switchback-vector", "switchback-global", "Linear8bitLt",
        "torchao", "torchao-compiled", "int_mm",
    ),
    "forward+backward": (
        "linear", "switchback-vector", "switchback-global", "switchback-mem-efficient",
        "Linear8bitLt", "torchao-training", "torchao-training-compiled",
    ),
}  # fmt: skip
ANCHORS = ("linear", "switchback-vector")
"""Measured in every cell, also beside what was missing of it: ratios are of one measurement."""
COMPARED = ("switchback-vector", "switchback-global", "Linear8bitLt", "LLM.int8-6.0", "torchao")
"""Whose error is measured on outlier columns too."""


def versions() -> str:
    """Name the peers that can be imported, and why another cannot."""
    words = []
    for name in ("torch", "triton", "bitsandbytes", "torchao"):
        try:
            words.append(f"{name} {__import__(name).__version__}")
        except Exception as error:  # noqa: BLE001, PERF203 - an import may fail in any way
            words.append(f"no {name} ({type(error).__name__}: {error})")
    return ", ".join(words)
