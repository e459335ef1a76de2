"""The whole way to a selection: facts, probes, measurements, decision."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from qdoctor import doctor, local_data
from qdoctor.choosing import objectives
from qdoctor.question import Question

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qdoctor.model import Asked, Selection


def chosen(
    asked: Asked,
    python: str | None,
    environ: Mapping[str, str] | None,
    progress: Callable[[str], None],
) -> Selection:
    """See ``choosing.choose``."""
    env = os.environ if environ is None else environ
    matrix = local_data.current(env)
    report = doctor.examine(Question(python=python), environ=env, progress=progress, matrix=matrix)
    return objectives.decide(asked, report.verdicts, None, matrix)
