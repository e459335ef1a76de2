"""Which backend to use, for people: what was chosen and why, every candidate's figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qdoctor.model import Candidate, Selection, Timed
    from qdoctor.report.paper import Paper

_COLUMNS = (("ms", 9), ("speed", 8), ("error", 9), ("bytes", 7), ("spread", 8))
_NAME = 20
_LEGEND = (
    "ms: the sum over the shapes; speed: against half, the geometric mean; error: relative, the "
    "worst; bytes: of a weight; spread: half of what lies between the 10th and 90th percentile"
)


def selected(paper: Paper, chosen: Selection) -> None:
    """Write the answer and its reason."""
    paper.line()
    style = "bold green" if chosen.selected else "bold yellow"
    paper.line(("Selected: ", "bold"), (chosen.selected or "none", style))
    paper.line((chosen.reason, ""), indent=2)


def candidates(paper: Paper, chosen: Selection) -> None:
    """Write a table of the candidates, and below each why it lost."""
    paper.heading("Candidates")
    if chosen.measured:
        head = [("", "dim", _NAME), *((title, "dim", wide) for title, wide in _COLUMNS)]
        paper.row(head)
    for names, one in _alike(chosen):
        _candidate(paper, names, one, chosen)


def measured(paper: Paper, chosen: Selection) -> None:
    """Write what was measured, where, how often and for how long; and what was not."""
    paper.heading("Measured" if chosen.measured else "Not measured")
    if chosen.measured:
        for line in _conditions(chosen):
            paper.line((line, ""), indent=2)
        paper.line((_LEGEND, "dim"), indent=2)
    for note in chosen.notes:
        paper.line((note, "yellow"), indent=2)


def _alike(chosen: Selection) -> list[tuple[list[str], Candidate]]:
    """Put the candidates together that one reason keeps out; a measured one has its own figures."""
    kinds: dict[tuple[str | None, ...], tuple[list[str], Candidate]] = {}
    for one in chosen.candidates:
        own = one.backend if one.milliseconds is not None or not one.lost else None
        kinds.setdefault((own, one.lost, one.rule), ([], one))[0].append(one.backend)
    return list(kinds.values())


def _candidate(paper: Paper, names: list[str], one: Candidate, chosen: Selection) -> None:
    won = one.backend == chosen.selected
    style = "bold green" if won else "bold"
    figures = _figures(one) if one.milliseconds is not None else []
    last = [("selected", "green", 0)] if won else []
    if len(names) > 1:
        paper.line((", ".join(names), style), indent=2)
    else:
        paper.row([(names[0], style, _NAME), *figures, *last])
    if one.lost:
        paper.line((one.lost, ""), *([(f" ({one.rule})", "dim")] if one.rule else []), indent=6)


def _figures(one: Candidate) -> list[tuple[str, str, int]]:
    texts = (
        _number(one.milliseconds, "{:.3g}"),
        _number(one.speedup_vs_half, "{:.2f}x"),
        _number(one.rel_error, "{:.2g}"),
        _number(one.weight_bytes_per_param, "{:.3g}"),
        _number(None if one.spread is None else 100 * one.spread, "{:.1f} %"),
    )
    return [(text, "", wide) for text, (_, wide) in zip(texts, _COLUMNS, strict=True)]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _conditions(chosen: Selection) -> list[str]:
    half = next((one for one in chosen.candidates if one.backend == "half"), None)
    cells = [one for one in (half.shapes if half else []) if one.milliseconds is not None]
    what = "forward and backward" if chosen.asked.training else "forward"
    counts = sorted(
        {one.repetitions for each in chosen.candidates for one in each.shapes} - {0}
    ) or [0]
    often = f"{' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} times"
    where = chosen.device.name or "this device"
    starting = chosen.starting_seconds
    more = f"; starting and importing took {starting:.0f} s more" if starting else ""
    shapes = ", ".join(_shape(one) for one in cells)
    return [
        f"{what}, on {where}, each {often} in turn, in {chosen.seconds - starting:.0f} s{more}",
        f"rows x in_features x out_features: {shapes}",
    ]


def _shape(one: Timed) -> str:
    return f"{one.rows}x{one.depth}x{one.columns}"
