"""What the torchao backends share: its quantized weight in a layer of ours that passes gradients.

torchao quantizes a layer by giving it another weight, and is slow unless compiled: each of its
steps is an operator of its own. What is measured is the layer as it is applied, not compiled;
``torch.compile(model)`` after ``quantize_`` fuses them. Its layers pass no gradient to their
inputs, some without a word; ours does.
"""

# ruff: noqa: ANN401 - torch is untyped here
# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 - runs in the user's process, on demand

from qdoctor.backends.kind import BackendUnavailable, Kind, bytes_of, library
from qdoctor.backends.names import as_regex
from qdoctor.backends.precision import HALVES, cast_input, half_dtype
from qdoctor.backends.transformers_configs import skipped
from qdoctor.backends.trial import failure
from qdoctor.nn.products import is_shortage
from qdoctor.shipped import kernels_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

INSTALL = "python -m pip install torchao"
_TRIED = (256, 256)
"""Sizes of a layer that every format takes."""
BLOCK = 1024
"""Columns of the weight that are written out at a time where an input wants a gradient."""


class TorchAoLinear(torch.nn.Linear):
    """A linear layer whose weight is one of torchao's tensors.

    Takes (..., in_features) of any floating dtype and answers in it, under autocast in autocast's;
    computes in ``compute_dtype``, with zeros added up to ``fewest_rows`` where there are fewer. The
    weight keeps its dtype when the module is cast. Inputs and bias get gradients, by the weight as
    it is kept; the weight gets none.
    """

    compute_dtype: Any
    fewest_rows: int = 1

    def forward(self, x: Any) -> Any:
        """Apply the layer to x (..., in_features)."""
        x = cast_input(self, x)
        if not x.numel() or x.is_meta:
            return x @ x.new_zeros(1, 1).expand(self.in_features, self.out_features)
        flat = x.reshape(-1, self.in_features).to(self.compute_dtype).contiguous()
        rows = flat.shape[0]
        if rows < self.fewest_rows:
            flat = torch.nn.functional.pad(flat, (0, 0, 0, self.fewest_rows - rows))
        bias = None if self.bias is None else self.bias.to(self.compute_dtype)
        asked = flat.requires_grad or (bias is not None and bias.requires_grad)
        if torch.is_grad_enabled() and asked:
            y = _Product.apply(flat, self.weight, bias)
        else:
            y = torch.nn.functional.linear(flat, self.weight, bias)
        return y[:rows].to(x.dtype).view(*x.shape[:-1], self.out_features)

    def _apply(self, fn: Callable[[Any], Any], *rest: Any, **more: Any) -> Any:
        """Move the weight with the module, and never cast it: what it packs are no numbers."""
        weight = self._parameters.pop("weight")
        assert weight is not None  # noqa: S101 - for the type checker
        super()._apply(fn, *rest, **more)
        probe = torch.empty(0, dtype=self.compute_dtype, device=weight.device)
        moved = weight.to(fn(probe).device)
        bias = self._parameters.pop("bias", None)
        self.weight = torch.nn.Parameter(moved.detach(), requires_grad=False)
        self.register_parameter("bias", bias)
        return self

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: Any,
        strict: bool,  # noqa: FBT001 - torch.nn.Module's own arguments
        missing_keys: list[str],
        *lists: list[str],
    ) -> None:
        """Take a quantized weight over: not all of torchao's tensors can be copied into."""
        name = f"{prefix}weight"
        weight = state_dict.get(name)
        rest = {key: value for key, value in state_dict.items() if key != name}
        super()._load_from_state_dict(rest, prefix, local_metadata, strict, missing_keys, *lists)
        if weight is None:
            return
        missing_keys[:] = [key for key in missing_keys if key != name]
        fitting = type(weight.data) is type(self.weight.data) and weight.shape == self.weight.shape
        if fitting:
            taken = weight.detach().to(self.weight.device)
            self.weight = torch.nn.Parameter(taken, requires_grad=False)
        else:
            own = f"{type(self.weight.data).__name__} of {tuple(self.weight.shape)}"
            kind = f"{type(weight.data).__name__} of {tuple(weight.shape)}"
            lists[-1].append(f"{name} is a {kind}, where this layer has a {own}")

    def extra_repr(self) -> str:
        """Say the sizes, and what torchao calls its weight."""
        return f"{super().extra_repr()}, weight={type(self.weight.data).__name__}"


