"""A compiler's words cut down to the reason: one line, without what differs from run to run."""

from __future__ import annotations

import re

_LONGEST = 160
# Tried in this order; the first that is found anywhere in the text says why.
_REASONS = (
    re.compile(r"(LLVM ERROR: [^\n]+)"),
    re.compile(r"(?:line \d+; )?error *: (Feature .+?)(?= ptxas |\n|$)"),
    re.compile(r"ptxas\S* fatal *: (.+?)(?= Repro command|\n|$)"),
    re.compile(r"error: (.+?)(?=\n|$)"),
    re.compile(r"(Assertion [`'].+?' failed)"),
)
_PATH = re.compile(r"(?:(?<=\s)|(?<=^)|(?<=[\"'`(]))/[^\s:,;\"'`]*/")
_ADDRESS = re.compile(r"0x[0-9a-f]{6,}")
_TEMPORARY = re.compile(r"\btmp\w{6,}")


def shortened(text: str) -> str:
    """Give the reason in ``text``, at most 160 characters; the text's last line if none is seen."""
    found = next((match[1] for pattern in _REASONS if (match := pattern.search(text))), "")
    lines = text.strip().splitlines()
    reason = found or (lines[-1] if lines else "it says nothing")
    for pattern, instead in ((_PATH, ""), (_ADDRESS, "0x..."), (_TEMPORARY, "tmp...")):
        reason = pattern.sub(instead, reason)
    words = " ".join(reason.split())
    return words if len(words) <= _LONGEST else words[: _LONGEST - 3].rstrip() + "..."
