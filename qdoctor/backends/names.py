"""Which modules a list of names means: dotted names, parts of them, or globs. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase, translate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_WILD = frozenset("*?[")


def listed(
    patterns: str | Iterable[str] | None, argument: str, of: str = "quantize_"
) -> tuple[str, ...]:
    """Return include or skip as a tuple of names. Raises TypeError for anything else."""
    if patterns is None:
        return ()
    if not isinstance(patterns, (str, Iterable)):
        raise TypeError(f"{of}: {argument} is a list of module names, not {patterns!r}")
    given = (patterns,) if isinstance(patterns, str) else tuple(patterns)
    for one in given:
        if not isinstance(one, str) or not one:
            raise TypeError(f"{of}: {argument} is a list of module names; {one!r} is none")
    return given


def as_regex(pattern: str) -> str:
    """Write a pattern as a regular expression, from a name's start to the end of what it names."""
    inside = re.escape(pattern)
    if is_glob(pattern):
        inside = translate(pattern).removeprefix("(?s:").rpartition(")")[0]
    return rf"(.*\.)?{inside}"


def is_glob(pattern: str) -> bool:
    """Say whether it has wildcards."""
    return not _WILD.isdisjoint(pattern)


def means(pattern: str, name: str) -> bool:
    """Say whether a pattern means the module of that dotted name.

    It does as the whole name, as some of its parts in a row (``c_fc``, ``mlp.c_fc``, and ``visual``
    for all that lies under it), or as a glob (``*.c_fc``, ``blocks.1?.mlp``) for any of these;
    ``*`` goes past dots.
    """
    if not is_glob(pattern):
        return f".{pattern}." in f".{name}."
    return any(fnmatchcase(name, one) for one in _reaching(pattern))


def _reaching(pattern: str) -> tuple[str, ...]:
    return pattern, f"*.{pattern}", f"{pattern}.*", f"*.{pattern}.*"


def meant_by(patterns: Sequence[str], name: str) -> str | None:
    """Return the first pattern that means the module; None if none does."""
    return next((one for one in patterns if means(one, name)), None)


def named_outright(patterns: Sequence[str], name: str) -> bool:
    """Say whether a pattern names this very module, by its name or its end, without wildcards."""
    return any(f".{name}".endswith(f".{one}") for one in patterns)


def idle(patterns: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Return the patterns that mean none of the names."""
    return tuple(one for one in patterns if not any(means(one, name) for name in names))


def near(pattern: str, names: Sequence[str]) -> list[str]:
    """Return up to three names, or parts of names, that a mistyped pattern may have meant."""
    known = dict.fromkeys(part for name in names for part in (name.rpartition(".")[2], name))
    return difflib.get_close_matches(pattern, list(known), n=3, cutoff=0.5)