class _Product(torch.autograd.Function):
    """The quantized product, with the gradients that torchao leaves out."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any) -> Any:
        ctx.save_for_backward(weight)
        ctx.bias = bias is not None
        return torch.nn.functional.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (weight,), (grad,) = ctx.saved_tensors, grads
        into_x = grad @ written_out(weight, grad) if ctx.needs_input_grad[0] else None
        into_bias = grad.sum(0) if ctx.bias and ctx.needs_input_grad[2] else None
        return into_x, None, into_bias


def written_out(weight: Any, like: Any) -> Any:
    """Return the numbers that a quantized weight stands for (out_features x in_features).

    The layer itself tells them: it is given unit vectors, which every format holds exactly. Not all
    of torchao's tensors can be dequantized otherwise.
    """
    depth = weight.shape[-1]
    rows = min(BLOCK, depth)
    parts = []
    for start in range(0, depth, BLOCK):
        first = min(start, depth - rows)
        units = torch.zeros(rows, depth, dtype=like.dtype, device=like.device)
        units.diagonal(first).fill_(1)
        parts.append(torch.nn.functional.linear(units, weight)[start - first :])
    return torch.cat(parts).t()


class TorchAo(Kind):
    """One of torchao's formats: ``format`` is a name of kernels/_torchao.py.

    On a GPU its product asks for ``fewest_rows`` and for depths and columns of whole multiples
    of ``units``, on a CPU of ``on_cpu``; ``dtypes`` are those of the weights that torchao takes:
    others are cast to one of them.
    """

    format: str
    fewest_rows: int = 1
    units: tuple[int, int] = (1, 1)
    on_cpu: tuple[int, int] = (1, 1)
    dtypes: tuple[Any, ...] = HALVES

    def __init__(self) -> None:
        """Raise BackendUnavailable without a torchao that imports and has the format."""
        library("torchao", backend=self.name, install=INSTALL)
        reasons = [self._missing(device) for device in ("cuda", "cpu")]
        if all(reasons):
            raise BackendUnavailable(f"{self.name}: {reasons[0]}; `{INSTALL} -U` has newer ones")

    def refuses(self, linear: Any) -> str:
        """Refuse what torchao would leave alone or multiply otherwise, and where a trial fails."""
        weight = linear.weight
        if weight.dtype == torch.float64:
            return f"its weight is {weight.dtype}: {self.format} would lose nearly all of it"
        missing = self._missing(weight.device.type)
        if missing:
            return missing
        depth, columns = self.on_cpu if weight.device.type == "cpu" else self.units
        if linear.in_features % depth or linear.out_features % columns:
            return (
                f"{self.name} takes in_features of whole {depth}s and out_features of whole "
                f"{columns}s; this layer is {linear.in_features} -> {linear.out_features}"
            )
        return failure(self, linear)

    def replaced(self, linear: Any, *, training: bool = False) -> Any:
        """Return a TorchAoLinear of the layer's weight and a copy of its bias."""
        del training  # why_not says why there is none
        weight = linear.weight.detach()
        dtype = self.computed_in(weight)
        made = like(linear, TorchAoLinear)
        made.compute_dtype = dtype
        made.fewest_rows = 1 if weight.device.type == "cpu" else self.fewest_rows
        made.weight = torch.nn.Parameter(weight.to(dtype, copy=True), requires_grad=False)
        recipe = recipes().recipe(self.format, weight.device.type, group=self.group(linear))
        recipe.apply(torch.nn.Sequential(made))
        made.__dict__.pop("extra_repr", None)  # torchao's, bound to this very module: not copied
        if not hasattr(made.weight, "__tensor_flatten__"):
            raise RuntimeError(f"{recipe.words} left a layer of {tuple(weight.shape)} as it was")
        return made.train(linear.training)

    def computed_in(self, weight: Any) -> Any:
        """Say in which dtype a weight is quantized and computed with."""
        own = half_dtype(weight.device)
        fitting = (weight.dtype, own, *self.dtypes)
        return next(dtype for dtype in fitting if dtype in self.dtypes)

    def group(self, linear: Any) -> int:
        """Say how many weights share a scale, where the format asks for a choice."""
        del linear
        return int(recipes().GROUP)

    def transformers_config(self, skip: Sequence[str] = ()) -> Any:
        """Return the TorchAoConfig that loads a model so; ``skip`` names modules to leave alone.

        Raises BackendUnavailable where transformers is missing, or too old to take torchao's own
        configurations, and where a layer of this format fails on the GPU here, or without one on
        the CPU: transformers would load the model, and its layers raise at the first answer.
        """
        module = library(
            "transformers", backend=self.name, install="python -m pip install transformers"
        )
        device = "cuda" if torch.cuda.is_available() else "cpu"
        if missing := self._missing(device):
            raise BackendUnavailable(f"{self.name}: {missing}")
        if fails := self._fails_on(device):
            raise BackendUnavailable(fails)
        config = recipes().recipe(self.format, device).config
        names = skipped(skip)
        # its loader compares them with the parameter's name
        patterns = None if names is None else [rf"{as_regex(name)}\." for name in names]
        try:
            return module.TorchAoConfig(quant_type=config, modules_to_not_convert=patterns)
        except Exception as error:
            raise BackendUnavailable(
                f"{self.name}: transformers {module.__version__} does not take torchao's "
                f"{type(config).__name__} ({type(error).__name__}: {error}); "
                "`python -m pip install -U transformers`, or load the model and quantize_ it"
            ) from error

    def weight_bytes(self, module: Any) -> int:
        """Count the tensors inside torchao's tensor: data, scales and zero points, filled up."""
        return bytes_of([module.weight.data])

    def _fails_on(self, device: str) -> str:
        """Say how a small layer fails there (tried once); ``""`` where it works, or has no room."""
        try:
            dtype = self.computed_in(torch.empty(0, device=device))
            small = torch.nn.utils.skip_init(torch.nn.Linear, *_TRIED, device=device, dtype=dtype)
            return failure(self, small)
        except Exception as error:
            if is_shortage(error, torch.device(device)):
                return ""  # a full GPU says nothing about the format
            raise

    def _missing(self, device: str) -> str:
        """Say why this torchao, with this torch, has no recipe for a device; ``""``: it has."""
        try:
            recipes().recipe(self.format, device)
        except Exception as error:  # noqa: BLE001 - what torchao raises of this torch is the reason
            return f"{error}"
        return ""


def recipes() -> ModuleType:
    """Load kernels/_torchao.py, which knows how each release makes a format, by its path, once."""
    full = "qdoctor_kernel__torchao"
    if full not in sys.modules:
        path = kernels_folder() / "_torchao.py"
        spec = importlib.util.spec_from_file_location(full, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"no such file: {path}")
        module = importlib.util.module_from_spec(spec)
        sys.modules[full] = module
        spec.loader.exec_module(module)
    return sys.modules[full]


def like(linear: Any, layer: Any) -> Any:
    """Make an empty layer of the same sizes, with a copy of the bias."""
    bias = linear.bias
    made = layer(linear.in_features, linear.out_features, bias is not None, device="meta")
    if bias is not None:
        made.bias = torch.nn.Parameter(bias.detach().clone(), requires_grad=bias.requires_grad)
    return made
