"""Which GPU models a name fits: names are compared as sets of words, never by a list in code.

The models, their other names, the words that carry no meaning and the words of other vendors all
stand in ``matrix/tables/gpus.json``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from qdoctor.model import BadInput, Gpu

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_WORD = re.compile(r"[a-z0-9]+")
_SERIES = re.compile(r"\b(?:(\d0)(?:00)?|(\d)00)[ -]?series\b")
_SM = re.compile(
    r"(?:(?:sm|compute|cc)[_ ]?(\d+)[._]?(\d)|(\d+)\.(\d))[af]?", re.IGNORECASE | re.ASCII
)
_COUNT = re.compile(r"\b\d+ ?x ?(?=[a-wyz])|(?<=[a-z\d]\d)x\d{1,2}\b")


class GpuRow(msgspec.Struct, frozen=True):
    """One GPU model of the matrix.

    ``sm`` is its compute capability (``"8.6"``); ``tensor_cores`` is None where its SM decides;
    ``memory_mib`` the nominal memory where every card of that name has the same; ``kind`` is
    datacenter, workstation, geforce, titan or embedded.
    """

    name: str
    sm: str
    kind: str
    source: str
    strength: str
    tensor_cores: bool | None = None
    memory_mib: int | None = None
    laptop: bool = False


class Catalog:
    """The models of the table ``gpus``, prepared for look-ups by name."""

    def __init__(self, table: dict[str, Any]) -> None:
        """``table`` is the content of ``matrix/tables/gpus.json``."""
        words = table["words"]
        self._noise = re.compile("|".join(words["noise"]))
        self._synonyms: dict[str, str] = words["synonyms"]
        self._strangers = re.compile("|".join(words["other_vendors"]))
        self._own = frozenset(words["own"])
        self._before = re.compile(rf"\b({'|'.join(words['prefixes'])})(?=[a-z]?\d)")
        self._after = re.compile(rf"(?<=\d)({'|'.join(words['suffixes'])})\b")
        self._models = [
            (self._row(row, table["sources"]), self._names(row)) for row in table["rows"]
        ]

    def named(self, name: str) -> list[GpuRow]:
        """Return every model that ``name`` fits, the most specific ones only; [] for none."""
        if self._is_foreign(name):
            return []
        words = self._words(name)
        fits = [
            (row, said) for row, names in self._models if (said := self._fit(row, names, words))
        ]
        return [row for row, said in fits if not any(said < other for _, other in fits)]

    def parse(self, text: str, known_sms: Sequence[str]) -> list[Gpu]:
        """Read an SM (``sm_70``, ``7.0``, ``sm_90a``) or a model's name: what it may mean.

        Raises BadInput for one that is not known, naming what is near.
        """
        if found := _SM.fullmatch(text.strip()):
            sm = ".".join(part for part in found.groups() if part)
            if sm not in known_sms:
                raise BadInput(f"no SM {sm} is known; known are {', '.join(known_sms)}")
            return [Gpu(sm=sm, vendor="nvidia")]
        rows = self.named(text)
        if not rows and self._is_foreign(text):
            hint = "only NVIDIA's can be judged, by name or by an SM such as sm_80"
            raise BadInput(f"the GPU {text!r} is another maker's: {hint}")
        if not rows:
            raise BadInput(f"no NVIDIA GPU named {text!r} is known; {self._hint(text)}")
        return [Gpu(name=r.name, sm=r.sm, memory_mib=r.memory_mib, vendor="nvidia") for r in rows]

    def _hint(self, name: str) -> str:
        near = self._nearest(name)
        meant = f"did you mean {', '.join(near)}? An" if near else "an"
        return f"{meant} SM such as sm_80 works too"

    def _nearest(self, name: str, count: int = 3) -> list[str]:
        """Return the names of the models spelled most like ``name``."""
        from difflib import get_close_matches  # noqa: PLC0415 - needed for an error text only

        known = {" ".join(sorted(said)): row.name for row, names in self._models for said in names}
        wanted = " ".join(sorted(self._words(name)))
        close = get_close_matches(wanted, known, n=count, cutoff=0.5)
        return list(dict.fromkeys(known[said] for said in close))

    @staticmethod
    def _fit(
        row: GpuRow, names: tuple[frozenset[str], ...], words: frozenset[str]
    ) -> frozenset[str]:
        # Only GeForce models are spoken of by series: RTX 30xx never means a Quadro RTX 3000.
        return _longest(names, words, families=row.kind == "geforce")

    def _is_foreign(self, name: str) -> bool:
        words = frozenset(_WORD.findall(name.lower()))
        return not words & self._own and any(self._strangers.fullmatch(word) for word in words)

    def _words(self, name: str) -> frozenset[str]:
        """Split a name into the words that tell models apart."""
        text = name.lower().replace("(r)", " ").replace("(tm)", " ")
        text = _COUNT.sub("", _SERIES.sub(r"\1\2xx", text))
        text = self._after.sub(r" \1", self._before.sub(r"\1 ", text))
        words = (self._synonyms.get(word, word) for word in _WORD.findall(text))
        return frozenset(word for word in words if not self._noise.fullmatch(word))

    def _names(self, row: dict[str, Any]) -> tuple[frozenset[str], ...]:
        names = (row["name"], *row.get("aliases", ()))
        return tuple(dict.fromkeys(self._words(name) for name in names))

    @staticmethod
    def _row(row: dict[str, Any], sources: dict[str, str]) -> GpuRow:
        return GpuRow(
            name=row["name"],
            sm=row["sm"],
            kind=row["kind"],
            source=sources[row["source"]],
            strength=row["strength"],
            tensor_cores=row.get("tensor_cores"),
            memory_mib=row.get("memory_mib"),
            laptop=row.get("laptop", False),
        )


def _longest(
    names: Iterable[frozenset[str]], words: frozenset[str], *, families: bool
) -> frozenset[str]:
    """Return the largest of ``names`` whose every word is said in ``words``; empty for none."""
    fits = (name for name in names if all(_said(word, words, families=families) for word in name))
    return max(fits, key=len, default=frozenset())


def _said(word: str, words: frozenset[str], *, families: bool) -> bool:
    """Say whether ``word`` is among ``words``, a family such as ``16xx`` standing for 1660."""
    return word in words or (families and any(_is_family_of(one, word) for one in words))


def _is_family_of(family: str, word: str) -> bool:
    stem = family.rstrip("x")
    same_length = len(stem) < len(family) == len(word)
    return same_length and stem.isdigit() and word.isdigit() and word.startswith(stem)


def sms(rows: Sequence[GpuRow]) -> list[str]:
    """Return the distinct SMs of ``rows``, in their order: more than one means ambiguous."""
    return list(dict.fromkeys(row.sm for row in rows))
