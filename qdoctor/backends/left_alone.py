"""Why a linear layer of a model is left as it is, in words."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 - runs in the user's process, on demand

from qdoctor.backends.layers_of import class_of, read_directly, shared
from qdoctor.backends.names import meant_by, named_outright

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qdoctor.backends.layers_of import Place

SMALLEST_SIDE = 32
"""Inputs or outputs below which a layer is not worth it: routers, gates, heads of few classes. They
hold next to nothing, the products' tiles of 16 to 64 are mostly padding, and they decide most."""
_OUTPUT_NAMES = frozenset({"lm_head", "embed_out", "output_projection"})
_ENCODER = torch.nn.TransformerEncoderLayer


class LeftAlone:
    """The layers of one model that no backend is to touch."""

    def __init__(
        self,
        model: Any,
        include: tuple[str, ...] | None = None,
        skip: tuple[str, ...] = (),
        *,
        training: bool = False,
    ) -> None:
        """Look once at all that the model's layers share and declare.

        ``include`` None means every layer, an empty one none.
        """
        self.include, self.skip, self.training = include, skip, training
        self.partners = shared(model)
        self.modules = dict(model.named_modules())
        self.outputs = {id(one) for one in _declared_outputs(model)}
        self.last = {id(one) for one in _last_layers(model)}
        self.vocabulary = _largest_embedding(model)

    def why(self, place: Place) -> str:
        """Say why the layer is left alone; ``""`` if the backend is to be asked."""
        reasons: tuple[Callable[[Place, Any], str], ...] = (
            self._listed,
            _of_another_class,
            _not_its_own_weight,
            _holds_more,
            self._tied,
            _managed,
            self._under_an_adapter,
            self._read_by_its_parent,
        )
        layer = place.layer
        found = next((text for reason in reasons if (text := reason(place, layer))), "")
        if found or named_outright(self.include or (), place.name):
            return found
        return self._output(place, layer) or self._kept_wide(place) or _tiny(layer)

    def is_spared(self, place: Place) -> bool:
        """Say whether such a layer is left alone in whatever state its model is: by its role."""
        layer = place.layer
        return bool(self._tied(place, layer) or self._output(place, layer) or _tiny(layer))

    def _listed(self, place: Place, _layer: Any) -> str:
        for name in place.names:
            pattern = meant_by(self.skip, name)
            if pattern:
                return f"listed in skip ({pattern})"
        include = self.include
        if include is not None and not any(meant_by(include, name) for name in place.names):
            return "not named by include"
        return ""

    def _tied(self, place: Place, layer: Any) -> str:
        for what, tensor in (("weight", layer.weight), ("bias", layer.bias)):
            own = {f"{name}.{what}" for name in place.names}
            partner = next((one for one in self.partners.get(id(tensor), ()) if one not in own), "")
            if partner:
                return f"its {what} is tied: {partner} has the same memory"
        return ""

    def _under_an_adapter(self, place: Place, _layer: Any) -> str:
        for above in _above(place.name):
            if any(one.__name__ == "BaseTunerLayer" for one in type(self.modules[above]).__mro__):
                return (
                    f"{above} is a PEFT adapter ({type(self.modules[above]).__name__}): "
                    "quantize the model first, then add adapters"
                )
        return ""

    def _read_by_its_parent(self, place: Place, _layer: Any) -> str:
        if self.training:  # each backend keeps the weight then, in its dtype
            return ""
        for parent, attribute in place.holders:
            reader = read_directly(parent, attribute)
            if reader and not isinstance(parent, _ENCODER):
                return f"its weight is used directly, past the layer, by {reader}"
        return ""

    def _output(self, place: Place, layer: Any) -> str:
        if id(layer) in self.outputs:
            return "it is the output layer (get_output_embeddings)"
        if id(layer) in self.last:
            return "it is its model's last layer, which transformers leaves alone, too"
        if place.name.rpartition(".")[2] in _OUTPUT_NAMES:
            return "it is an output layer by its name"
        if self.vocabulary and tuple(layer.weight.shape) == self.vocabulary[1]:
            return f"it gives a value to each row of the embedding {self.vocabulary[0]}"
        return ""

    def _kept_wide(self, place: Place) -> str:
        """Say whether transformers itself keeps the module in float32 (it declares such)."""
        for above in ("", *_above(place.name)):
            for attribute in ("_keep_in_fp32_modules", "_keep_in_fp32_modules_strict"):
                wide = getattr(self.modules[above], attribute, None) or ()
                pattern = meant_by(tuple(wide), place.name)
                if pattern:
                    return f"its model keeps {pattern} in float32 ({attribute})"
        return ""


