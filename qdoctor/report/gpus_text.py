"""What differs between several GPUs in the text report, equal ones in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.report.devices import shortly
from qdoctor.report.probes_text import joined

if TYPE_CHECKING:
    from qdoctor.model import GpuVerdicts, Report
    from qdoctor.report.paper import Paper, Part


def gpus(paper: Paper, report: Report) -> None:
    """Write what each GPU would use, and where it is unlike the first; nothing with one GPU."""
    groups = _alike(report.gpu_verdicts)
    if not groups:
        return
    paper.heading("GPUs")
    if len(groups) == 1:
        told: Part = ("alike: what is said of the backends holds for each of them", "")
        paper.line((f"{_places(groups[0])}: ", "bold"), told, indent=2)
        return
    for group in groups:
        first, unlike = groups[0][0], _unlike(group[0], groups[0][0])
        name = f"{group[0].name or 'unnamed'}" + (f" (SM {group[0].sm})" if group[0].sm else "")
        chosen = f"would use {group[0].selected}" if group[0].selected else "no backend works"
        parts: list[Part] = [(_places(group), "bold"), (name, ""), (chosen, "")]
        if unlike:
            parts.append((f"unlike {_places([first])}: {unlike}", ""))
        paper.row([], *joined(parts))
    every = report.selected_on_every_gpu
    spread: Part = (every, "bold") if every else ("no backend works on all of them", "yellow")
    paper.line(("for work that is spread over all of them: ", ""), spread, indent=2)


def _alike(each: list[GpuVerdicts]) -> list[list[GpuVerdicts]]:
    """Put GPUs together that are of one model and have the same answers, in their order."""
    groups: dict[object, list[GpuVerdicts]] = {}
    for one in each:
        answers = tuple((verdict.backend, verdict.usable) for verdict in one.verdicts)
        groups.setdefault((one.name, one.sm, one.selected, answers), []).append(one)
    return list(groups.values())


def _places(group: list[GpuVerdicts]) -> str:
    known = [f"cuda:{one.index}" for one in group if one.index is not None]
    return shortly(known) if known else f"{len(group)} x"


def _unlike(one: GpuVerdicts, first: GpuVerdicts) -> str:
    """Name the backends about which the answer is another than on the first GPU."""
    other = {verdict.backend: verdict.usable for verdict in first.verdicts}
    changed = [verdict for verdict in one.verdicts if other.get(verdict.backend) != verdict.usable]
    return ", ".join(f"{verdict.backend} {verdict.usable}" for verdict in changed)
