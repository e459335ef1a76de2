"""The public Python API: examines the interpreter that it runs in."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import msgspec

from qdoctor import doctor
from qdoctor.question import Question

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdoctor.model import Report, Verdict

Level = Literal["none", "quick", "full"]


@dataclass(frozen=True)
class Backend:
    """The quantization backend to use here: ``name`` and ``verdict`` are None where none works.

    With several GPUs it is for the first one that CUDA shows, which torch uses unless it is told
    otherwise; ``report.gpu_verdicts`` has each, ``report.selected_on_every_gpu`` what is for all.
    """

    name: str | None
    verdict: Verdict | None
    report: Report = field(repr=False)

    def explain(self) -> str:
        """Why this backend, and why not each of the others: one line a backend."""
        chosen = f"selected: {self.name}" if self.name else "selected: none, no backend works here"
        lines = [f"{one.backend}: {one.usable}, {one.reason}" for one in self.report.verdicts]
        return "\n".join([chosen, *self._on_every_gpu(), *lines])

    def _on_every_gpu(self) -> list[str]:
        count = len(self.report.gpu_verdicts)
        every = self.report.selected_on_every_gpu or "none, no backend works on each of them"
        return [f"on all {count} GPUs: {every}"] if count else []


def check(*, need: Sequence[str] = (), ignore: Sequence[str] = (), probe: Level = "full") -> Report:
    """Examine the running interpreter, as ``qdoctor check --python sys.executable`` does.

    Probes run in child processes, for some seconds; ``probe="none"`` reads files only. Raises
    ``BadInput`` for a need or rule that does not exist.
    """
    report = doctor.examine(
        Question(python=sys.executable, need=tuple(need), ignore=tuple(ignore), probe=probe)
    )
    target = msgspec.structs.replace(report.target, chosen_by="the running interpreter")
    return msgspec.structs.replace(report, target=target)


def select_backend(*, probe: Level = "full") -> Backend:
    """Examine the running interpreter and choose a backend by what works; nothing is cached yet."""
    report = check(probe=probe)
    verdict = next((one for one in report.verdicts if one.backend == report.selected), None)
    return Backend(report.selected, verdict, report)
