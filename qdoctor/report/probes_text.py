"""The probes in the text report: one line for what came out alike, on many devices or of many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.report.devices import shortly, without_device

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qdoctor.model import Observation, Report
    from qdoctor.report.paper import Paper, Part

_OUTCOMES = {"passed": "green", "skipped": "dim"}
_LONGEST_DETAIL = 200
"""Characters of a compiler's words that people read; JSON has all of them."""


def probes(paper: Paper, report: Report) -> None:
    """Write what each probe did; on several devices, where it did the same, in one line."""
    paper.heading("Probes")
    if not report.observations:
        paper.line(("none ran: what is said here comes from files and the matrix", "dim"), indent=2)
    for names, seen, texts in _lines(report.observations):
        colour = _OUTCOMES.get(seen.outcome, "dim" if seen.expected == "fail" else "red")
        told: list[Part] = [(", ".join(names), "bold"), *((text, "dim") for text in texts)]
        paper.row([(seen.outcome, colour, 10)], *joined(told))


def _lines(observations: Sequence[Observation]) -> list[tuple[list[str], Observation, list[str]]]:
    """Return names, the first observation and its texts: one line for what ended for one reason.

    What passed has figures of its own. What a probe took stands in the first line of it alone.
    """
    lines: dict[tuple[str, ...], list[list[Observation]]] = {}
    for group in _grouped(observations):
        own = repr(group) if group[0].outcome == "passed" else group[0].outcome
        lines.setdefault((own, *_observed(group)), []).append(group)
    costs = _costs(observations)
    written: list[tuple[list[str], Observation, list[str]]] = []
    for groups in lines.values():
        alone = len({group[0].probe for group in groups}) == 1
        cost = costs.pop(groups[0][0].probe, "") if alone else ""
        texts = [*_observed(groups[0]), *filter(None, [cost])]
        written.append(([_name(group[0]) for group in groups], groups[0][0], texts))
    return written


def _costs(observations: Sequence[Observation]) -> dict[str, str]:
    """What each probe took, said once in its first line: the slowest and the largest child's."""
    costs: dict[str, tuple[float, float]] = {}
    for seen in observations:
        if "seconds" in seen.numbers:
            seconds, mib = costs.get(seen.probe, (0.0, 0.0))
            largest = max(mib, seen.numbers.get("peak_mib", 0.0))
            costs[seen.probe] = (max(seconds, seen.numbers["seconds"]), largest)
    return {
        probe: f"took {seconds:.1f} s" + (f", {mib:.0f} MiB" if mib else "")
        for probe, (seconds, mib) in costs.items()
    }


def joined(parts: list[Part]) -> list[Part]:
    """The same parts with a separator between each two."""
    return [piece for part in parts for piece in ((" - ", "dim"), part)][1:]


def shortened(text: str) -> str:
    """The beginning of a text, cut at a word."""
    if len(text) <= _LONGEST_DETAIL:
        return text
    return text[:_LONGEST_DETAIL].rsplit(" ", 1)[0] + " …"


def _name(seen: Observation) -> str:
    return f"{seen.probe}/{seen.variant}" if seen.variant else seen.probe


def _grouped(observations: Sequence[Observation]) -> list[list[Observation]]:
    """Put together what differs in the device and, where it passed, in the figures alone."""
    groups: dict[str, list[Observation]] = {}
    for seen in observations:
        alike = (_name(seen), seen.outcome, seen.expected, seen.ran, *_said(seen))
        groups.setdefault(repr(alike), []).append(seen)
    return list(groups.values())


def _said(seen: Observation) -> list[str]:
    """Return the path taken, and the reason of what did not pass."""
    texts = [seen.path_taken or "", shortened(seen.detail) if seen.outcome != "passed" else ""]
    return [without_device(text) for text in texts if text]


def _observed(group: Sequence[Observation]) -> list[str]:
    seen = group[0]
    compiled = "compiled, not run" if seen.outcome == "passed" and not seen.ran else ""
    expected = "as expected" if seen.outcome == "failed" and seen.expected == "fail" else ""
    places = shortly(one.device for one in group if one.device)
    return [text for text in (places, compiled, expected, *_figures(group), *_said(seen)) if text]


def _figures(group: Sequence[Observation]) -> list[str]:
    """Return the worst error, and the time from the fastest to the slowest device."""
    errors, tolerances, times = (
        [one.numbers[key] for one in group if key in one.numbers]
        for key in ("max_rel_error", "tolerance", "milliseconds")
    )
    bound = f" (tolerance {max(tolerances):.2g})" if tolerances else ""
    return [
        f"rel. error {max(errors):.2g}{bound}" if errors else "",
        f"{_span(times, lambda time: f'{time:.3g}')} ms" if times else "",
    ]


def _span(numbers: Sequence[float], written: Callable[[float], str]) -> str:
    ends = [written(min(numbers)), written(max(numbers))]
    return " to ".join(dict.fromkeys(ends))
