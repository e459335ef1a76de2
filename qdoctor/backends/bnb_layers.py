"""bitsandbytes' layers as drop-ins for ``torch.nn.Linear``: any shape, moved and loaded as modules.

They are bitsandbytes' own classes to whoever asks by isinstance (PEFT, transformers); what is added
was seen to fail in 0.50.2: ``Linear8bitLt`` takes neither one nor four dimensions; a model's
``.to()`` leaves behind what the layer keeps beside its weight (and up to 0.46 quantizes the int8
weight once more); after a forward it loads no state; a weight that is trained answers in eval mode
as before the optimizer's last step, or raises NotImplementedError (CPUs), and in training as before
all steps where ``zero_grad()`` is called after the forward pass; on CPUs its int8 product is one of
floats, which autocast turns into float16, where the sums overflow; floating weights that are loaded
into the int8 one are cut to integers, and ``assign=True`` raises; both layers write the bias, cast
to the dtype of one forward, into the parameter (an fp32 bias that trains is bf16 from then on).
``Linear4bit`` on CPUs with AVX512-BF16 repacks its weight at a first forward: then an empty batch
kills the process (SIGFPE), gradients raise, sizes that are no multiple of 32 are refused, and what
``state_dict`` saves is wrong by 0.24 (nf4, scales not nested: they stay transposed). So it is kept
from that, and takes 0.4 instead of 0.08 ms for one row of 1024 to 1024 there.
"""

# ruff: noqa: ANN401 - torch and bitsandbytes are untyped here
# mypy: disable-error-code="misc"

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import bitsandbytes  # noqa: TID253 - imported where a bitsandbytes backend is asked for
import torch  # noqa: TID253

from qdoctor.backends.precision import cast_input, follow_cast, outside_autocast

if TYPE_CHECKING:
    from collections.abc import Callable


class SayOnce(logging.Filter):
    """Let a message through once: Linear8bitLt logs at every forward that it casts to float16."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        super().__init__()
        self.said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether the message is new."""
        text = record.getMessage()
        new = text not in self.said
        self.said.add(text)
        return new


_STEPS = 127.0
"""int8 is used from -127 to 127 there: a row is about its numbers times its scale / 127."""
_once = SayOnce()
logging.getLogger("bitsandbytes.autograd._functions").addFilter(_once)


def _empty(x: Any, columns: int) -> Any:
    """Multiply an x without numbers as a linear layer does: shape, dtype, gradient, no kernel."""
    return x @ x.new_zeros(1, 1).expand(x.shape[-1], columns)


def _with_bias_as(layer: Any, dtype: Any, forward: Callable[[Any], Any], x: Any) -> Any:
    """Show a layer its bias as that dtype, so that its forward need not cast the parameter."""
    bias = layer._parameters["bias"]  # noqa: SLF001 - not what is shown instead
    if bias is None or bias.dtype == dtype:
        return forward(x)
    layer.__dict__["bias"] = bias.to(dtype)  # found before the parameter
    if torch.compiler.is_compiling():  # no graph breaks inside try
        y = forward(x)
        layer.__dict__.pop("bias", None)
        return y
    try:
        return forward(x)
    finally:
        layer.__dict__.pop("bias", None)


class Linear8bitLt(bitsandbytes.nn.Linear8bitLt):
    """bitsandbytes' LLM.int8() layer (arXiv:2208.07339)."""

    def forward(self, x: Any) -> Any:
        """Apply the layer to x (..., in_features), floating."""
        x = cast_input(self, x)
        if not x.numel() or x.is_meta:
            return _empty(x, self.out_features)
        rows = x.reshape(-1, x.shape[-1])
        if self.state.has_fp16_weights:  # quantize the weight as it is now
            for name in vars(self.state).keys() & {"CB", "SCB", "CxB"}:  # the last of old releases
                setattr(self.state, name, None)
        asked = self.state.has_fp16_weights and not self.training
        with outside_autocast(x):
            answer = self._answered_in_training if asked else super().forward
            y = _with_bias_as(self, x.dtype, answer, rows)
        return y.view(*x.shape[:-1], self.out_features)

    def _answered_in_training(self, rows: Any) -> Any:
        """Apply a weight that is trained as it is now, the way that training would."""
        state = self.state
        state.is_training = True
        bias = None if self.bias is None else self.bias.to(rows.dtype)
        return bitsandbytes.matmul(rows, self.weight, bias=bias, state=state)

    def _apply(self, fn: Callable[[Any], Any], *rest: Any, **more: Any) -> Any:
        """Move the int8 weight as it is, and what the layer keeps beside it."""
        weight = self.weight
        if weight.dtype == torch.int8:
            self._parameters["weight"] = None  # some releases quantize it again on its way
            super()._apply(fn, *rest, **more)
            self._parameters["weight"] = _moved(weight, fn(weight.data))
        else:
            super()._apply(fn, *rest, **more)
        follow_cast(self, fn)
        for holder in (self.weight, self.state):
            if getattr(holder, "CB", None) is not None:
                holder.CB = self.weight.data
            if getattr(holder, "SCB", None) is not None:
                holder.SCB = holder.SCB.to(self.weight.device)
        return self

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, metadata: Any, strict: Any, missing: Any, *rest: Any
    ) -> None:
        """Take a weight over, quantized or not, in the form that this layer has."""
        given, scales = (state_dict.get(prefix + name) for name in ("weight", "SCB"))
        self._give_back()
        taken = None
        if given is not None and given.shape == self.weight.shape:
            taken = self._taken(given, scales, metadata.get("assign_to_params_buffers", False))
        if taken is not None:
            self._parameters["weight"] = taken
            own = {prefix + name for name in ("weight", "SCB", "weight_format")}
            state_dict = {key: value for key, value in state_dict.items() if key not in own}
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, missing, *rest)
        if taken is not None:
            missing[:] = [key for key in missing if key != prefix + "weight"]
        if getattr(self.weight, "CB", None) is not None:
            self.weight.CB = self.weight.data

    def _give_back(self) -> None:
        """Put back what the first forward took from the weight: loading looks for it there."""
        weight, state = self.weight, self.state
        if getattr(weight, "SCB", None) is None and state.SCB is not None:
            weight.CB, weight.SCB = weight.data, state.SCB
            state.CB = state.SCB = None

    def _taken(self, given: Any, scales: Any, assign: bool) -> Any:  # noqa: FBT001
        """Make the parameter of what is loaded; None where it is to be copied into ours."""
        own, given = self.weight, given.detach()
        if given.is_floating_point():
            return None if own.is_floating_point() else quantized(type(own), given.to(own.device))
        if scales is not None and own.is_floating_point():
            dense = (given * (scales.float() / _STEPS)[:, None]).to(own.device, own.dtype)
            return type(own)(dense, requires_grad=own.requires_grad, has_fp16_weights=True)
        if scales is None or not assign:
            return None
        made = type(own)(given, requires_grad=False, has_fp16_weights=False)
        made.CB, made.SCB = made.data, scales.detach()
        return made


