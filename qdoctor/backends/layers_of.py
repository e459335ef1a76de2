"""The linear layers of a model, what their weights share, and who else reads them."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

import torch  # noqa: TID253 - runs in the user's process, on demand

if TYPE_CHECKING:
    from collections.abc import Iterator

CONV1D = "transformers.pytorch_utils.Conv1D"


class Place(NamedTuple):
    """A linear layer's places in a model; the layer itself is not held, so that it can be freed.

    ``names`` are dotted, first the one that it goes by; ``holders`` (parent, attribute) each.
    """

    names: tuple[str, ...]
    holders: tuple[tuple[Any, str], ...]

    @property
    def name(self) -> str:
        """The dotted name that the layer goes by."""
        return self.names[0]

    @property
    def layer(self) -> Any:
        """The layer that stands there now."""
        parent, attribute = self.holders[0]
        return parent._modules[attribute]  # noqa: SLF001 - torch has no other way to it


def places(model: Any) -> list[Place]:
    """Find every torch.nn.Linear, subclasses included, below a model; the shared ones once."""
    found: dict[int, list[tuple[str, Any, str]]] = {}
    for prefix, parent in model.named_modules(remove_duplicate=False):
        for attribute, child in parent._modules.items():  # noqa: SLF001 - with their attributes
            if isinstance(child, torch.nn.Linear) or class_of(child) == CONV1D:
                name = f"{prefix}.{attribute}" if prefix else attribute
                found.setdefault(id(child), []).append((name, parent, attribute))
    return [
        Place(tuple(one[0] for one in ways), tuple(one[1:] for one in ways))
        for ways in found.values()
    ]


def class_of(module: Any) -> str:
    """Name a module's class in full."""
    kind = type(module)
    return f"{kind.__module__}.{kind.__qualname__}"


# Sharing


def shared(model: Any) -> dict[int, tuple[str, ...]]:
    """Map the id of each parameter or buffer that is not alone in its memory to all names there.

    By identity and by address, over the whole model: tied embeddings are found however the model
    declares them, or does not.
    """
    owned = list(_tensors(model))
    names: dict[int, list[str]] = {}
    for name, tensor in owned:
        names.setdefault(id(tensor), []).append(name)
    together = {key: tuple(here) for key, here in names.items()}
    for (_, left), (_, right) in _overlapping(owned):
        if left is not right:
            here = (*names[id(left)], *names[id(right)])
            together[id(left)] = together[id(right)] = here
    return {key: here for key, here in together.items() if len(here) > 1}


def _tensors(model: Any) -> Iterator[tuple[str, Any]]:
    for prefix, module in model.named_modules():
        for own in (module._parameters, module._buffers):  # noqa: SLF001 - duplicates included
            for name, tensor in own.items():
                if tensor is not None:
                    yield (f"{prefix}.{name}" if prefix else name), tensor


def _overlapping(owned: list[tuple[str, Any]]) -> Iterator[tuple[Any, Any]]:
    """Pair tensors of one device whose addresses overlap. Not a common storage: files are one."""
    spans = sorted(
        (
            (str(data.device), data.data_ptr(), data.data_ptr() + _extent(data), index)
            for index, data in enumerate(tensor.data for _, tensor in owned)
            if type(data) is torch.Tensor and _has_address(data)
        ),
    )
    last: tuple[str, int, int, int] | None = None
    for span in spans:
        if last and span[0] == last[0] and span[1] < last[2]:
            yield owned[last[3]], owned[span[3]]
        if not last or span[0] != last[0] or span[2] > last[2]:
            last = span


def _has_address(data: Any) -> bool:
    dense = data.layout == torch.strided and not data.is_nested
    return dense and not data.is_meta and data.numel() > 0


def _extent(tensor: Any) -> int:
    reach = sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
    return int(reach + 1) * int(tensor.element_size())


# Reading


def read_directly(parent: Any, attribute: str) -> str | None:
    """Name the method in which a module's class takes ``self.<attribute>.weight`` as a tensor.

    Such a weight is used past the layer's forward. Only what the class's own source says is seen;
    asking for the weight's dtype, device or class does not count. None: none is seen.
    """
    for kind in type(parent).__mro__:
        if kind is torch.nn.Module:
            return None
        method = _readers(kind).get(attribute)
        if method:
            return f"{kind.__qualname__}.{method}"
    return None


@functools.lru_cache(maxsize=1024)
def _readers(kind: type) -> dict[str, str]:
    """Map the children whose weights a class's methods take as tensors to the method."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError, SyntaxError):  # no source to read: nothing is known
        return {}
    found: dict[str, str] = {}
    for method in ast.walk(tree):
        if isinstance(method, ast.FunctionDef) and not method.name.lstrip("_").startswith(_SETUP):
            found.update(dict.fromkeys(_weights_taken(method), method.name))
    return found


_SETUP = ("init", "reset", "tie_")
"""How methods are named that fill or tie weights before the model is used."""
_ABOUT = frozenset({"dtype", "device", "shape", "size", "dim", "requires_grad", "is_cuda"})
_ASKING = frozenset({"isinstance", "type", "hasattr"})


def _weights_taken(method: ast.AST) -> Iterator[str]:
    asked = {id(one) for node in ast.walk(method) for one in _asked_about(node)}
    for node in ast.walk(method):
        if id(node) in asked or not isinstance(node, ast.Attribute) or node.attr != "weight":
            continue
        child = node.value
        if isinstance(child, ast.Attribute) and _is_self(child.value):
            yield child.attr


def _asked_about(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what an expression asks about without taking it."""
    if isinstance(node, ast.Attribute) and node.attr in _ABOUT:
        yield node.value
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in _ASKING:
        yield from node.args[:1]


def _is_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"
