"""SwitchBack's forward on a CPU, as qdoctor.nn computes it there, for the probe switchback_forward.

Python 3.8 syntax, standard library only; torch comes as an argument.
"""

# ruff: noqa: ANN401 - torch comes as an argument, without its types

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

NEEDED = "assume_constant_result"
"""Of torch.compiler: qdoctor.nn does not import without it."""


class Layer:
    """An int8 linear layer in bfloat16 by torch's own operations and its fastest exact product."""

    def __init__(self, made: Any, torch: Any) -> None:
        """Choose the product. Raises _outcomes.Skipped for a torch without what qdoctor.nn needs.

        RuntimeError: no product is exact here.
        """
        if not hasattr(getattr(torch, "compiler", None), NEEDED):
            text = "this torch has no torch.compiler.{}, which qdoctor.nn needs".format(NEEDED)
            raise made.Skipped("not-shipped", text)
        self._plain, self.dtype = _beside("_switchback_plain"), torch.bfloat16
        products, self.notes = self._plain.exact_on_cpu(made)
        if not products:
            raise RuntimeError("no int8 product is exact here: " + "; ".join(self.notes))
        self.name = self._plain.fastest(products)
        self._multiply = products[self.name]

    def forward(self, x: Any, weight: Any, bias: Any) -> Any:
        """Compute x (M x K) by weight (N x K) transposed, plus bias: M x N."""
        return self.prepared(x, self._plain.quantize_rows(weight), bias)

    def prepared(self, x: Any, weight: Tuple[Any, Any], bias: Any) -> Any:
        """Do so with a weight that is quantized already."""
        q, scale = self._plain.quantize_rows(x)
        sums = self._multiply(q, weight[0])
        return self._plain.rescaled(sums, scale, weight[1], bias, self.dtype)

    def timed(
        self, operands: Tuple[Any, Any, Any], reference: Callable[[Any, Any, Any], Any]
    ) -> Dict[str, float]:
        """Time it on the common product, ``operands``, the weight quantized beforehand."""
        api = _beside("_torch")
        x, weight, bias = operands
        quantized = self._plain.quantize_rows(weight)

        def in_float64(a: Any, b: Any) -> Any:
            return reference(a, b, bias[: b.shape[0]])

        return {
            "timed_rel_error": api.corner_error(
                self.prepared(x, quantized, bias), in_float64, x, weight
            ),
            "milliseconds": api.milliseconds_on_cpu(lambda: self.prepared(x, quantized, bias)),
            **api.shape_numbers((x.shape[0], x.shape[1], weight.shape[0])),
        }

    def told(self) -> List[str]:
        """What is to be known of the product."""
        return ["sums past 2**24 are exact", *self.notes]


def _beside(name: str) -> Any:
    module = sys.modules.get("qdoctor_kernel_" + name)
    if module is None:
        path = Path(__file__).resolve().with_name(name + ".py")
        spec = importlib.util.spec_from_file_location("qdoctor_kernel_" + name, str(path))
        module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        sys.modules[spec.name] = module  # type: ignore[union-attr]
        spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module