def quantized(params: Any, weight: Any) -> Any:
    """Make an Int8Params of a weight where it is; releases that cannot do so by way of the CPU."""
    kept = {"requires_grad": False, "has_fp16_weights": False}
    made = params(weight, **kept)
    if hasattr(made, "_quantize"):
        return made._quantize(weight.device)  # noqa: SLF001 - .to() quantizes from the CPU only
    return params(weight.cpu(), **kept).to(weight.device)


def _moved(weight: Any, data: Any) -> Any:
    """Make bitsandbytes' int8 parameter anew of moved data."""
    made = type(weight)(data, requires_grad=False, has_fp16_weights=False)
    made.CB, made.SCB = weight.CB, weight.SCB
    return made


class Linear4bit(bitsandbytes.nn.Linear4bit):
    """bitsandbytes' 4-bit layer (nf4 of arXiv:2305.14314, or fp4)."""

    weight: Any

    def forward(self, x: Any) -> Any:
        """Apply the layer to x (..., in_features), floating."""
        x = cast_input(self, x)
        if not x.numel():
            return _empty(x, self.out_features)
        if x.dim() == 1:
            return self.forward(x[None])[0]
        if getattr(self, "support_avx512bf16_for_cpu", False):
            self.support_avx512bf16_for_cpu = False
        return _with_bias_as(self, self.compute_dtype or x.dtype, super().forward, x)

    def _apply(self, fn: Callable[[Any], Any], *rest: Any, **more: Any) -> Any:
        """Keep the weight and the state of its quantization on one device."""
        super()._apply(fn, *rest, **more)
        follow_cast(self, fn)
        state = getattr(self.weight, "quant_state", None)
        if state is not None and state.absmax.device != self.weight.device:
            state.to(self.weight.device)
        self.quant_state = state
        return self

    def _load_from_state_dict(  # noqa: PLR0913, PLR0917 - torch's signature
        self, state_dict: Any, prefix: str, metadata: Any, strict: Any, missing: Any,
        unexpected: list[str], errors: Any,
    ) -> None:  # fmt: skip
        """Load what ``state_dict`` saves of the quantization, too: torch's own loading does not.

        A weight that was saved as floating numbers is quantized as this layer's is.
        """
        lead, given = prefix + "weight.", state_dict.get(prefix + "weight")
        saved = {key[len(lead) :]: state_dict[key] for key in state_dict if key.startswith(lead)}
        shape = (self.out_features, self.in_features)
        if not saved and given is not None and tuple(given.shape) == shape:
            self.weight = packed(self, given.detach().to(self.weight.device))
            state_dict = {**state_dict, prefix + "weight": self.weight.data}
        elif saved and given is not None:
            self.weight = type(self.weight).from_prequantized(
                data=state_dict[prefix + "weight"], quantized_stats=saved,
                requires_grad=False, device=self.weight.device, module=self,
            )  # fmt: skip
        super()._load_from_state_dict(
            state_dict, prefix, metadata, strict, missing, unexpected, errors
        )
        unexpected[:] = [key for key in unexpected if not key.startswith(lead)]


def packed(layer: Any, weight: Any) -> Any:
    """Make a Params4bit of a floating weight where it is, as the layer's own is made."""
    own = layer.weight
    how = {name: getattr(own, name) for name in ("compress_statistics", "quant_type")}
    storage = own.quant_storage
    made = type(own)(weight, requires_grad=False, quant_storage=storage, module=layer, **how)
    return made.to(weight.device)
