"""The long way to an answer: by one process, while others that ask the same wait; then kept.

What it says of a machine in trouble is believed for a while only: a GPU that was full, or in
another process's hands, need not stay so. Who only waits loads no more than is needed for that.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from qdoctor import choosing
from qdoctor.answered import gave_no_answer
from qdoctor.choosing import answering, cache_reading, cache_writing
from qdoctor.choosing import key as keys
from qdoctor.choosing.cache_reading import Kept
from qdoctor.choosing.examined import Examined
from qdoctor.choosing.installed import stamp
from qdoctor.choosing.lock import NoTurnError, turn
from qdoctor.choosing.measured import WIDEST
from qdoctor.choosing.notice import say_once
from qdoctor.model import BadInput, Candidate, NoInterpreter, Selection, encoded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from qdoctor.choosing.key import Key
    from qdoctor.choosing.request import Request
    from qdoctor.model import Observation

_UNMEASURED_SECONDS = 600.0
"""How long a decision without the measurement that was wanted is believed."""
_INCOMPLETE_SECONDS = 86400.0
"""How long a measurement is believed that was disturbed, or in which a candidate broke down or did
not get its turn; and one where a probe gave no answer."""
_LOOK_SECONDS = 60.0  # how long one that was only looked up is not worked out anew
_PATIENCE_SECONDS = 240.0
"""For the probes and the slowest imports; measuring has its budget beside it."""


def found(request: Request, key: Key, environ: Mapping[str, str], *, refresh: bool) -> Kept:
    """Work it out in this process, or wait for the one that does, but not for ever."""
    try:
        return _in_turn(request, key, environ, refresh=refresh)
    except NoTurnError as error:
        say_once(
            f"no measured selection yet ({error}): the matrix decides alone for now; if nothing of "
            "qdoctor runs on this machine any more, ask again, or see what holds its GPU"
        )
        return _by_the_matrix(request, key, environ)


def _in_turn(request: Request, key: Key, environ: Mapping[str, str], *, refresh: bool) -> Kept:
    path = cache_reading.place(key.text, environ)
    before = stamp(path) if refresh else ""
    seen: list[Kept] = []

    def is_answered() -> bool:
        kept = None if stamp(path) == before else answering.kept(request, key, environ)
        seen[:] = [] if kept is None else [kept]
        return kept is not None

    try:
        place = str(Path(cache_writing.made(environ), f".{Path(path).name}.lock"))
        lock = turn(place, is_answered, _PATIENCE_SECONDS + 3 * request.budget)
    except (OSError, BadInput) as error:
        _say_unkept(error)
        return _decided(request, key, environ)
    if lock is None:
        return seen[0]
    with lock.held():
        examined = Examined(request, environ, refresh=refresh)
        made = _decided(request, key, environ, examined=examined)
        if is_answered():  # by one that had lost patience with us, or we with it
            return seen[0]
        if keys.key_of(request.text, request.device, environ).text != key.text:
            return made  # something was installed meanwhile: it is true of neither key
        try:
            cache_writing.write(path, key.text, made, environ, replace=stamp(path) != "-")
        except (OSError, BadInput) as error:
            _say_unkept(error)
            return made
        if not made.until or made.budget:  # not of a machine in trouble
            examined.keep()
        return cache_reading.read(path, key.text) or made


def looked_up(request: Request, key: Key, environ: Mapping[str, str]) -> Kept:
    """Decide without starting a kernel, where only what was found earlier may be used."""
    say_once(
        "no measured selection is kept for this machine, and measure='cached' makes none: the "
        "matrix decides alone; run `qdoctor select` here once, or carry one in QDOCTOR_SELECTION"
    )
    return _by_the_matrix(request, key, environ)


def _by_the_matrix(request: Request, key: Key, environ: Mapping[str, str]) -> Kept:
    """Decide by what is installed, start nothing, and believe it for a moment only."""
    made = _decided(request, key, environ, probe=False)
    made.until = time.time() + _LOOK_SECONDS
    return made


def keep(
    selection: Selection,
    request: Request,
    environ: Mapping[str, str],
    observations: Iterable[Observation],
) -> Selection:
    """Keep what was worked out for this process by other ways, and return it with its key.

    What cannot be kept is said, and no error: the answer is there all the same.
    """
    key = keys.key_of(request.text, request.device, environ)
    doubtful = any(map(gave_no_answer, observations))
    made = _kept(selection, request, key, doubtful=doubtful)
    try:
        cache_writing.write(
            cache_reading.place(key.text, environ), key.text, made, environ, replace=True
        )
    except (OSError, BadInput) as error:
        _say_unkept(error)
    return msgspec.json.decode(made.body, type=Selection)


def _say_unkept(error: Exception) -> None:
    say_once(
        f"the selection cannot be kept ({error}), so every process works it out for itself: name a "
        "folder in QDOCTOR_CACHE_DIR that this user may write to, or carry a decision in "
        "QDOCTOR_SELECTION"
    )


def _decided(
    request: Request,
    key: Key,
    environ: Mapping[str, str],
    *,
    probe: bool = True,
    examined: Examined | None = None,
) -> Kept:
    """Go the whole way. Whatever breaks on it leaves half, or nothing without torch."""
    try:
        if probe:
            selection = choosing.choose(
                request.asked(), _interpreter(), environ, lambda _: None, examined
            )
        else:
            selection = _unprobed(request, environ)
    except Exception as caught:
        # A sick machine is no reason to end a program: also where it starts no second one of this
        # interpreter.
        error = OSError(caught.reason) if isinstance(caught, NoInterpreter) else caught
        if isinstance(error, BadInput):
            raise
        say_once(f"no backend could be selected ({type(error).__name__}: {error}); half is used")
        selection = _last_resort(request, key, error)
    doubtful = examined is not None and examined.is_doubtful()
    return _kept(selection, request, key, doubtful=doubtful)


def _interpreter() -> str:
    """Return what to start; a frozen program would be started itself, and ask again, and so on."""
    if getattr(sys, "frozen", False):  # as PyInstaller, cx_Freeze and py2exe set it
        raise OSError("a frozen program has no interpreter to probe in; export a selection instead")
    if not sys.executable:
        raise OSError("an embedded Python that does not know its own interpreter")
    return sys.executable


def _unprobed(request: Request, environ: Mapping[str, str]) -> Selection:
    from qdoctor.choosing import from_scratch  # noqa: PLC0415 - see above
    from qdoctor.question import Question  # noqa: PLC0415

    question = Question(python=_interpreter(), probe="none")
    report = from_scratch.examined_and_chosen(request.asked(), question, environ=environ)
    if report.selection is None:
        raise AssertionError("a report that was chosen from has a selection")
    return report.selection


def _last_resort(request: Request, key: Key, error: Exception) -> Selection:
    works = bool(key.portable["packages"]["torch"])
    reason = f"qdoctor could not examine this machine: {type(error).__name__}: {error}"
    usable = "unknown" if works else "no"
    return Selection(
        asked=request.asked(),
        selected="half" if works else None,
        reason=f"{reason}; half needs no quantization" if works else "torch is not installed",
        candidates=[Candidate(backend="half", usable=usable, reason=reason)],  # type: ignore[arg-type]
    )


def _kept(selection: Selection, request: Request, key: Key, *, doubtful: bool) -> Kept:
    """Put the key into a selection, and say how long it is to be believed."""
    whole = msgspec.structs.replace(selection, key={**key.portable, "lines": key.text.splitlines()})
    body = encoded(whole)
    if request.measure == "never":
        return Kept(whole.selected, body)
    now = time.time()
    if _is_passing(whole, request, key) or _is_of_others(selection, key):
        return Kept(whole.selected, body, until=now + _UNMEASURED_SECONDS)
    if doubtful or any(_is_open(one) for one in whole.candidates):
        until = now + _INCOMPLETE_SECONDS
        return Kept(whole.selected, body, until=until, budget=request.budget)
    return Kept(whole.selected, body)


def _is_open(one: Candidate) -> bool:
    """Say whether a longer or calmer measurement may tell more of a candidate.

    What is slower than half whatever its spread stays that.
    """
    spread = one.spread or 0.0
    wide = spread > WIDEST and (one.speedup_vs_half or 1.0) * (1 + spread) >= 1
    return wide or any(cell.unknown or cell.disturbed for cell in one.shapes)


def _is_of_others(selection: Selection, key: Key) -> bool:
    """Say whether other copies of packages were measured than this process imports, and warn.

    The child that measures is the interpreter as it starts: it knows nothing of a changed
    ``sys.path``.
    """
    measured, mine = selection.key.get("packages", {}), key.portable["packages"]
    other = [
        f"{name} {measured[name] or 'none'}, not {mine[name] or 'none'}"
        for name in keys.COMPARED
        if measured.get(name, "?") != mine[name]
        and "?" not in {measured.get(name, "?"), mine[name]}
    ]
    if other:
        say_once(
            f"the selection was made with {'; '.join(other)}, which this process would import: "
            "its sys.path is not the one that its interpreter starts with. Set PYTHONPATH instead"
        )
    return bool(other)


def _is_passing(selection: Selection, request: Request, key: Key) -> bool:
    """Say whether it was decided without what was wanted, by something that may pass.

    Measuring was tried in vain, half itself did not work, or the CPU stands in for a GPU.
    """
    half = [one.usable for one in selection.candidates if one.backend == "half"]
    in_vain = not selection.measured and (selection.seconds > 0 or half != ["yes"])
    stands_in = selection.asked.device == "cpu" and request.device is None and key.is_gpu
    return in_vain or stands_in
