"""What every quantization backend offers: Kind. Imports no torch."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

import abc
import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType


class BackendUnavailable(RuntimeError):  # noqa: N818 - says what is so, as asked for by name
    """The backend cannot be used here; the text says what is missing and what fixes it."""


class Kind(abc.ABC):
    """One backend: how it replaces a ``torch.nn.Linear``.

    A file of this package defines one and a function ``kind()`` that returns it, or raises
    BackendUnavailable. ``trainable``: its layers can train their weights. Layers that cannot still
    pass gradients on to their inputs, or ``why_not(..., training=True)`` says that they do not.
    """

    name: str
    trainable: bool = False

    def why_not(self, linear: Any, *, training: bool = False) -> str:
        """Say why this layer (a torch.nn.Linear) cannot be replaced; ``""`` if it can.

        The layer is judged by its weight's shape, dtype and device; nothing is computed with it.
        """
        if linear.weight.is_meta:
            return "its weight is on the meta device: there are no values to quantize yet"
        if str(linear.weight.dtype) not in FLOATING:
            return f"its weight is {linear.weight.dtype}, not floating-point of 16 bits or more"
        if not linear.weight.numel():
            return f"its weight is empty: {tuple(linear.weight.shape)}"
        if training and not self.trainable:
            return f"{self.name} cannot train a weight: {self.untrained_because()}"
        return self.refuses(linear)

    def untrained_because(self) -> str:
        """Say why weights are not trained, and what to do instead."""
        return (
            "it is kept quantized and gets no gradient; train adapters beside it (PEFT), "
            "or take half or qdoctor-switchback"
        )

    def refuses(self, linear: Any) -> str:
        """Say why this backend in particular cannot replace the layer; ``""`` if it can."""
        del linear
        return ""

    def spares(self, linear: Any, *, training: bool = False) -> str:
        """Say why replacing this layer of a model would change nothing; ``""`` if it would."""
        del linear, training
        return ""

    def mark(self, model: Any) -> str:
        """Let others know what became of a model, some of whose layers were replaced.

        Returns what was done, for people; ``""`` for nothing.
        """
        del model
        return ""

    @abc.abstractmethod
    def replaced(self, linear: Any, *, training: bool = False) -> Any:
        """Return a new module that does what the layer (a torch.nn.Linear) does, quantized.

        It stands on the layer's device and takes input (..., in_features) of any floating dtype
        that the backend computes with; the layer stays as it is. For inference the weight is
        quantized already; with ``training`` it is one that an optimizer can train.
        """

    def linear(  # noqa: PLR0913 - torch.nn.Linear's arguments
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,  # noqa: FBT001, FBT002 - as torch.nn.Linear has it
        *,
        device: Any = None,
        dtype: Any = None,
        training: bool = False,
    ) -> Any:
        """Make a layer as ``torch.nn.Linear(in_features, out_features, bias, ...)`` is made.

        Raises BackendUnavailable where this backend takes no such layer.
        """
        torch = importlib.import_module("torch")
        with torch.inference_mode(mode=False):  # a layer for other modes, too
            linear = torch.nn.Linear(in_features, out_features, bias, device=device, dtype=dtype)
            reason = self.why_not(linear, training=training)
            if reason:
                raise BackendUnavailable(
                    f"{self.name} has no layer {in_features} -> {out_features}: {reason}"
                )
            made = self.replaced(linear, training=training)
        return made.train(training)

    def transformers_config(self, skip: Sequence[str] = ()) -> Any | None:
        """Return the transformers quantization configuration that does what this backend does.

        ``skip`` are the modules to leave alone. None: transformers has no such backend, and the
        model is to be loaded as it is and given to ``quantize_``.
        """
        del skip
        return None

    def weight_bytes(self, module: Any) -> int:
        """Count the bytes that hold the weight in a replaced module: its data, scales and tables.

        The bias is left out; memory that two tensors share counts once.
        """
        tensors = [
            tensor
            for named in (module.named_parameters(), module.named_buffers())
            for name, tensor in named
            if name.rpartition(".")[2] != "bias"
        ]
        return bytes_of(tensors)


FLOATING = ("torch.float16", "torch.bfloat16", "torch.float32", "torch.float64")


def bytes_of(tensors: Sequence[Any]) -> int:
    """Count the bytes of tensors, those inside tensor subclasses included, shared memory once."""
    spans: dict[tuple[str, int], int] = {}
    for tensor in tensors:
        for plain in _plain(tensor):
            place = (str(plain.device), plain.data_ptr())
            size = plain.numel() * plain.element_size()
            spans[place] = max(size, spans.get(place, 0))
    return sum(spans.values())


def _plain(tensor: Any) -> Iterator[Any]:
    """Open a tensor subclass that tells its parts (torchao's do)."""
    if not hasattr(tensor, "__tensor_flatten__"):
        yield tensor
        return
    for name in tensor.__tensor_flatten__()[0]:
        yield from _plain(getattr(tensor, name))


def library(name: str, *, backend: str, install: str) -> ModuleType:
    """Import what a backend stands on, or raise BackendUnavailable: ``install`` is the command."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name.partition(".")[0]:
            raise BackendUnavailable(
                f"{backend}: {name.partition('.')[0]} is not installed: `{install}`"
            ) from error
        raise BackendUnavailable(_broken(name, backend, error)) from error
    except (Exception, SystemExit) as error:  # a package's import may fail in any way
        raise BackendUnavailable(_broken(name, backend, error)) from error


def _broken(name: str, backend: str, error: BaseException) -> str:
    first = (str(error).strip() or "no message").splitlines()[0]
    return (
        f"{backend}: {name} cannot be imported ({type(error).__name__}: {first}); "
        "`qdoctor check` says why and what fixes it"
    )
