"""Which cells of benchmarks/switchback.py come first, and what earlier runs have measured already.

A cell is one shape and kind of pass under one state of the cache. A record is one measurement in
it: contenders timed in turn, so that their ratios mean something. What a cell still lacks is
measured in a further record, beside the anchors. Records of several runs come together in one
file, as long as they are of the same device and the same versions.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks._switchback_contenders import ANCHORS
from benchmarks._switchback_timed import quiet, spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

Record = dict[str, Any]
Key = tuple[int, int, int, str]
MANY = 4096
"""Rows from which on the goals on speed ask for a gain: those cells come first."""


class Group(NamedTuple):
    """A layer (depth, columns) and kind of pass with rows of like importance, made only once."""

    layer: tuple[int, int]
    passes: str
    rows: tuple[int, ...]


class OtherRunError(ValueError):
    """A file holds figures of another device or of other versions."""


def groups(
    shapes: Sequence[tuple[int, int]], rows: Sequence[int], passes: Sequence[str]
) -> list[Group]:
    """Put all cells in order of importance: many rows before few, then the passes as given."""
    many, few = ([one for one in rows if (one >= MANY) is here] for here in (True, False))
    return [
        Group(layer, kind, tuple(sorted(some, reverse=True)))
        for some in (many, few)
        for kind in passes
        for layer in shapes
        if some
    ]


def key(record: Record) -> Key:
    """Return which cell a record is of."""
    return record["rows"], record["depth"], record["columns"], record["passes"]


def keys(groups_: Iterable[Group]) -> list[Key]:
    """Return the cells of some groups."""
    return [(rows, *one.layer, one.passes) for one in groups_ for rows in one.rows]


def lacking(
    records: Iterable[Record], cell: Key, cache: str, wanted: Sequence[str], *, failed: bool = False
) -> list[str]:
    """Return whom to measure in a cell: who was not yet, or too disturbed, and the anchors.

    Who failed there is asked again only with ``failed``. Empty where nothing is to be done.
    """
    settled: set[str] = set()
    for record in records:
        if key(record) == cell and record["cache"] == cache:
            settled.update(() if failed else record["failed"])
            good = {name for name, one in record["contenders"].items() if quiet(one)}
            # a ratio to a disturbed anchor tells nothing
            if all(name in good for name in ANCHORS if name in record["contenders"]):
                settled |= good
    left = [name for name in wanted if name not in settled]
    anchors = [name for name in ANCHORS if name in wanted and name not in left]
    return [name for name in wanted if name in {*left, *anchors}] if left else []


def read(path: Path | None, about: dict[str, str]) -> dict[str, Any]:
    """Return what earlier runs left in the file; nothing where there is none.

    Raises ``OtherRunError`` where ``about`` (device, versions) was another, or for another file.
    """
    if path is None or not path.exists():
        return {**about, "cells": [], "errors": []}
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        there = {name: told[name] for name in about}
        _ = (
            told["errors"],
            [(key(one), one["cache"], one["failed"], one["contenders"]) for one in told["cells"]],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise OtherRunError(f"{path} is no file of this benchmark's figures: {error!r}") from None
    other = [
        f"{name}: {there[name]}, not {about[name]}" for name in about if there[name] != about[name]
    ]
    if other:
        raise OtherRunError(
            f"{path} holds figures of another run ({'; '.join(other)}): name another file"
        )
    return told


def joined(told: dict[str, Any], others: Iterable[Path]) -> int:
    """Take over what other files hold of the same device and versions; return how many records.

    Raises ``OtherRunError`` where one is of another run, or is not there. Joining twice adds once.
    """
    count = len(told["cells"])
    for path in others:
        if not path.exists():
            raise OtherRunError(f"{path} is not there")
        other = read(path, {name: told[name] for name in ("device", "versions")})
        told["cells"] += [one for one in other["cells"] if one not in told["cells"]]
        told["errors"] = told["errors"] or other["errors"]
    return len(told["cells"]) - count


def write(path: Path | None, told: dict[str, Any]) -> None:
    """Keep everything so far; a run that is killed leaves the last whole file."""
    if path is not None:
        part = path.with_name(path.name + ".part")
        part.write_text(json.dumps(told, indent=1), encoding="utf-8")
        part.replace(path)


def noise(one: dict[str, Any]) -> tuple[bool, float]:
    """Order figures of a contender, the most trustworthy first."""
    return not quiet(one), spread(one)


def merged(records: Iterable[Record]) -> list[Record]:
    """Make one cell of all records of it, for tables: each contender by its quietest figures.

    A contender's ``base_ms`` is torch.nn.Linear's in the same record; what failed in one record
    and not in another has not failed.
    """
    cells: dict[tuple[Any, ...], Record] = {}
    for record in records:
        base = record["contenders"].get(ANCHORS[0], {}).get("ms")
        cell = cells.setdefault(
            (*key(record), record["cache"]), {**record, "contenders": {}, "failed": {}}
        )
        for name, one in record["contenders"].items():
            known = cell["contenders"].get(name)
            if known is None or noise(one) < noise(known):
                cell["contenders"][name] = {**one, "base_ms": base}
        cell["failed"] |= record["failed"]
    for cell in cells.values():
        cell["failed"] = {n: w for n, w in cell["failed"].items() if n not in cell["contenders"]}
    return list(cells.values())