def _of_another_class(_place: Place, layer: Any) -> str:
    if type(layer) is torch.nn.Linear:
        return ""
    return f"it is a {class_of(layer)}, not a plain torch.nn.Linear" + _about_class(layer)


def _about_class(layer: Any) -> str:
    if hasattr(layer, "parametrizations"):
        return ": its weight is computed (torch.nn.utils.parametrize.remove_parametrizations first)"
    if type(layer).__name__ == "NonDynamicallyQuantizableLinear":
        return ": torch.nn.MultiheadAttention takes its weight directly"
    if type(layer).__name__ == "Conv1D":
        return ": its weight lies the other way round"
    quantized = type(layer).__name__.startswith(_QUANTIZED)
    return ": it is quantized already" if quantized else ""


_QUANTIZED = ("Linear8bit", "Linear4bit", "SwitchBack", "Frozen", "Fp8Linear", "TorchAoLinear")


def _not_its_own_weight(_place: Place, layer: Any) -> str:
    if "weight" not in layer._parameters:  # noqa: SLF001 - what counts is who holds it
        return _computed(layer)
    weight = layer.weight
    if weight is None:
        return "it has no weight"
    for one in (weight, weight.data):
        if type(one) not in {torch.Tensor, torch.nn.Parameter}:
            return f"its weight is a {type(one).__module__}.{type(one).__qualname__} already"
    if weight.layout != torch.strided:
        return f"its weight is laid out as {weight.layout}"
    return _of_other_sizes(layer)


def _of_other_sizes(layer: Any) -> str:
    sizes = layer.out_features, layer.in_features
    for what, tensor, said in (("weight", layer.weight, sizes), ("bias", layer.bias, sizes[:1])):
        shape = said if tensor is None else tuple(tensor.shape)
        if shape != said:
            return f"its {what} is of shape {shape}, not {said} as the layer says (sharded?)"
    return ""


def _holds_more(_place: Place, layer: Any) -> str:
    """Name what a layer holds beside weight and bias: a new one would lack it."""
    own = (*layer._parameters, *layer._buffers, *layer._modules)  # noqa: SLF001 - its own alone
    more = [name for name in own if name not in {"weight", "bias"}]
    return f"it holds more than a linear layer does ({', '.join(more)})" if more else ""


def _computed(layer: Any) -> str:
    own = layer._parameters  # noqa: SLF001
    if "weight_g" in own:
        return "it is weight-normed (torch.nn.utils.remove_weight_norm first)"
    if "weight_mask" in layer._buffers:  # noqa: SLF001
        return "it is pruned (torch.nn.utils.prune.remove first)"
    if "weight_orig" in own:
        return "its weight is computed from weight_orig (spectral norm: remove it first)"
    return "its weight is no parameter of its own (FSDP flattens it: quantize before wrapping)"


def _managed(place: Place, layer: Any) -> str:
    if any(type(parent).__name__ == "OptimizedModule" for parent, _ in place.holders):
        return "torch.compile wraps this very layer, and keeps to it: quantize before compiling"
    if hasattr(layer, "_hf_hook"):
        return (
            "accelerate moves its weight or its inputs (_hf_hook): quantize before dispatch_model, "
            "or load with a quantization_config"
        )
    if "forward" in vars(layer):
        return "its forward has been replaced on the layer itself"
    return ""


def _tiny(layer: Any) -> str:
    side = min(layer.in_features, layer.out_features)
    if side >= SMALLEST_SIDE:
        return ""
    return f"{layer.in_features} -> {layer.out_features} is too small (below {SMALLEST_SIDE})"


def _above(name: str) -> Iterator[str]:
    """Yield the dotted names of the modules above one, the nearest first."""
    parent = name.rpartition(".")[0]
    while parent:
        yield parent
        parent = parent.rpartition(".")[0]


def _declared_outputs(model: Any) -> Iterator[Any]:
    """Ask all that can be asked, as transformers' models can; those that fail have none."""
    for module in model.modules():
        ask = getattr(module, "get_output_embeddings", None)
        if callable(ask):
            try:
                found = ask()
            except Exception:  # noqa: BLE001, S112 - a model's own code: no answer is no output
                continue
            yield found


def _last_layers(model: Any) -> Iterator[Any]:
    """Yield the last child of each model that is transformers': a head, if it is a layer itself."""
    for module in model.modules():
        if callable(getattr(module, "get_output_embeddings", None)):
            yield from list(module.children())[-1:]


def _largest_embedding(model: Any) -> tuple[str, tuple[int, int]] | None:
    sizes = [
        (module.num_embeddings, name, module.embedding_dim)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Embedding)
    ]
    count, name, width = max(sizes, default=(0, "", 0))
    return (name, (count, width)) if count > width else None
