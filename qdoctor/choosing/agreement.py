"""All ranks of a process group get the same backend, or the same error.

Every rank says what kind of device it has. Of each kind one rank, the first that has an answer kept
or else the first of all, finds the answer; all hear the answers of all kinds and join them by the
same rule. What any rank believes to be the outcome is settled by whoever is first, so that they
cannot part: not even where one of them gives up waiting while another is done. Every wait has an
end.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import msgspec

from qdoctor import local_data
from qdoctor.backends import BackendUnavailable
from qdoctor.choosing import answering, exported, merging
from qdoctor.choosing import key as keys
from qdoctor.choosing.board import Board, Silence, board_of
from qdoctor.choosing.cache_reading import Kept
from qdoctor.choosing.required import required
from qdoctor.model import BadInput, Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qdoctor.choosing.request import Request

    Answer = Callable[[Request, Mapping[str, str]], Kept]

JOIN_SECONDS = 120.0
"""How long ranks wait for the others to ask, too, if the group's own timeout is not shorter."""
SILENT_SECONDS = 20.0
"""How long a rank that finds an answer may be unheard of; of the same host, its end is seen."""
FIND_SECONDS = 300.0
"""For the probes and for waiting behind other processes; three measuring budgets on top."""
FAREWELL_SECONDS = 5.0
"""How long the first rank, and after an error, which may well end it, every rank stays until all
others have heard the outcome."""


class NoAgreement(RuntimeError):  # noqa: N818 - it names what happened
    """The ranks of a group could not agree: one ended or did not ask. All of them get this."""


_RAISED: dict[str, type[Exception]] = {
    "BadInput": BadInput,
    "BackendUnavailable": BackendUnavailable,
    "NoAgreement": NoAgreement,
}


def agreed(  # noqa: PLR0913 - the last two are what a test may hold still
    group: Any,  # noqa: ANN401 - a torch.distributed process group
    ask: Callable[[], Request],
    environ: Mapping[str, str],
    *,
    refresh: bool = False,
    require: str | None = None,
    answer: Answer | None = None,
    kind: Callable[[Request, Mapping[str, str]], str] | None = None,
) -> Kept:
    """Agree with all ranks of ``group``, which must all call this.

    ``ask`` makes this rank's question; what it raises, all ranks raise. Raises ``BadInput``,
    ``BackendUnavailable`` or ``NoAgreement``, on all ranks with the same text.
    """
    store, rank, size, timeout = board_of(group)

    def find(request: Request, env: Mapping[str, str]) -> Kept:
        return answering.answer(request, env, refresh=refresh)

    mine = _contribution(ask, environ, kind or kind_of, require)
    try:
        board = Board(store, rank, size)
        try:
            outcome = _proposed(board, mine, answer or find, environ, min(timeout, JOIN_SECONDS))
            settled = board.settle("outcome", outcome)
            stays = "error" in settled or rank == 0  # the first rank may host the store
            board.see_off(FAREWELL_SECONDS if stays else 0.0, settled.get("silent"))
        finally:
            board.close()
    except Silence as error:
        raise NoAgreement(f"the group cannot agree on a backend: {error}") from error
    if "error" in settled:
        name, text = settled["error"]
        raise _RAISED[name](text)
    return Kept(settled["selected"], settled["body"].encode())


class _Mine(msgspec.Struct, frozen=True):
    """What this rank has: its question, and what it tells the others of it."""

    told: dict[str, Any]
    request: Request | None = None
    require: str | None = None


def kind_of(request: Request, environ: Mapping[str, str]) -> str:
    """Say what devices have in common that may share an answer, without paths and stamps.

    Raises ``BadInput`` for a carried decision that cannot be read.
    """
    key = keys.key_of(request.text, request.device, environ)
    lines = [line for line in key.text.splitlines() if line.startswith(("device ", "set "))]
    carried = environ.get(answering.CARRIED, "")
    if carried:
        lines.append(f"carried {zlib.crc32(exported.contents(carried)):08x}")
    return "\n".join([repr(key.portable), *lines])


