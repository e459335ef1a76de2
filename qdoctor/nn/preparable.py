"""A linear layer with two forms: with a weight to train, or prepared, the weight kept as int8."""

# ruff: noqa: ANN401, N803, N815 - torch is untyped here; buffers keep old names
# mypy: disable-error-code="misc"

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 - the layers' own package

from qdoctor.nn.frozen import READ_ONLY, FrozenWeight
from qdoctor.nn.gradients import quantize_weight

if TYPE_CHECKING:
    from collections.abc import Callable

_STORED = ("weight", "W_int8", "state_W")
_COMPUTED = {
    "weight_g": "torch.nn.utils.remove_weight_norm(layer)",
    "weight_mask": 'torch.nn.utils.prune.remove(layer, "weight")',
    "weight_orig": "torch.nn.utils.remove_spectral_norm(layer)",
}
"""What hooks leave on a layer whose weight they compute at each forward, and how to end that."""


class Preparable(torch.nn.Linear):
    """``torch.nn.Linear`` that can be prepared, and takes either form from a state_dict.

    Prepared, its weight is read through ``weight`` (a copy each time, which refuses writes).
    """

    vector_wise_quantization: bool
    W_int8: Any
    state_W: Any
    int8_original_dtype: Any
    """Of a prepared layer: what its weight was, and would be by later casts (OpenCLIP and
    others ask a layer which dtype its neighbours compute in)."""

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
        weight is computed: parametrized, normed or pruned.
        """
        if torch.nn.utils.parametrize.is_parametrized(self, "weight"):
            raise RuntimeError(
                f"{self._get_name()} cannot be prepared while its weight is parametrized: call "
                'torch.nn.utils.parametrize.remove_parametrizations(layer, "weight") first'
            )
        stored = (*self._parameters, *self._buffers)
        computed = next((how for name, how in _COMPUTED.items() if name in stored), "")
        if computed:
            raise RuntimeError(
                f"{self._get_name()} cannot be prepared while a hook computes its weight: call "
                f"{computed} first"
            )
        if not self.prepared:
            self._become_prepared(
                *quantize_weight(self.weight, vector_wise=self.vector_wise_quantization)
            )

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

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse a new weight for a prepared layer: it computes with the int8 one."""
        if name == "weight" and "W_int8" in self.__dict__.get("_buffers", ()):
            raise RuntimeError(READ_ONLY)
        torch.nn.Module.__setattr__(self, name, value)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        """Take the form, prepared or not, of what is loaded, if that fits this layer."""
        stored = [prefix + name for name in _STORED]
        refused = self._take_form(*map(state_dict.get, stored))
        if refused:
            state_dict = {key: state_dict[key] for key in state_dict if key not in stored}
        super()._load_from_state_dict(state_dict, prefix, *rest)
        if self.prepared and self.state_W.dtype != torch.float32:
            self.state_W = self.state_W.float()  # bitsandbytes stored 16 bits; assign=True takes it
        if self.prepared and self.W_int8.dtype != torch.int8:  # a state_dict that was cast as one
            self.W_int8 = self.W_int8.to(torch.int8)
        if refused:
            rest[-1].append(f"{prefix.rstrip('.') or self._get_name()}: {refused}")

    def _take_form(self, weight: Any, W_int8: Any, state_W: Any) -> str:
        """Become what is to be loaded; return why it does not fit."""
        shape = (self.out_features, self.in_features)
        if W_int8 is not None and not _are_int8(W_int8):
            return f"W_int8 of {W_int8.dtype} holds numbers that int8 does not"
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


def _are_int8(values: Any) -> bool:
    """Say whether numbers of any dtype are what int8 holds, so that a cast loses nothing."""
    if values.dtype == torch.int8 or values.is_meta:
        return True
    return bool((values.to(torch.int8) == values).all())
