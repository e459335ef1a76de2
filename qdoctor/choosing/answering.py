"""From a question to an answer: a carried decision, a kept answer, or the whole way, once.

What this process was told a moment ago, then the file that ``QDOCTOR_SELECTION`` names, then the
cache; what is in none of them is measured by one process while others that ask the same wait.
"""

from __future__ import annotations

import os
import sys
import time

from qdoctor.choosing import key as keys
from qdoctor.choosing import stored
from qdoctor.choosing.installed import stamp
from qdoctor.choosing.notice import say_once
from qdoctor.choosing.stored import Kept

TYPE_CHECKING = False  # as typing's, without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdoctor.choosing.key import Key
    from qdoctor.choosing.request import Request
    from qdoctor.model import Selection

CARRIED = "QDOCTOR_SELECTION"
_UNMEASURED_SECONDS = 600.0
"""How long a decision without the measurement that was wanted is believed: the GPU was full, or in
another process's hands, and that may pass."""
_INCOMPLETE_SECONDS = 86400.0
"""How long a measurement is believed in which a candidate broke down, or did not get its turn."""
_LOOK_SECONDS = 60.0  # how long one that was only looked up is not worked out anew
_PATIENCE_SECONDS = 120.0
"""For the probes and the slowest imports; measuring has its budget beside it."""
_MOST = 64

_told: dict[str, Kept] = {}


def answer(request: Request, environ: Mapping[str, str], *, refresh: bool = False) -> Kept:
    """Return the selection for a question, from where it is had soonest.

    Raises ``BadInput`` for a question that cannot be asked, and for a carried decision that cannot
    be read or does not fit this machine. What is wrong with the machine is in the selection.
    """
    if environ.get(CARRIED):
        from qdoctor.choosing import exported  # noqa: PLC0415 - only where one is carried

        carried = exported.carried(request, environ)
        if carried is not None:
            return carried
    key = keys.key_of(request.text, request.device, environ)
    refuse_missing(request, key)
    if not refresh:
        known = _told.get(key.text)
        if known is not None and known.serves(request.budget):
            return known
        known = kept(request, key, environ)
        if known is not None:
            return _remembered(key.text, known)
    if request.measure == "cached":
        return _looked_up(request, key, environ)
    return _remembered(key.text, _found(request, key, environ, refresh=refresh))


def kept(request: Request, key: Key, environ: Mapping[str, str]) -> Kept | None:
    """Return what the cache holds and may still be believed."""
    found = stored.read(stored.place(key.text, environ), key.text)
    return found if found is not None and found.serves(request.budget) else None


def keep(selection: Selection, request: Request, environ: Mapping[str, str]) -> Selection:
    """Keep what was worked out for this process by other ways, and return it with its key.

    What cannot be kept is said, and no error: the answer is there all the same.
    """
    import msgspec  # noqa: PLC0415 - it was loaded to work the answer out

    from qdoctor.model import BadInput  # noqa: PLC0415

    key = keys.key_of(request.text, request.device, environ)
    found = _kept(selection, request, key)
    try:
        stored.made(environ)
        stored.write(stored.place(key.text, environ), key.text, found, environ, replace=True)
    except (OSError, BadInput) as error:
        _say_unkept(error)
    return msgspec.json.decode(found.body, type=type(selection))


def forget() -> None:
    """Forget what this process was told."""
    _told.clear()


def refuse_missing(request: Request, key: Key) -> None:
    """Raise ``BadInput`` for a GPU that CUDA is known not to show to this process."""
    if isinstance(request.device, int) and 0 <= key.device_count <= request.device:
        from qdoctor.model import BadInput  # noqa: PLC0415 - only where something is wrong

        raise BadInput(
            f"device cuda:{request.device}: CUDA shows {key.device_count} GPUs to this process; "
            "name one of them, 'cpu', or look at CUDA_VISIBLE_DEVICES"
        )


def _remembered(text: str, found: Kept) -> Kept:
    if len(_told) >= _MOST:
        _told.clear()
    _told[text] = found
    return found


def _looked_up(request: Request, key: Key, environ: Mapping[str, str]) -> Kept:
    """Decide without starting a kernel, where only what was found earlier may be used."""
    known = _told.get(f"{key.text}looked up")
    if known is not None and known.serves(request.budget):
        return known
    say_once(
        "no measured selection is kept for this machine, and measure='cached' makes none: the "
        "matrix decides alone; run `qdoctor select` here once, or carry one in QDOCTOR_SELECTION"
    )
    found = _decided(request, key, environ, probe=False)
    found.until = time.time() + _LOOK_SECONDS
    return _remembered(f"{key.text}looked up", found)


