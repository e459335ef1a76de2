"""From a question to an answer: a carried decision, a kept answer, or the whole way, once.

What this process was told a moment ago, then the file that ``QDOCTOR_SELECTION`` names, then the
cache; what is in none of them is measured by one process while others that ask the same wait.
"""

from __future__ import annotations

from qdoctor.choosing import cache_reading
from qdoctor.choosing import key as keys

TYPE_CHECKING = False  # as typing's, without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdoctor.choosing.cache_reading import Kept
    from qdoctor.choosing.key import Key
    from qdoctor.choosing.request import Request

CARRIED = "QDOCTOR_SELECTION"
_MOST = 64

_told: dict[str, Kept] = {}


def answer(request: Request, environ: Mapping[str, str], *, refresh: bool = False) -> Kept:
    """Return the selection for a question, from where it is had soonest.

    A carried decision is an order: ``refresh`` does not pass it by, but the kept answer only.

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
    return _worked_out(request, key, environ, refresh=refresh)


def kept(request: Request, key: Key, environ: Mapping[str, str]) -> Kept | None:
    """Return what the cache holds and may still be believed."""
    found = cache_reading.read(cache_reading.place(key.text, environ), key.text)
    return found if found is not None and found.serves(request.budget) else None


def forget() -> None:
    """Forget what this process was told."""
    _told.clear()


def refuse_missing(request: Request, key: Key) -> None:
    """Raise ``BadInput`` for a GPU that CUDA is known not to show to this process."""
    if isinstance(request.device, int) and 0 <= key.device_count <= request.device:
        from qdoctor.model import BadInput  # noqa: PLC0415 - only where something is wrong

        count = key.device_count
        those = f"{count} GPU{'s' * (count != 1)}" if count else "no GPU"
        take = "one of them, or 'cpu'" if count else "'cpu'"
        raise BadInput(
            f"device cuda:{request.device} is not there: CUDA shows {those} to this process; name "
            f"{take}, or look at CUDA_VISIBLE_DEVICES"
        )


def _remembered(text: str, found: Kept) -> Kept:
    if len(_told) >= _MOST:
        _told.clear()
    _told[text] = found
    return found


def _worked_out(request: Request, key: Key, environ: Mapping[str, str], *, refresh: bool) -> Kept:
    from qdoctor.choosing import working_out  # noqa: PLC0415 - from here on it takes seconds

    if request.measure != "cached":
        return _remembered(key.text, working_out.found(request, key, environ, refresh=refresh))
    text = f"{key.text}looked up"
    known = _told.get(text)
    if known is not None and known.serves(request.budget):
        return known
    return _remembered(text, working_out.looked_up(request, key, environ))
