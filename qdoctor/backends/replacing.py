"""``quantize_``: replace the linear layers of a model, in place, by a backend's."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch  # noqa: TID253 - runs in the user's process, on demand

from qdoctor.backends import named
from qdoctor.backends.fused_encoder import leave_fast_path
from qdoctor.backends.kind import BackendUnavailable, Kind
from qdoctor.backends.layers_of import places
from qdoctor.backends.left_alone import LeftAlone
from qdoctor.backends.names import idle, listed, near
from qdoctor.backends.trial import out_of_range
from qdoctor.backends.unreached import WHOLE, unreached
from qdoctor.caller import warn

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qdoctor.backends.layers_of import Place


class Replaced(NamedTuple):
    """What became of a model's linear layers; names are dotted.

    ``replaced``: the layers replaced. ``skipped``: those left as they are, and why. ``notes``: what
    else was changed or is to be known, by the module it concerns.
    """

    replaced: tuple[str, ...]
    skipped: dict[str, str]
    notes: dict[str, str]

    def __str__(self) -> str:
        """Tell it in lines: one for all that was replaced, one for each reason and note."""
        left = _grouped(self.skipped, "left as it is: ")
        return "\n".join([f"{len(self.replaced)} layers replaced", *left, *_grouped(self.notes)])


def _grouped(told: dict[str, str], lead: str = "") -> list[str]:
    """Tell what was said of several modules once, naming the first."""
    by_text: dict[str, list[str]] = {}
    for name, text in told.items():
        by_text.setdefault(text, []).append(name)
    return [
        f"{names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}: {lead}{text}"
        for text, names in by_text.items()
    ]


class QuantizingFailed(RuntimeError):  # noqa: N818 - says what happened, as BackendUnavailable
    """A layer could not be replaced; the model works, and ``done`` says what of it is new."""

    def __init__(self, text: str, done: Replaced) -> None:
        """Keep what was replaced before."""
        super().__init__(text)
        self.done = done


def quantize_(
    model: Any,
    kind: Kind | str,
    *,
    include: str | Iterable[str] | None = None,
    skip: str | Iterable[str] | None = None,
    training: bool = False,
) -> Replaced:
    """Replace the ``torch.nn.Linear`` layers of a model by those of a backend, in place.

    Args:
        model: a torch.nn.Module, its weights loaded, on the device where it is to run.
        kind: the backend, or its name.
        include: names of the layers to replace, of modules above them, ends of names (``c_fc``) or
            globs; None for all, an empty list for none.
        skip: the same for what is left alone, which outweighs include.
        training: make layers whose weights can be trained; they are new parameters, so make the
            optimizer afterwards.

    Left alone, each with its reason: what is listed, weights tied to others, output layers, layers
    with fewer than 32 inputs or outputs, shapes, types and devices that the backend does not take,
    subclasses of torch.nn.Linear, computed weights, what is quantized, sharded or offloaded, what
    its parent reads directly, weights so small or large that the backend would lose them, layers
    with parameters, buffers or modules beside weight and bias. A
    layer that ``include`` names outright is replaced though it be small or an output layer.

    Each new layer keeps the old one's device, mode (but a frozen SwitchBack layer is always in eval
    mode), public attributes but tensors, and forward and backward hooks, and, unless it is to be
    trained, the old dtype as ``int8_original_dtype`` (where OpenCLIP looks). One layer is replaced
    after the other and the old weight freed before the next: beyond the model, memory is needed for
    the largest layer's new weight and the backend's copies in making it.

    Raises TypeError (not a model), ValueError (a name that is in no list or no model, a model that
    is wrapped already), BackendUnavailable (nothing of it works here: the model is untouched),
    QuantizingFailed.
    """
    _must_be_a_model(model)
    if isinstance(kind, str):
        kind = named(kind)
    if training and not kind.trainable:
        raise BackendUnavailable(
            f"{kind.name} makes no layers that can be trained: {kind.untrained_because()}"
        )
    found = places(model)
    chosen, unwanted = listed(include, "include"), listed(skip, "skip")
    _check_names(model, found, chosen, unwanted)
    named_only = None if include is None else chosen
    left = LeftAlone(model, named_only, unwanted, training=training)
    wanted, skipped = _sorted_out(found, left, kind)
    del left  # it knows the old layers
    done = Replaced((), skipped, unreached(model))
    return _replace_all(model, wanted, kind, done, training=training)


def _must_be_a_model(model: Any) -> None:
    if isinstance(model, torch.jit.ScriptModule):
        raise TypeError("quantize_: a TorchScript module cannot be changed: quantize, then script")
    if not isinstance(model, torch.nn.Module):
        raise TypeError(
            f"quantize_ takes a torch.nn.Module, not {type(model).__module__}."
            f"{type(model).__qualname__}; of a pipeline, give it the models one by one"
        )
    for name, module in model.named_modules():
        wrapper = type(module).__name__
        if wrapper in _WRAPPERS:
            raise ValueError(
                f"quantize_: {name or 'the model'} is a {wrapper}, which keeps the old parameters: "
                "quantize the model first, then wrap it"
            )
    if isinstance(model, torch.nn.Linear):
        raise TypeError(
            "quantize_ replaces the layers inside a module, and this one is a linear layer itself: "
            "take backend.linear(...), or put it into a torch.nn.Sequential"
        )


_WRAPPERS = frozenset({"DistributedDataParallel", "FullyShardedDataParallel"})


def _check_names(
    model: Any, found: Sequence[Place], include: Sequence[str], skip: Sequence[str]
) -> None:
    """Refuse an include that means nothing; warn of such a skip."""
    layers = [name for place in found for name in place.names]
    for pattern in idle(include, layers):
        raise ValueError(
            f"quantize_: include={pattern!r} names no linear layer" + _hint(pattern, layers)
        )
    modules = [name for name, _ in model.named_modules(remove_duplicate=False) if name]
    for pattern in idle(skip, modules):
        text = f"quantize_: skip={pattern!r} names no module of this model" + _hint(
            pattern, modules
        )
        warn(text, UserWarning)


def _hint(pattern: str, names: Sequence[str]) -> str:
    close = near(pattern, names)
    if close:
        return f"; did you mean {' or '.join(map(repr, close))}?"
    ends = list(dict.fromkeys(name.rpartition(".")[2] for name in names))
    more = ", ..." if len(ends) > _SHOWN else ""
    return f"; there are {', '.join(ends[:_SHOWN])}{more}" if ends else "; there are none"


_SHOWN = 8


def _sorted_out(
    found: Sequence[Place], left: LeftAlone, kind: Kind
) -> tuple[list[Place], dict[str, str]]:
    """Split the layers into those to replace and those left alone, with why.

    Raises BackendUnavailable where the backend refuses all that it is offered.
    """
    wanted, skipped, refused = [], {}, []
    for place in found:
        why = left.why(place)
        if not why and not (why := kind.spares(place.layer, training=left.training)):
            why = kind.why_not(place.layer, training=left.training)
            if not (why or left.training):
                why = out_of_range(kind, place.layer)
            refused += [why] if why else []
        if why:
            skipped.update(dict.fromkeys(place.names, why))
        else:
            wanted.append(place)
    if refused and not wanted:
        raise BackendUnavailable(
            f"quantize_: {kind.name} can replace none of the {len(refused)} layers that it was "
            f"offered, and nothing was changed: {refused[0]}"
        )
    return wanted, skipped


def _replace_all(
    model: Any, wanted: Sequence[Place], kind: Kind, done: Replaced, *, training: bool
) -> Replaced:
    for count, place in enumerate(wanted):
        try:
            _replace(place, kind, training=training)
        except Exception as error:
            first = (str(error).strip() or "no message").splitlines()[0]
            raise QuantizingFailed(
                f"quantize_: {kind.name} failed at {place.name} ({type(error).__name__}: {first}). "
                f"The model works: {count} of {len(wanted)} layers are replaced"
                + (f" ({done.replaced[0]} to {done.replaced[-1]})" if count else "")
                + ", the others are as they were (.done names them)",
                done,
            ) from error
        if not training:
            leave_fast_path(model, place, done.notes)
        done = done._replace(replaced=(*done.replaced, *place.names))
    if wanted and not training and (told := kind.mark(model)):
        before = done.notes.get(WHOLE)
        done.notes[WHOLE] = f"{before}; {told}" if before else told
    return done


_HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_is_full_backward_hook",
)


def _replace(place: Place, kind: Kind, *, training: bool) -> None:
    """Put the new layer everywhere the old one stands; nothing is changed before it is made."""
    old = place.layer
    with torch.inference_mode(mode=False), torch.no_grad():  # a layer for other modes, too
        new = kind.replaced(old, training=training)
    for hook in _HOOKS:  # the very tables: whoever registered a hook can still remove it
        if vars(old).get(hook):
            vars(new)[hook] = vars(old)[hook]
    for name, value in vars(old).items():  # what others noted there, which hooks may read
        if name not in vars(new) and name[0] != "_" and not isinstance(value, torch.Tensor):
            vars(new)[name] = value
    if not training:
        new.int8_original_dtype = old.weight.dtype
    for parent, attribute in place.holders:
        parent._modules[attribute] = new  # noqa: SLF001 - whatever the parent's __setattr__ does
