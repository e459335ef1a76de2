"""What is asked of ``select_backend``, checked, and spelled one way."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # as typing's, without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from typing import Any, NoReturn

    from qdoctor.model import Asked

OBJECTIVES = ("balanced", "latency", "memory", "accuracy")
MEASURES = ("auto", "cached", "never")
LARGEST = 1 << 24
"""Of each of a shape's numbers; one with all three near it fits no memory, which measuring says."""


class Request:
    """One question; ``device`` is a GPU's number for CUDA, ``"cpu"``, or None for what comes first.

    ``text`` is all that decides the answer besides the machine; not the seconds that measuring may
    take, and not whether it may measure at all: an answer that was measured serves either.
    """

    __slots__ = (
        *("allow", "budget", "counts", "deny", "device", "max_error", "max_slowdown"),
        *("measure", "objective", "shapes", "text", "training"),
    )

    def __init__(  # noqa: PLR0913 - what may be asked
        self,
        objective: str = "balanced",
        *,
        max_error: float | None = None,
        shapes: Any = None,  # noqa: ANN401 - shapes, or anybody's model
        device: Any = None,  # noqa: ANN401 - as torch takes it
        training: bool = False,
        allow: Iterable[str] | None = None,
        deny: Iterable[str] | None = None,
        measure: str = "auto",
        budget: float = 10.0,
        max_slowdown: float | None = None,
    ) -> None:
        """Raise ``BadInput`` for what cannot be meant. Backends' names are not looked up here."""
        self.objective = _one_of(objective, OBJECTIVES, "objective")
        self.measure = _one_of(measure, MEASURES, "measure")
        self.max_error = None if max_error is None else _positive(max_error, "max_error")
        self.max_slowdown = (
            None if max_slowdown is None else _positive(max_slowdown, "max_slowdown")
        )
        self.budget = _positive(budget, "budget")
        self.training = yes_or_no(training, "training")
        self.device = device_of(device)
        self.shapes, self.counts = _shapes(shapes, self.device)
        self.allow, self.deny = _names(allow, "allow"), _names(deny, "deny")
        self.text = (
            f"{self.objective} error {self.max_error} slowdown {self.max_slowdown} "
            f"training {self.training} allow {self.allow} deny {self.deny} "
            f"shapes {self.shapes} counts {self.counts}"
            f"{' without measuring' if measure == 'never' else ''}"
        )

    def asked(self) -> Asked:
        """Return it as the noun that a selection holds."""
        from qdoctor.model import Asked, from_plain  # noqa: PLC0415 - only where it is worked out

        plain = {
            "objective": self.objective,
            "max_error": self.max_error,
            "max_slowdown": self.max_slowdown,
            "training": self.training,
            "device": f"cuda:{self.device}" if isinstance(self.device, int) else self.device,
            "shapes": self.shapes,
            "counts": self.counts,
            "allow": self.allow,
            "deny": self.deny,
            "measure": self.measure,
            "budget_seconds": self.budget,
        }
        return from_plain(plain, Asked, "select_backend")


def device_of(device: Any) -> int | str | None:  # noqa: ANN401 - as torch takes it
    """Return a GPU's number, ``"cpu"``, or None for what comes first.

    A device is a number, ``"cuda"``, ``"cuda:1"``, ``"cpu"`` or a ``torch.device``; ``"cuda"`` is
    the current GPU, else the first, and never the CPU. The current one is asked
    for only of a torch that is imported and has started CUDA in this very process.
    """
    kind = getattr(device, "type", device)
    if kind is None or (isinstance(kind, str) and kind == "cuda"):
        index = getattr(device, "index", None) if device is not kind else None
        found = _current() if index is None else int(index)
        return 0 if found is None and kind is not None else found
    if isinstance(kind, int) and not isinstance(kind, bool) and kind >= 0:
        return kind
    if isinstance(kind, str):
        name, _, number = kind.partition(":")
        numbered = number.isascii() and number.isdecimal()
        if kind == "cpu" or (name == "cpu" and numbered):
            return "cpu"
        if name == "cuda" and numbered:
            return int(number)
    return _refuse(f"device {device!r}: a backend is selected for 'cpu', 'cuda' or 'cuda:N'")


