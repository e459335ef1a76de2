"""Makes control characters visible, so that nothing a log contains drives the reader's terminal."""

from __future__ import annotations

import re

# C0, DEL, C1, lone surrogates, and what is invisible or turns the direction of writing around.
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_SPACE = re.compile(r"[ \t\r\n]+")
_ONE_BYTE = 0x100


def visible(text: str) -> str:
    r"""One line of text in which control characters are shown as ``\x1b``, never obeyed."""
    return _CONTROL.sub(lambda found: _escape(ord(found[0])), _SPACE.sub(" ", text)).strip()


def visible_lines(text: str) -> str:
    """``visible`` for a text of several lines, which keeps its lines and indents."""
    return "\n".join(
        _CONTROL.sub(lambda found: _escape(ord(found[0])), line) for line in text.split("\n")
    )


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < _ONE_BYTE else f"\\u{code:04x}"
