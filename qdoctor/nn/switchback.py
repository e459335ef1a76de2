"""SwitchBackLinear: ``torch.nn.Linear`` whose products run in int8."""

# ruff: noqa: ANN401, N803, N815 - torch is untyped here; buffers keep old names
# mypy: disable-error-code="misc"

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import torch  # noqa: TID253 - the layers' own package

from qdoctor.nn.frozen import FrozenWeight
from qdoctor.nn.gradients import How, prepared, quantize_weight, trained
from qdoctor.nn.products import has_int8_product

if TYPE_CHECKING:
    from collections.abc import Callable

_STORED = ("weight", "W_int8", "state_W")
_FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_has_int8_product = torch.compiler.assume_constant_result(has_int8_product)


class SwitchBackLinear(torch.nn.Linear):
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

    W_int8: Any
    state_W: Any
    int8_original_dtype: Any
    """Of a prepared layer: what its weight was, and where it would be by later casts (OpenCLIP and
    others ask a layer which dtype its neighbours compute in)."""

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

    @property
    def prepared(self) -> bool:
        """Whether the weight has been replaced by its int8 form."""
        return "W_int8" in self._buffers

    @torch.inference_mode(mode=False)  # type: ignore[untyped-decorator]
    @torch.no_grad()  # type: ignore[untyped-decorator]
    def prepare_for_eval(self) -> None:
        """Replace the weight by buffers W_int8 (int8, N x K) and state_W (float32 absmax, N or 1).

        Halves the memory of a 16-bit weight and spares each forward quantizing it. ``weight`` can
        still be read, as a new tensor each time, which refuses writes. Not undone but by loading a
        state_dict that holds a weight. A second call does nothing. Raises RuntimeError if the
        weight is parametrized.
        """
        if torch.nn.utils.parametrize.is_parametrized(self, "weight"):
            raise RuntimeError(
                f"{self._get_name()} cannot be prepared while its weight is parametrized: call "
                'torch.nn.utils.parametrize.remove_parametrizations(layer, "weight") first'
            )
        if not self.prepared:
            self._become_prepared(
                *quantize_weight(self.weight, vector_wise=self.vector_wise_quantization)
            )

    def forward(self, x: Any) -> Any:
        """Apply the layer to x (..., in_features)."""
        q = self._buffers.get("W_int8")
        weight = self.weight if q is None else q
        if (
            x.device != weight.device
            or x.dtype not in _FLOATING
            or x.dim() == 0
            or x.shape[-1] != self.in_features
            or (self.training and q is not None)
        ):
            self._refuse(x, weight.device)
        x = _autocast(x)
        return self._apply_to(x, weight) if x.dim() > 1 else self._apply_to(x[None], weight)[0]

    def _apply_to(self, x: Any, weight: Any) -> Any:
        if self.fallback and not _has_int8_product(x.device):
            return torch.nn.functional.linear(x, self._dense(x.dtype), _to(self.bias, x.dtype))
        if weight.dtype == torch.int8:
            return prepared(x, weight, self.state_W, self.bias)
        return trained(x, weight, self.bias, How(self.vector_wise_quantization, self.mem_efficient))

    def _refuse(self, x: Any, place: Any) -> NoReturn:
        """Say what torch.nn.Linear could not do either, or that there is no weight to train."""
        name = self._get_name()
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

    def _dense(self, dtype: Any) -> Any:
        if self.prepared:
            return (self.W_int8 * (self.state_W.float() / 127.0)[:, None]).to(dtype)
        return self.weight.to(dtype)

    # What torch.nn.Module asks of a layer that changes its parameters

    def _become_prepared(self, W_int8: Any, state_W: Any) -> None:
        self.int8_original_dtype = self.weight.dtype
        del self.weight
        self.register_buffer("W_int8", W_int8)
        self.register_buffer("state_W", state_W)

    def _become_trainable(self, weight: Any) -> None:
        del self.W_int8, self.state_W
        self.__dict__.pop("int8_original_dtype", None)
        self.weight = torch.nn.Parameter(weight)

    def __getattr__(self, name: str) -> Any:
        """Give the weight of a prepared layer to who reads it: a copy that refuses writes."""
        if name == "weight" and "W_int8" in self.__dict__.get("_buffers", ()):
            return self._dense(self.int8_original_dtype).as_subclass(FrozenWeight)
        return torch.nn.Module.__getattr__(self, name)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        """Take the form, prepared or not, of what is loaded, if that fits this layer."""
        refused = self._take_form(*(state_dict.get(prefix + name) for name in _STORED))
        super()._load_from_state_dict(state_dict, prefix, *rest)
        if self.prepared and self.state_W.dtype != torch.float32:
            self.state_W = self.state_W.float()  # bitsandbytes stored 16 bits; assign=True takes it
        if refused:
            rest[-1].append(f"{prefix.rstrip('.') or self._get_name()}: {refused}")

    def _take_form(self, weight: Any, W_int8: Any, state_W: Any) -> str:
        """Become what is to be loaded; return why it does not fit."""
        shape = (self.out_features, self.in_features)
        if self.prepared and weight is not None:
            if tuple(weight.shape) != shape:
                return f"a weight of shape {tuple(weight.shape)} does not fit {shape}"
            place = self.W_int8.device
            self._become_trainable(torch.empty(shape, dtype=weight.dtype, device=place))
        elif not self.prepared and W_int8 is not None and state_W is not None:
            states = self.out_features if self.vector_wise_quantization else 1
            if (tuple(W_int8.shape), tuple(state_W.shape)) != (shape, (states,)):
                return (
                    f"W_int8 {tuple(W_int8.shape)} with state_W {tuple(state_W.shape)} does not "
                    f"fit {shape} with vector_wise_quantization={self.vector_wise_quantization}, "
                    f"which has {(states,)}"
                )
            place = self.weight.device
            self._become_prepared(
                torch.empty(shape, dtype=torch.int8, device=place),
                torch.empty(states, dtype=torch.float32, device=place),
            )
        return ""

    def _apply(self, fn: Callable[[Any], Any], *rest: Any, **more: Any) -> Any:
        """Keep the scales float32 when the module is cast."""
        before = self.state_W if self.prepared else None
        super()._apply(fn, *rest, **more)
        if before is not None and self.state_W.dtype != before.dtype:
            self.state_W = before.to(self.state_W.device)
        if "int8_original_dtype" in self.__dict__:
            weight = torch.empty(0, dtype=self.int8_original_dtype)
            self.int8_original_dtype = fn(weight).dtype
        return self

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


def _autocast(x: Any) -> Any:
    """Cast x as autocast casts the input of a linear layer: never from float64."""
    dtype = _autocast_dtype("cuda" if x.is_cuda else x.device.type)
    return x if dtype is None or x.dtype == torch.float64 else x.to(dtype)


if hasattr(torch, "get_autocast_dtype"):

    def _autocast_dtype(kind: str) -> Any:
        """Return what autocast casts to on this kind of device, None where it is off."""
        on = kind != "meta" and torch.is_autocast_enabled(kind)
        return torch.get_autocast_dtype(kind) if on else None

else:

    def _autocast_dtype(kind: str) -> Any:
        """Do so where earlier releases ask for each kind by another name."""
        if kind == "cpu":
            return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None
        return torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else None


SwitchBackLinearGlobal = functools.partial(SwitchBackLinear, vector_wise_quantization=False)
SwitchBackLinearGlobalMemEfficient = functools.partial(
    SwitchBackLinear, vector_wise_quantization=False, mem_efficient=True
)
SwitchBackLinearVectorwise = functools.partial(SwitchBackLinear, vector_wise_quantization=True)
