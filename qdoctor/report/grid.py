"""A grid of the matrix for people: neighbours that say the same are told as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdoctor.report.release import places

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from qdoctor.grids import Grid
    from qdoctor.report.paper import Paper, Part

_LABEL = 24
_CELL = 9
_STYLES = {"yes": "green", "no": "red", "unknown": "yellow"}
_LETTERS = "abcdefghijklmnopqrstuvwxyz"

Row = dict[str, Any]


def render(paper: Paper, grid: Grid, *, with_evidence: bool) -> None:
    """Write one grid: two releases against each other as a table, else what each release holds."""
    paper.heading(grid.title)
    if "answer" in (grid.rows[0] if grid.rows else {}):
        _crossed(paper, grid, with_evidence=with_evidence)
    else:
        for span, rows in _spans(_by(grid.rows, grid.keys[0]), _said):
            _held(paper, span, rows, with_evidence=with_evidence)


def _crossed(paper: Paper, grid: Grid, *, with_evidence: bool) -> None:
    """Write answers as a table; a letter beside a ``no`` names the problem below it."""
    down, across = grid.keys
    cells = {(row[down], row[across]): row for row in grid.rows}
    rows, columns = _by(grid.rows, down), _by(grid.rows, across)
    letters = _letters(grid.rows)
    groups = _spans(columns, _answers)
    for label, end in ((f"{across} from", 0), ("to", 1)):
        heads = [(span[end], "bold", _CELL) for span, _ in groups]
        paper.row([(label, "dim", _LABEL), *heads])
    for span, members in _spans(rows, _answers):
        picked = [cells[members[0][down], shown[0]] for shown, _ in groups]
        paper.row([(_named(*span), "bold", _LABEL), *_cells(picked, letters)])
    for rule, letter in letters.items():
        paper.row([(f"no {letter}", "red", 6)], (rule, ""))
    if with_evidence:
        _reasons(paper, grid)


def _letters(rows: Iterable[Row]) -> dict[str, str]:
    rules = dict.fromkeys(row["rule"] for row in rows if row["rule"])
    return dict(zip(rules, _LETTERS, strict=False))


def _cells(rows: Sequence[Row], letters: dict[str, str]) -> list[tuple[str, str, int]]:
    return [
        (f"{row['answer']} {letters.get(row['rule'], '')}", _STYLES[row["answer"]], _CELL)
        for row in rows
    ]


def _reasons(paper: Paper, grid: Grid) -> None:
    """Write the reason of each kind of answer once, of its first pair, with its evidence."""
    first: dict[object, Row] = {}
    for row in grid.rows:
        first.setdefault((row["answer"], row["rule"]), row)
    for row in first.values():
        labels = [(row["answer"], _STYLES[row["answer"]], _CELL)]
        paper.row(labels, (row["reason"], ""))
        for one in row["evidence"]:
            source: Part = (f" [{one['strength']}: {one['source']}]", "dim")
            paper.row([("because", "dim", _CELL)], (one["text"], ""), source, indent=4)


def _held(paper: Paper, span: tuple[str, str], rows: Sequence[Row], *, with_evidence: bool) -> None:
    """Write what one release, or several that are alike, holds: a line a build."""
    triton: list[Part] = [(f"triton {row['triton']}", "") for row in rows[:1] if "triton" in row]
    paper.row([(_named(*span), "bold", _LABEL)], *triton)
    for names, row in _alike(rows):
        held = " ".join(_short(one) for one in (*(row["sm"] or ()), *_ptx(row))) or "unknown"
        without = "" if row.get("cublaslt", True) else " without cublasLt"
        glibc = f", glibc {row['glibc']}" if row.get("glibc") else ""
        kind = "CUDA " if "cuda" in row else ""
        built: Part = (f"{kind}{', '.join(names)}{without}: ", "cyan")
        paper.row([("", "", 2)], built, (f"SM {held}{glibc}", ""))
        if with_evidence:
            places(paper, row["evidence"])


def _alike(rows: Sequence[Row]) -> list[tuple[list[str], Row]]:
    """Put builds together that hold the same."""
    found: dict[Hashable, tuple[list[str], Row]] = {}
    for row in rows:
        key = repr((row["sm"], row.get("ptx"), row.get("cublaslt"), row.get("glibc")))
        names, _ = found.setdefault(key, ([], row))
        names.append(_build(row))
    return list(found.values())


def _build(row: Row) -> str:
    if "build" in row:
        return f"{row['build'] or '?'}{' (default)' if row['default'] else ''}"
    return str(row["cuda"])


def _ptx(row: Row) -> list[str]:
    return [f"PTX {one.rpartition('_')[2]}" for one in row.get("ptx") or ()]


def _short(arch: str) -> str:
    """Return ``sm_80`` as ``80`` and ``compute_90`` as ``PTX 90``."""
    kind, _, number = arch.rpartition("_")
    return {"sm": number, "compute": f"PTX {number}"}.get(kind, arch)


def _by(rows: Iterable[Row], key: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row[key], []).append(row)
    return found


def _answers(rows: Sequence[Row]) -> Hashable:
    return tuple((row["answer"], row["rule"]) for row in rows)


def _said(rows: Sequence[Row]) -> Hashable:
    """What the rows of one release state, the release itself and its evidence left out."""
    return repr([[row[key] for key in list(row)[1:] if key != "evidence"] for row in rows])


def _spans(
    groups: dict[str, list[Row]], key: Callable[[Sequence[Row]], Hashable]
) -> list[tuple[tuple[str, str], list[Row]]]:
    """Join neighbours with the same key: ((first, last), rows of the first)."""
    spans: list[tuple[tuple[str, str], list[Row]]] = []
    for name, rows in groups.items():
        if spans and key(spans[-1][1]) == key(rows):
            spans[-1] = ((spans[-1][0][0], name), spans[-1][1])
        else:
            spans.append(((name, name), rows))
    return spans


def _named(first: str, last: str) -> str:
    return first if first == last else f"{first} to {last}"
