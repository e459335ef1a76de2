"""bitsandbytes' layers as drop-ins for ``torch.nn.Linear``: any shape, moved and loaded as modules.

They are bitsandbytes' own classes to whoever asks by isinstance (PEFT, transformers); what is added
was seen to fail in 0.50.2: ``Linear8bitLt`` takes neither one nor four dimensions; a model's
``.to()`` leaves behind what the layer keeps beside its weight (and up to 0.46 quantizes the int8
weight once more); after a forward it loads no state; a weight that is trained answers in eval mode
as before the optimizer's last step, or raises NotImplementedError (CPUs).
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

from qdoctor.backends.precision import autocast, follow_cast

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


_once = SayOnce()
logging.getLogger("bitsandbytes.autograd._functions").addFilter(_once)


def _empty(x: Any, columns: int) -> Any:
    """Multiply an empty x as a linear layer does: shape, dtype and gradient, no kernel."""
    return x @ x.new_zeros(1, 1).expand(x.shape[-1], columns)


class Linear8bitLt(bitsandbytes.nn.Linear8bitLt):
    """bitsandbytes' LLM.int8() layer (arXiv:2208.07339)."""

    def forward(self, x: Any) -> Any:
        """Apply the layer to x (..., in_features), floating."""
        x = autocast(x)
        if not x.numel():
            return _empty(x, self.out_features)
        rows = x.reshape(-1, x.shape[-1])
        asked = self.state.has_fp16_weights and not self.training
        y = self._answered_in_training(rows) if asked else super().forward(rows)
        return y.view(*x.shape[:-1], self.out_features)

    def _answered_in_training(self, rows: Any) -> Any:
        """Apply a weight that is trained as it is now, the way that training would."""
        state = self.state
        state.is_training, state.CB, state.SCB = True, None, None
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

    def _load_from_state_dict(self, *given: Any, **more: Any) -> None:
        """Put back what the first forward took from the weight: loading looks for it there."""
        weight, state = self.weight, self.state
        if getattr(weight, "SCB", None) is None and state.SCB is not None:
            weight.CB, weight.SCB = weight.data, state.SCB
            state.CB = state.SCB = None
        super()._load_from_state_dict(*given, **more)
        if getattr(weight, "CB", None) is not None:
            weight.CB = weight.data


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
        x = autocast(x)
        if not x.numel():
            return _empty(x, self.out_features)
        if x.dim() == 1:
            return self.forward(x[None])[0]
        if getattr(self, "support_avx512bf16_for_cpu", False):
            self.support_avx512bf16_for_cpu = False
        return super().forward(x)

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
        """Load what ``state_dict`` saves of the quantization, too: torch's own loading does not."""
        lead = prefix + "weight."
        saved = {key[len(lead) :]: state_dict[key] for key in state_dict if key.startswith(lead)}
        if saved and prefix + "weight" in state_dict:
            self.weight = type(self.weight).from_prequantized(
                data=state_dict[prefix + "weight"], quantized_stats=saved,
                requires_grad=False, device=self.weight.device, module=self,
            )  # fmt: skip
        super()._load_from_state_dict(
            state_dict, prefix, metadata, strict, missing, unexpected, errors
        )
        unexpected[:] = [key for key in unexpected if not key.startswith(lead)]
