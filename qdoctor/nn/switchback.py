"""SwitchBackLinear: ``torch.nn.Linear`` whose products run in int8."""

# ruff: noqa: ANN401 - torch is untyped here
# mypy: disable-error-code="misc"

from __future__ import annotations

import functools
from typing import Any, Literal, NoReturn

import torch  # noqa: TID253 - the layers' own package

from qdoctor.backends.precision import autocast
from qdoctor.nn.gradients import How, prepared, trained
from qdoctor.nn.preparable import Preparable
from qdoctor.nn.products import has_int8_product

_FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_has_int8_product = torch.compiler.assume_constant_result(has_int8_product)


class SwitchBackLinear(Preparable):
    """Linear layer with int8 forward and input gradient, and 16-bit weight gradient.

    Activations are quantized by row; the weight as a whole, or by row with
    ``vector_wise_quantization`` (more exact). ``mem_efficient`` keeps int8 activations for the
    backward pass (whole-weight quantization only). ``fallback="half"``: where the device has no
    int8 product, work like torch.nn.Linear instead of raising NoInt8ProductError.

    Takes fp16, bf16, fp32 or fp64 of shape (..., in_features), whatever the weight's dtype; the
    output has the input's dtype, under autocast autocast's. Same constructor, buffers and behaviour
    as bitsandbytes 0.42's layer. Errors: RuntimeError, TypeError, NoInt8ProductError. Method:
    arXiv:2304.13013.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - bitsandbytes' constructor
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,  # noqa: FBT001, FBT002
        device: Any = None,
        dtype: Any = None,
        vector_wise_quantization: bool = False,  # noqa: FBT001, FBT002
        mem_efficient: bool = False,  # noqa: FBT001, FBT002
        *,
        fallback: Literal["half"] | None = None,
    ) -> None:
        """Make the layer with an initialised weight (out_features x in_features)."""
        if vector_wise_quantization and mem_efficient:
            raise ValueError(
                "qdoctor.nn.SwitchBackLinear: mem_efficient keeps a weight with a single scale; "
                "it does not go with vector_wise_quantization"
            )
        if fallback not in {None, "half"}:
            raise ValueError(
                f'qdoctor.nn.SwitchBackLinear: fallback is None or "half", not {fallback!r}'
            )
        super().__init__(in_features, out_features, bias, device, dtype)
        self.vector_wise_quantization = vector_wise_quantization
        self.mem_efficient = mem_efficient
        self.fallback = fallback

    def forward(self, x: Any) -> Any:
        """Apply the layer to x (..., in_features)."""
        q = self._buffers.get("W_int8")
        weight = self._own("weight") if q is None else q
        if (
            not isinstance(x, torch.Tensor)
            or x.device != weight.device
            or x.dtype not in _FLOATING
            or x.dim() == 0
            or x.shape[-1] != self.in_features
            or (self.training and q is not None)
        ):
            self._refuse(x, weight.device)
        x = autocast(x)
        return self._apply_to(x, weight) if x.dim() > 1 else self._apply_to(x[None], weight)[0]

    def _apply_to(self, x: Any, weight: Any) -> Any:
        if self.fallback and not _has_int8_product(x.device):
            return torch.nn.functional.linear(x, self._dense(x.dtype), _to(self.bias, x.dtype))
        bias = self._own("bias")
        if weight.dtype == torch.int8:
            return prepared(x, weight, self._buffers["state_W"], bias)
        return trained(x, weight, bias, How(self.vector_wise_quantization, self.mem_efficient))

    def _own(self, name: str) -> Any:
        """Read a parameter past Module.__getattr__, which takes a tenth of a small layer's time."""
        parameters = self._parameters
        return parameters[name] if name in parameters else getattr(self, name)  # parametrized

    def _refuse(self, x: Any, place: Any) -> NoReturn:
        """Say what torch.nn.Linear could not do either, or that there is no weight to train."""
        name = self._get_name()
        if not isinstance(x, torch.Tensor):
            raise TypeError(f"{name} takes a tensor, not {type(x).__name__}")
        if self.prepared and self.training:
            raise RuntimeError(
                f"{name} was prepared for eval: there is no weight left to train. "
                "Call .eval(), or load a state_dict that holds the weight."
            )
        if x.device != place:
            raise RuntimeError(f"{name} is on {place}, its input on {x.device}")
        if x.dtype not in _FLOATING:
            raise TypeError(f"{name} takes floating-point input, not {x.dtype}")
        raise RuntimeError(f"{name} takes (..., {self.in_features}), not {tuple(x.shape)}")

    def _get_name(self) -> str:
        return "qdoctor.nn.SwitchBackLinear"

    def extra_repr(self) -> str:
        """Say what torch.nn.Linear says, how the layer quantizes and whether it is prepared."""
        words = [
            super().extra_repr(),
            f"vector_wise_quantization={self.vector_wise_quantization}",
            f"mem_efficient={self.mem_efficient}",
            *([f"fallback={self.fallback!r}"] if self.fallback else []),
            *(["prepared for eval"] if self.prepared else []),
        ]
        return ", ".join(words)


def _to(tensor: Any, dtype: Any) -> Any:
    return None if tensor is None else tensor.to(dtype)


SwitchBackLinearGlobal = functools.partial(SwitchBackLinear, vector_wise_quantization=False)
SwitchBackLinearGlobalMemEfficient = functools.partial(
    SwitchBackLinear, vector_wise_quantization=False, mem_efficient=True
)
SwitchBackLinearVectorwise = functools.partial(SwitchBackLinear, vector_wise_quantization=True)
