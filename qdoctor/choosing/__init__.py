"""Choosing the backend to use by what it takes here: measured, decided, kept.

``choose`` is the whole way, for some tens of seconds; nothing is loaded before it is called, since
an answer that was kept is read in milliseconds.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # as typing's, without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qdoctor.choosing.examined import Examined
    from qdoctor.model import Asked, Selection

__all__ = ["choose"]


def choose(
    asked: Asked,
    python: str = sys.executable,
    environ: Mapping[str, str] | None = None,
    progress: Callable[[str], None] = lambda _: None,
    examined: Examined | None = None,
) -> Selection:
    """Read the facts, run the probes, measure the candidates and decide; nothing is kept.

    Everything that could harm runs in child processes of ``python``: this process imports no torch
    and starts no CUDA. With ``asked.measure`` other than ``auto`` nothing is measured, and the
    selection says so. ``progress`` gets a line now and then; ``environ`` is this process's by
    default. ``examined`` may hold an earlier report, which stands for facts and probes, and is told
    a new one.

    Raises ``BadInput`` for what cannot be asked: an unknown backend, a device that is not there, a
    shape or bound that is no positive number. Whatever happens to a candidate is its reason.
    """
    from qdoctor.choosing.from_scratch import chosen  # noqa: PLC0415 - see above

    return chosen(asked, python, environ, progress, examined)