def _found(request: Request, key: Key, environ: Mapping[str, str], *, refresh: bool) -> Kept:
    """Work it out in this process, or wait for the one that does."""
    from qdoctor.choosing.locked import Lock, wait_or_take  # noqa: PLC0415 - it loads threads
    from qdoctor.model import BadInput  # noqa: PLC0415

    path = stored.place(key.text, environ)
    before = stamp(path) if refresh else ""
    seen: list[Kept] = []

    def is_answered() -> bool:
        found = None if stamp(path) == before else kept(request, key, environ)
        seen[:] = [] if found is None else [found]
        return found is not None

    try:
        folder = stored.made(environ)
        lock = Lock(os.path.join(folder, f".{os.path.basename(path)}.lock"))  # noqa: PTH118, PTH119
        mine = wait_or_take(lock, is_answered, _PATIENCE_SECONDS + 3 * request.budget)
    except (OSError, BadInput) as error:
        _say_unkept(error)
        return _decided(request, key, environ)
    if not mine:
        return seen[0]
    with lock.held():
        found = _decided(request, key, environ)
        if is_answered():  # by one that had waited too long for us, or we for it
            return seen[0]
        try:
            stored.write(path, key.text, found, environ, replace=stamp(path) != "-")
        except (OSError, BadInput) as error:
            _say_unkept(error)
            return found
        return stored.read(path, key.text) or found


def _say_unkept(error: Exception) -> None:
    say_once(
        f"the selection cannot be kept ({error}), so every process works it out for itself: name a "
        "folder in QDOCTOR_CACHE_DIR that this user may write to, or carry a decision in "
        "QDOCTOR_SELECTION"
    )


def _decided(request: Request, key: Key, environ: Mapping[str, str], *, probe: bool = True) -> Kept:
    """Go the whole way. Whatever breaks on it leaves half, or nothing without torch."""
    from qdoctor import choosing  # noqa: PLC0415 - from here on it takes seconds
    from qdoctor.model import BadInput  # noqa: PLC0415

    try:
        if probe:
            selection = choosing.choose(request.asked(), sys.executable, environ)
        else:
            selection = _unprobed(request, environ)
    except BadInput:
        raise
    except Exception as error:  # noqa: BLE001 - a sick machine is no reason to end a program
        say_once(f"no backend could be selected ({type(error).__name__}: {error}); half is used")
        selection = _last_resort(request, key, error)
    return _kept(selection, request, key)


def _unprobed(request: Request, environ: Mapping[str, str]) -> Selection:
    from qdoctor import doctor, local_data  # noqa: PLC0415
    from qdoctor.choosing import objectives  # noqa: PLC0415
    from qdoctor.question import Question  # noqa: PLC0415

    matrix = local_data.current(environ)
    question = Question(python=sys.executable, probe="none")
    report = doctor.examine(question, environ=environ, matrix=matrix)
    return objectives.decide(request.asked(), report.verdicts, None, matrix)


def _last_resort(request: Request, key: Key, error: Exception) -> Selection:
    from qdoctor.model import Candidate, Selection  # noqa: PLC0415

    works = bool(key.portable["packages"]["torch"])
    reason = f"qdoctor could not examine this machine: {type(error).__name__}: {error}"
    usable = "unknown" if works else "no"
    return Selection(
        asked=request.asked(),
        selected="half" if works else None,
        reason=f"{reason}; half needs no quantization" if works else "torch is not installed",
        candidates=[Candidate(backend="half", usable=usable, reason=reason)],  # type: ignore[arg-type]
    )


def _kept(selection: Selection, request: Request, key: Key) -> Kept:
    """Put the key into a selection, and say how long it is to be believed."""
    import msgspec  # noqa: PLC0415

    whole = msgspec.structs.replace(selection, key={**key.portable, "lines": key.text.splitlines()})
    body = msgspec.json.encode(whole)
    if request.measure == "never":
        return Kept(whole.selected, body)
    now = time.time()
    if _is_passing(whole, request, key) or _is_of_others(selection, key):
        return Kept(whole.selected, body, until=now + _UNMEASURED_SECONDS)
    if any(one.unknown for each in whole.candidates for one in each.shapes):
        until = now + _INCOMPLETE_SECONDS
        return Kept(whole.selected, body, until=until, budget=request.budget)
    return Kept(whole.selected, body)


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
