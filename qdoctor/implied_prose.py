"""What people write around an error text: the one GPU and the one system that they name.

``matrix/tables/prose.json`` says how they are written, and beside which words a name is not that of
the machine: a requirement, a comparison, something that works. Two names that differ say nothing.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from qdoctor.model import Because

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.gpu_names import GpuRow
    from qdoctor.matrix import Matrix

_TABLE = "prose"
_TYPED = 8000
"""Characters up to which somebody may have written the text: a log names what it likes."""


def gpu_in(text: str, matrix: Matrix) -> tuple[GpuRow, Because] | None:
    """Return the model that a text names as its machine's; None for none, or for several."""
    named = [(match, matrix.gpus_named(match)) for match in _said("gpu", text, matrix)]
    known = [(match, rows) for match, rows in named if rows]
    sms = {row.sm for _, rows in known for row in rows}
    if len(sms) != 1:
        return None
    match, rows = known[0]
    return rows[0], _because(f"the text names the GPU {match}", matrix)


def system_in(text: str, matrix: Matrix) -> tuple[str, Because] | None:
    """Return the operating system that a text names as its machine's; None for none or several."""
    found = {
        row["os"]: match for row in _rows("os", matrix) for match in _matches(row, text, matrix)
    }
    if len(found) != 1:
        return None
    ((system, match),) = found.items()
    return system, _because(f"the text names {match}", matrix)


def _said(what: str, text: str, matrix: Matrix) -> Iterator[str]:
    for row in _rows(what, matrix):
        yield from _matches(row, text, matrix)


def _rows(what: str, matrix: Matrix) -> list[dict[str, str]]:
    return [row for row in matrix.table(_TABLE)["rows"] if row["what"] == what]


def _matches(row: dict[str, str], text: str, matrix: Matrix) -> Iterator[str]:
    """Yield what a pattern fits in a typed text, but where the words before it set it apart."""
    if len(text) > _TYPED:
        return
    apart = _compiled(matrix.table(_TABLE)["apart"])
    for match in _compiled(row["pattern"]).finditer(text):
        start = text.rfind("\n", 0, match.start()) + 1
        if not apart.search(text[start : match.start()]):
            yield match[0].strip()


def _because(text: str, matrix: Matrix) -> Because:
    return Because(text, matrix.table(_TABLE)["sources"]["prose"], "observed")


@lru_cache(maxsize=32)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
