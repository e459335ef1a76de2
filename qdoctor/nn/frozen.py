"""The weight of a prepared layer, for reading: writes to it would be lost, and are refused."""

# ruff: noqa: ANN401 - torch is untyped here
# mypy: disable-error-code="misc, override"

from __future__ import annotations

from typing import Any

import torch  # noqa: TID253 - the layers' own package

_AS_PLAIN = frozenset({"__reduce_ex__", "__deepcopy__"})
_HARMLESS = frozenset({"requires_grad_", "retain_grad", "__int__", "__index__", "__invert__"})


class FrozenWeight(torch.Tensor):
    """A copy of a weight that is kept as int8, in the dtype it had.

    Code that asks a layer for its weight's shape, dtype or device, or computes with it, works.
    Writing raises RuntimeError: assigning ``.data``, as PEFT does to merge an adapter, and every
    in-place operation. What is computed from it is a plain tensor. ``refusal`` is what a subclass
    says instead, for another layer.
    """

    refusal = ""

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: Any | None = None
    ) -> Any:
        """Run the function on the plain tensor, if it does not write to this one."""
        del types
        name = getattr(func, "__name__", "")
        if func == torch.Tensor.data.__get__:
            return args[0]  # a plain tensor would take writes, and lose them
        kwargs = kwargs or {}
        written = [kwargs.get("out")]
        if func == torch.Tensor.data.__set__ or _writes(name):
            written.append(next(iter((*args, *kwargs.values()))))  # torch.nn.init names it
        if any(isinstance(one, cls) for one in written):
            raise RuntimeError(cls.refusal or READ_ONLY)
        if name in _AS_PLAIN:  # whoever keeps it keeps numbers, and no layer
            plain = args[0].as_subclass(torch.Tensor).clone()
            return plain if name == "__deepcopy__" else plain.__reduce_ex__(*args[1:])
        with torch._C.DisableTorchFunctionSubclass():  # noqa: SLF001 - torch's documented way
            return func(*args, **kwargs)


READ_ONLY = (
    "qdoctor.nn.SwitchBackLinear was prepared for eval: its weight is int8, in W_int8 and state_W, "
    "and cannot be written. Merge adapters, train or initialise before prepare_for_eval(), take "
    "quantize_(..., training=True), or load a state_dict that holds the weight."
)


def _writes(name: str) -> bool:
    """Say whether torch's function of that name changes its first argument."""
    if name in _HARMLESS:
        return False
    dunder = name.startswith("__")
    return name == "__setitem__" or (name.startswith("__i") if dunder else name.endswith("_"))
