"""Which encoding the first bytes of a file name: Windows PowerShell's ``>`` writes UTF-16."""

from __future__ import annotations

import codecs

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def encoding_of(data: bytes) -> str:
    """Return the encoding that a byte order mark names; UTF-8 where there is none."""
    return next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