def _contribution(
    ask: Callable[[], Request],
    environ: Mapping[str, str],
    kind: Callable[[Request, Mapping[str, str]], str],
    require: str | None,
) -> _Mine:
    """Work out what to tell; an error is told, too, so that nobody waits for this rank."""
    try:
        request = ask()
        key = keys.key_of(request.text, request.device, environ)
        answering.refuse_missing(request, key)
        told = {
            "kind": kind(request, environ),
            "question": f"{request.text} {request.measure} require {require}",
            "kept": answering.kept(request, key, environ) is not None,
        }
    except Exception as error:  # noqa: BLE001 - all ranks are to hear of it
        return _Mine({"error": _error(error)})
    return _Mine(told, request, require)


def _proposed(
    board: Board, mine: _Mine, answer: Answer, environ: Mapping[str, str], patience: float
) -> dict[str, Any]:
    """Return what this rank takes for the outcome: an answer's JSON, or an error for all."""
    board.post(f"kind/{board.rank}", mine.told)
    try:
        every = [board.wait(f"kind/{rank}", patience, rank) for rank in range(board.size)]
        if wrong := _wrong(every):
            return wrong
        finders = _finders(every)
        request = mine.request
        if request is None:  # an error of ours: it was seen above
            raise AssertionError("a rank without a question told none of its error")
        if board.rank in finders:
            with board.beating():
                board.post(f"answer/{board.rank}", _answered(request, answer, environ))
        seconds = FIND_SECONDS + 3 * request.budget
        answers = [
            board.wait(f"answer/{rank}", seconds, rank, silent=SILENT_SECONDS) for rank in finders
        ]
    except Silence as silence:
        text = f"the group cannot agree on a backend: {silence}"
        return {"error": ["NoAgreement", text], "silent": silence.whose}
    return _joined(answers, finders, environ, mine.require)


def _wrong(every: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Say what keeps all ranks from an answer: an error of one, or that they ask differently."""
    for rank, told in enumerate(every):
        if "error" in told:
            return {"error": _of_rank(rank, told["error"])}
    first = every[0]["question"]
    for rank, told in enumerate(every):
        if told["question"] != first:
            text = f"rank {rank} asks another question than rank 0: {told['question']}; {first}"
            return {"error": ["BadInput", text]}
    return None


def _finders(every: list[dict[str, Any]]) -> list[int]:
    """Name one rank for each kind: the first that has an answer kept, else the first."""
    found: dict[str, int] = {}
    for rank, told in enumerate(every):
        best = found.setdefault(told["kind"], rank)
        if told["kept"] and not every[best]["kept"]:
            found[told["kind"]] = rank
    return sorted(found.values())


def _answered(request: Request, answer: Answer, environ: Mapping[str, str]) -> dict[str, Any]:
    try:
        return {"body": answer(request, environ).body.decode()}
    except Exception as error:  # noqa: BLE001 - all ranks are to hear of it
        return {"error": _error(error)}


def _joined(
    answers: list[dict[str, Any]],
    finders: list[int],
    environ: Mapping[str, str],
    require: str | None,
) -> dict[str, Any]:
    for rank, told in zip(finders, answers, strict=True):
        if "error" in told:
            return {"error": _of_rank(rank, told["error"])}
    try:
        selections = [msgspec.json.decode(told["body"], type=Selection) for told in answers]
        whole = merging.merged(selections, local_data.current(environ))
        kept = Kept(whole.selected, msgspec.json.encode(whole))
        if require is not None:
            kept = required(msgspec.to_builtins(whole), require)
    except Exception as error:  # noqa: BLE001 - likewise
        return {"error": _error(error)}
    return {"selected": kept.selected, "body": kept.body.decode()}


def _error(error: Exception) -> list[str]:
    name = next((name for name, kind in _RAISED.items() if isinstance(error, kind)), None)
    if name is None:
        return ["NoAgreement", f"{type(error).__name__}: {error}"]
    return [name, str(error)]


def _of_rank(rank: int, error: list[str]) -> list[str]:
    return [error[0], f"rank {rank}: {error[1]}"]