def refuse_unknown(names: Iterable[str], known: Collection[str], what: str) -> None:
    """Raise ``BadInput`` with the nearest names for the first name that is not known."""
    for name in names:
        if name not in known:
            from qdoctor.question import known_name  # noqa: PLC0415 - only where it is wrong

            known_name(name, known, what)


def in_question(backend: str, allow: Collection[str] | None, deny: Collection[str] | None) -> bool:
    """Say whether a backend is among what is allowed, as half always is, and not denied."""
    return (allow is None or backend in {*allow, "half"}) and backend not in (deny or ())


def refuse_nothing_left(
    known: Iterable[str], allow: Collection[str] | None, deny: Collection[str] | None
) -> None:
    """Raise ``BadInput`` where no backend at all may be taken."""
    if not any(in_question(name, allow, deny) for name in known):
        _refuse("allow and deny rule out every backend, half too: leave one to choose")


def _current() -> int | None:
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    try:
        started = cuda is not None and cuda.is_initialized()
        return int(cuda.current_device()) if started and cuda is not None else None
    except (AttributeError, AssertionError, RuntimeError):  # a torch without CUDA; a forked child
        return None


def _one_of(value: str, known: Sequence[str], what: str) -> str:
    refuse_unknown([value] if isinstance(value, str) else [repr(value)], known, what)
    return value


def yes_or_no(value: Any, what: str) -> bool:  # noqa: ANN401 - whatever was given
    """Return a truth value. Raises ``BadInput`` for words and for nothing."""
    if value is None or isinstance(value, str):  # 'no' would be a yes
        _refuse(f"{what} {value!r}: True or False is meant")
    return bool(value)


def _positive(value: float, what: str) -> float:
    try:
        number = 0.0 if isinstance(value, bool) else float(value)
    except (OverflowError, TypeError, ValueError):
        number = 0.0
    if not 0 < number < float("inf"):
        _refuse(f"{what} {value!r}: a number above 0 is meant")
    return number


def _names(names: Iterable[str] | None, what: str) -> list[str] | None:
    if names is None:
        return None
    listed: list[Any]
    try:
        listed = [names] if isinstance(names, str) else list(names)
    except TypeError:
        listed = [None]
    if not all(isinstance(name, str) for name in listed):
        _refuse(f"{what} {names!r}: a list of backends' names is meant, such as ['bnb-nf4']")
    return sorted(set(listed))


def _shapes(
    shapes: Any,  # noqa: ANN401
    device: int | str | None,
) -> tuple[list[tuple[int, ...]] | None, list[int] | None]:
    """Return shapes as tuples of three, and how often each occurs where a model told."""
    if shapes is None:
        return None, None
    if hasattr(shapes, "named_modules"):
        from qdoctor.choosing.shapes import of_model, rows_for  # noqa: PLC0415 - only for a model

        told = of_model(shapes, rows_for(device))
        return [tuple(one) for one in told.shapes], list(told.counts or ()) or None
    try:
        listed = [tuple(map(_index, shape)) for shape in shapes]
    except (AttributeError, TypeError, ValueError):
        listed = [()]
    if not listed or any(len(one) != 3 or not _usable(one) for one in listed):  # noqa: PLR2004
        _refuse(
            f"shapes {shapes!r}: a model is meant, or a list of (rows, in_features, out_features), "
            f"each a whole number from 1 to {LARGEST}"
        )
    return list(dict.fromkeys(listed)), None


def _index(value: Any) -> int:  # noqa: ANN401
    if isinstance(value, bool):
        raise TypeError
    return int(value.__index__())


def _usable(shape: tuple[int, ...]) -> bool:
    return all(1 <= number <= LARGEST for number in shape)


def _refuse(text: str) -> NoReturn:
    from qdoctor.model import BadInput  # noqa: PLC0415 - only where something is wrong

    raise BadInput(text)
