"""What the probes told of this machine, kept a while, so that another question runs none again.

Kept as answers are, under a key of its own: all of an answer's but what was asked. It is kept only
beside an answer that is, so never what was seen of a machine in trouble.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from qdoctor.answered import gave_no_answer
from qdoctor.choosing import cache_reading, cache_writing
from qdoctor.choosing import key as keys
from qdoctor.choosing.cache_reading import Kept
from qdoctor.model import BadInput, Report, encoded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdoctor.choosing.request import Request

NOTE = "the probes ran for an earlier question, {} ago; refresh=True runs them again"
_SECONDS = 86400.0
"""How long a report is believed: it says more of the machine than a key can, such as its memory."""
_NUMBERING = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")
_LARGEST = 900_000  # bytes of a report; all that is kept in one file is bounded


class Examined:
    """The report on this machine: one that is kept, if there is; else who makes one tells it here.

    ``told`` is what was made, without a selection; ``refresh``: what is kept is not looked at.
    """

    __slots__ = ("_environ", "_text", "refresh", "told")

    def __init__(self, request: Request, environ: Mapping[str, str], *, refresh: bool) -> None:
        """Read nothing yet."""
        numbering = [environ.get(name) for name in _NUMBERING]
        asked = f"nothing: probes, device {request.device} of {numbering}"
        self._text = keys.key_of(asked, request.device, environ).text
        self._environ, self.refresh = environ, refresh
        self.told: Report | None = None

    def kept(self) -> tuple[Report, str] | None:
        """Return the kept report and how long ago it was made, in words; None where there is none.

        What cannot be read any more is as none: it is only made anew.
        """
        if self.refresh:
            return None
        found = cache_reading.read(self._place(), self._text)
        if found is None or not found.serves(0.0):
            return None
        try:
            report = msgspec.json.decode(found.body, type=Report)
        except msgspec.MsgspecError:
            return None
        return report, _ago(time.time() - (found.until - _SECONDS))

    def is_doubtful(self) -> bool:
        """Say whether a probe was told of that gave no answer: another time it may."""
        return self.told is not None and any(map(gave_no_answer, self.told.observations))

    def keep(self) -> None:
        """Keep what was told, if all probes told anything; that it cannot be kept is no error."""
        if self.told is None or self.is_doubtful():
            return
        body = encoded(self.told)
        if len(body) > _LARGEST:
            return
        try:
            made = Kept(None, body, until=time.time() + _SECONDS)
            cache_writing.write(self._place(), self._text, made, self._environ, replace=True)
        except (OSError, BadInput):  # said already of the answer, which lies in the same folder
            return

    def _place(self) -> str:
        return cache_reading.place(self._text, self._environ)


def _ago(seconds: float) -> str:
    minutes = round(max(0.0, seconds) / 60)
    if minutes < 1:
        return "less than a minute"
    unit, count = ("hour", round(minutes / 60)) if minutes >= 90 else ("minute", minutes)  # noqa: PLR2004
    return f"{count} {unit}{'s' * (count != 1)}"
