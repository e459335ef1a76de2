"""The weight of a quantized layer, for reading, and for adding to: it is then quantized again.

This is what PEFT does to merge an adapter (``weight.data += delta``), to do so safely
(``weight.data = merged``), and to take it out again (``-=``). Each such write rounds the weight to
the layer's format anew, as in bitsandbytes' layers.
"""

# ruff: noqa: ANN401 - torch is untyped here
# mypy: disable-error-code="misc, override"

from __future__ import annotations

from typing import Any

import torch  # noqa: TID253 - runs in the user's process, on demand

from qdoctor.nn.frozen import FrozenWeight

_WRITES = frozenset({"__iadd__", "__isub__", "add_", "sub_", "copy_"})


class RewritableWeight(FrozenWeight):
    """A copy of a quantized weight, in the dtype it had, that hands what is written to its layer.

    Assigning ``.data``, adding and subtracting in place and ``copy_`` reach the layer; whatever
    else writes, as initialising does, raises RuntimeError.
    """

    refusal = (
        "this weight is kept quantized: it takes an assignment to .data, +=, -= and copy_, and is "
        "then quantized again; nothing else can be written to it. Initialise or train before "
        "quantize_, or take quantize_(..., training=True)."
    )
    layer: Rewritable

    @classmethod
    def of(cls, layer: Rewritable, dense: Any) -> Any:
        """Make it of a layer and a new copy of its weight (out_features x in_features)."""
        made = dense.as_subclass(cls)
        made.layer = layer
        return made

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: Any | None = None
    ) -> Any:
        """Let the layer quantize what was written."""
        name, target = getattr(func, "__name__", ""), next(iter(args), None)
        if not isinstance(target, cls):
            return super().__torch_function__(func, types, args, kwargs)
        if func == torch.Tensor.data.__set__:
            target.layer.rewrite(args[1])
        if func != torch.Tensor.data.__set__ and name not in _WRITES:
            return super().__torch_function__(func, types, args, kwargs)
        with torch._C.DisableTorchFunctionSubclass(), torch.no_grad():  # noqa: SLF001 - documented
            func(*args, **(kwargs or {}))
        if name in _WRITES:
            target.layer.rewrite(target)
        return target


class Rewritable(torch.nn.Linear):
    """A linear layer whose quantized weight can be written as RewritableWeight says."""

    def requantize(self, weight: Any) -> None:
        """Quantize a weight (out_features x in_features, floating) in place of the old one."""
        raise NotImplementedError

    def put(self, name: str, value: Any) -> None:
        """Write a buffer: in place, as CUDA graphs read it there, where torch lets it be written.

        It does not where the module was moved under ``inference_mode``.
        """
        old = self._buffers[name]
        if old is None or old.is_inference():
            self._buffers[name] = value
        else:
            old.copy_(value)

    def is_quantized(self) -> bool:
        """Whether the weight is kept quantized now."""
        raise NotImplementedError

    def rewrite(self, weight: Any) -> None:
        """Take another weight: a floating tensor (out_features x in_features), on any device.

        Raises RuntimeError where it does not fit; then nothing is changed.
        """
        shape = (self.out_features, self.in_features)
        if tuple(weight.shape) != shape or not weight.is_floating_point() or weight.is_meta:
            raise RuntimeError(
                f"{self._get_name()} has a weight of {shape}: {weight.dtype} of "
                f"{tuple(weight.shape)} on {weight.device} cannot be put in its place"
            )
        with torch.inference_mode(mode=False), torch.no_grad():
            plain = weight.detach().as_subclass(torch.Tensor)
            self.requantize(plain.clone() if plain.is_inference() else plain)

    def __setattr__(self, name: str, value: Any) -> None:
        """Quantize what takes the weight's place, instead of keeping it beside the quantized."""
        if name != "weight" or not isinstance(value, torch.Tensor) or not self.is_quantized():
            super().__setattr__(name, value)
        elif getattr(value, "layer", None) is not self:  # after += it is this layer's own
            self.rewrite(value)
