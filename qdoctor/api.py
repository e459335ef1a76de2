"""The public Python API: examines the interpreter that it runs in."""

# ruff: noqa: PLC0415 - an answer that was kept is read in milliseconds: nothing else is loaded
from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # as typing's, without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, Literal

    from qdoctor.backend import Backend
    from qdoctor.choosing.cache_reading import Kept
    from qdoctor.choosing.request import Request
    from qdoctor.model import Report

    Level = Literal["none", "quick", "full"]
    Objective = Literal["balanced", "latency", "memory", "accuracy"]
    Measure = Literal["auto", "cached", "never"]


def check(*, need: Sequence[str] = (), ignore: Sequence[str] = (), probe: Level = "full") -> Report:
    """Examine the running interpreter, as ``qdoctor check --python sys.executable`` does.

    Probes run in child processes, for some seconds; ``probe="none"`` reads files only. Raises
    ``BadInput`` for a need, rule or level of probing that does not exist. Ctrl-C ends the children
    and goes on to the caller.
    """
    import msgspec

    from qdoctor import doctor
    from qdoctor.question import PROBING, Question, known_name

    question = Question(
        python=sys.executable,
        need=_listed(need, "need"),
        ignore=_listed(ignore, "ignore"),
        probe=known_name(probe, PROBING, "level of probing"),  # type: ignore[arg-type]
    )
    report = doctor.examine(question)
    target = msgspec.structs.replace(report.target, chosen_by="the running interpreter")
    return msgspec.structs.replace(report, target=target)


def select_backend(  # noqa: PLR0913, PLR0917 - what may be asked, each with its default
    objective: Objective = "balanced",
    max_error: float | None = None,
    shapes: Any = None,  # noqa: ANN401 - (M, K, N) shapes, or a torch model
    device: Any = None,  # noqa: ANN401 - as torch takes it
    training: bool = False,  # noqa: FBT001, FBT002 - named by whoever can read
    allow: Iterable[str] | None = None,
    deny: Iterable[str] | None = None,
    require: str | None = None,
    refresh: bool = False,  # noqa: FBT001, FBT002
    measure: Measure = "auto",
    budget: float = 10.0,
    group: Any = None,  # noqa: ANN401 - a torch.distributed process group
    max_slowdown: float | None = None,
) -> Backend:
    """Choose the quantization backend to use here, by what works and what it takes.

    The first call measures, in child processes, for some tens of seconds; later calls and other
    processes read the cache in milliseconds. Neither imports torch nor touches a GPU in this
    process.

    Args:
        objective: ``latency`` least time, never slower than half; ``memory`` fewest bytes a weight,
            as far as that takes no more than four times half's time; ``balanced`` least product of
            the two; ``accuracy`` least error among what is quantized and not slower than half.
        max_error: the relative error ||y - y64||F / ||y64||F that is borne; None: 0.02 for
            accuracy, 0.05 for balanced and latency, 0.15 for memory.
        shapes: (rows of activations, in_features, out_features), or a torch model whose
            ``nn.Linear`` layers tell them; None: a stated set of transformer shapes.
        device: ``"cuda:1"``, a number, ``"cpu"``, a ``torch.device``; None: the current device if
            this process has started CUDA, else the first GPU, else the CPU.
        training: choose among backends whose weights an optimizer can train.
        allow: the only backends to consider, beside half; None: all.
        deny: backends not to consider; half, too, if it is named.
        require: take this backend or raise.
        refresh: measure anew, whatever is kept.
        measure: ``auto``; ``cached`` starts no kernel: what was measured earlier, else the matrix
            alone; ``never`` goes by the probes' pass or fail and the matrix.
        budget: seconds for measuring; the probes come on top.
        group: a ``torch.distributed`` process group: all of its ranks call this, and all get the
            same backend, usable on every one of them, or all get the same error.
        max_slowdown: how many times half's time is borne, 1.0 for nothing that is slower; None: 4.0
            for memory where something else saves memory, too, and what the objective implies else.

    Returns:
        The backend; ``half`` where nothing else is worth it, ``name`` None where even that does not
        work. ``explain()`` says why.

    Raises:
        BadInput: what was asked cannot be meant, or a carried decision does not fit this machine.
        BackendUnavailable: the required backend does not work here; the text says why and what
            fixes it.
        NoAgreement: with ``group``, on all ranks: one ended, did not ask, or the store failed.
    """
    from qdoctor.backend import Backend
    from qdoctor.choosing.request import Request

    def ask() -> Request:
        request = Request(
            objective,
            max_error=max_error,
            shapes=shapes,
            device=device,
            training=training,
            allow=allow,
            deny=deny,
            measure=measure,
            budget=budget,
            max_slowdown=max_slowdown,
        )
        _check_names(request, require)
        _check_refresh(request, refresh=refresh)
        return request

    if group is not None:
        from qdoctor.choosing import agreement

        return Backend(agreement.agreed(group, ask, os.environ, refresh=refresh, require=require))
    backend = Backend(_answered(ask(), refresh=refresh))
    return backend if require is None else backend.required(require)


def _answered(request: Request, *, refresh: bool) -> Kept:
    from qdoctor.choosing import answering

    return answering.answer(request, os.environ, refresh=refresh)


def _check_names(request: Request, require: str | None) -> None:
    """Raise ``BadInput`` for a backend that does not exist or is asked for and ruled out."""
    named = [*(request.allow or ()), *(request.deny or ()), *([] if require is None else [require])]
    if not named:
        return
    from qdoctor.backends import NAMES
    from qdoctor.choosing.request import in_question, refuse_nothing_left, refuse_unknown
    from qdoctor.model import BadInput

    refuse_unknown(named, NAMES, "backend")
    refuse_nothing_left(NAMES, request.allow, request.deny)
    if require is not None and not in_question(require, request.allow, request.deny):
        raise BadInput(f"{require} is required, but ruled out by allow or deny: say which is meant")


def _check_refresh(request: Request, *, refresh: bool) -> None:
    from qdoctor.choosing.request import yes_or_no

    if yes_or_no(refresh, "refresh") and request.measure != "auto":
        from qdoctor.model import BadInput

        raise BadInput(
            f"refresh=True measures anew, and measure={request.measure!r} does not: which is meant?"
        )


def _listed(names: Any, what: str) -> tuple[str, ...]:  # noqa: ANN401 - whatever was given
    try:
        return (names,) if isinstance(names, str) else tuple(names)
    except TypeError:
        from qdoctor.model import BadInput

        raise BadInput(f"{what} {names!r}: a list of names is meant") from None


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the one name that lives beside
    """``Backend`` is loaded when it is asked for."""
    if name == "Backend":
        from qdoctor.backend import Backend

        return Backend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
