"""Whether people say of a text that it was not printed: "I do not get ...", "... ? no".

What they deny, or say is gone, accuses nothing. ``matrix/tables/prose.json`` says how that is
worded, before a text and after it on its line.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qdoctor.matrix import Matrix

_TYPED = 8000
"""Characters up to which somebody may have written the text: a log denies nothing."""
_NEAR = 120
"""Characters before and after a text in which it may be denied."""
_WITHIN = 24
"""Characters of a text itself in which that may stand: some patterns begin with people's words."""


def denied(text: str, start: int, end: int, matrix: Matrix) -> bool:
    """Say whether the words around ``text[start:end]`` deny that it was printed."""
    if len(text) > _TYPED:
        return False
    table = matrix.table("prose")
    first = max(text.rfind("\n", 0, start) + 1, start - _NEAR)
    last = text.find("\n", end)
    after = text[end : end + _NEAR if last < 0 else min(last, end + _NEAR)]
    before = _compiled(table["denied_before"])
    return bool(
        before.search(text[first:start])
        or before.search(text[first : min(end, start + _WITHIN)])
        or _compiled(table["denied_after"]).match(after)
    )


@lru_cache(maxsize=8)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
