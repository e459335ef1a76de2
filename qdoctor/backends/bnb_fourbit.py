"""What ``bnb-nf4`` and ``bnb-fp4`` share: bitsandbytes' Linear4bit."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 - runs in the user's process, on demand

from qdoctor.backends.kind import Kind, bytes_of, library
from qdoctor.backends.precision import HALVES, half_dtype
from qdoctor.backends.transformers_configs import bits_and_bytes
from qdoctor.backends.trial import failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

INSTALL = "python -m pip install bitsandbytes"
STORAGE = torch.uint8
"""What two weights a byte are kept as. A floating storage would please code that reads
``layer.weight.dtype``, but then ``model.half()`` converts the packed bytes as if they were numbers
and the weights are gone; bytes are left alone."""


class BnbFourBit(Kind):
    """4-bit weights in blocks of 64 with a float32 scale each; products in 16 bit.

    ``quant_type`` is "nf4" or "fp4". A weight of 16 bits is computed with in its own dtype, a wider
    one in the 16-bit format that its device has. The scales are not quantized again.
    """

    def __init__(self, name: str, quant_type: str) -> None:
        """Raise BackendUnavailable without a bitsandbytes that imports."""
        library("bitsandbytes", backend=name, install=INSTALL)
        self.name = name
        self.quant_type = quant_type

    def refuses(self, linear: Any) -> str:
        """Refuse where the installed bitsandbytes fails on the layer's device (tried once)."""
        return failure(self, linear)

    def replaced(self, linear: Any, *, training: bool = False) -> Any:
        """Return a Linear4bit, its weight packed."""
        del training  # why_not says why there is none
        layers = importlib.import_module("qdoctor.backends.bnb_layers")
        params = importlib.import_module("bitsandbytes.nn").Params4bit
        weight = linear.weight.detach()
        dtype = weight.dtype if weight.dtype in HALVES else half_dtype(weight.device)
        how = {
            "compress_statistics": False,
            "quant_type": self.quant_type,
            "quant_storage": STORAGE,
        }
        with torch.device("meta"):
            made = layers.Linear4bit(
                linear.in_features,
                linear.out_features,
                bias=linear.bias is not None,
                compute_dtype=dtype,
                **how,
            )
        packed = params(weight, requires_grad=False, module=made, **how)
        made.weight = packed.to(weight.device)
        made.bias = _bias(linear)
        return made.train(linear.training)

    def mark(self, model: Any) -> str:
        """Set ``is_loaded_in_4bit``, by which PEFT knows to merge adapters into such layers."""
        model.is_loaded_in_4bit = True
        return "is_loaded_in_4bit is set, as transformers sets it: PEFT asks for it"

    def transformers_config(self, skip: Sequence[str] = ()) -> Any:
        """Return the BitsAndBytesConfig for this layer; ``skip`` as for ``bits_and_bytes``."""
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return bits_and_bytes(
            self.name,
            skip,
            load_in_4bit=True,
            bnb_4bit_quant_type=self.quant_type,
            bnb_4bit_compute_dtype=half_dtype(device),
            bnb_4bit_use_double_quant=False,
            bnb_4bit_quant_storage=STORAGE,
        )

    def weight_bytes(self, module: Any) -> int:
        """Count the packed weight, its blocks' scales and the table of 16 levels."""
        return bytes_of([module.weight.data, *_tensors(module.weight.quant_state)])


def _tensors(state: Any) -> Iterator[Any]:
    for value in vars(state).values():
        if isinstance(value, torch.Tensor):
            yield value
        elif hasattr(value, "absmax"):  # the scales' own scales
            yield from _tensors(value)


def _bias(linear: Any) -> Any:
    if linear.bias is None:
        return None
    return torch.nn.Parameter(linear.bias.detach().clone(), linear.bias.requires_grad)
