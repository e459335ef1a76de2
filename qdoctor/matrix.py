"""The compatibility matrix: loads ``matrix/`` lazily and answers yes, no or unknown with evidence.

One file is one release, so a question reads the index and the releases it is about, nothing more.
Every answer is a fresh copy: nothing a caller does to it reaches the next caller.

How a version is understood: a local part names a build of the same release (``2.5.1+cu121`` is
2.5.1), unless the table ``local_versions`` says that it names another source state
(``3.5.0+git7416ffcb``); a development or pre-release (``0.43.2.dev0``) is not the release; what
PEP 440 refuses but ends in ``.x`` or ``.*`` is a prefix and stands for the newest release it fits
(``matching`` gives all of them, for callers to whom the difference matters). Everything else that
the index does not hold is unknown: None.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from qdoctor import shipped as _shipped
from qdoctor.gpu_names import Catalog, GpuRow
from qdoctor.model import BadInput, Because, Gpu, Strength, YesNo

if TYPE_CHECKING:
    from packaging.version import Version

__all__ = ["GpuRow", "Matrix", "Release", "has", "load", "query", "shipped"]

_STRENGTHS: tuple[Strength, ...] = ("documented", "mined", "inspected", "observed")
_NAME_FACTS = ("names", "public_names")
_SM = re.compile(r"(?:(?:sm|compute|cc)[_ ]?(\d+)[._]?(\d)|(\d+)\.(\d))[af]?", re.IGNORECASE)
_SHOWN = 120


@dataclass(frozen=True)
class Release:
    """What the matrix knows of one release: plain values, and where each was read.

    A fact that is not known is absent. ``evidence`` has the keys of ``facts``; each item names a
    wheel, its sha256, the member, a line or symbol, and the strength of the reading.
    """

    package: str
    version: str
    facts: dict[str, Any]
    evidence: dict[str, list[dict[str, Any]]]


class Matrix:
    """The data of one folder, read when asked for."""

    def __init__(self, folder: Path) -> None:
        """``folder`` holds index.json, releases/ and tables/. Raises BadInput where it does not."""
        self._folder = folder
        self._bytes: dict[str, bytes] = {}
        index = self._read("index.json")
        self.version: str = _get(index, "version", self._folder / "index.json")
        self._packages: dict[str, list[str]] = _get(index, "packages", self._folder / "index.json")

    def versions(self, package: str) -> tuple[Version, ...]:
        """Return the releases that the matrix knows, ascending; () for an unknown package."""
        from packaging.version import Version  # noqa: PLC0415 - an exact question needs no parser

        return tuple(Version(version) for version in self._packages.get(_normal(package), ()))

    def matching(self, package: str, version: str) -> tuple[str, ...]:
        """Return every known release that ``version`` may mean, ascending (see the module)."""
        known = self._packages.get(_normal(package), [])
        if version in known:
            return (version,)
        if version.endswith((".x", ".*")):
            stem = version[:-1]
            return tuple(one for one in known if one.startswith(stem) or one == stem[:-1])
        public = self._public(version)
        return tuple(one for one in known if public is not None and _same(one, public))

    def release(self, package: str, version: str) -> Release | None:
        """Return one release, the newest where a prefix fits several; None: unknown here."""
        found = self.matching(package, version)
        if not found:
            return None
        shard = self._read(f"releases/{_normal(package)}/{found[-1]}.json")
        return Release(**{key: shard[key] for key in ("package", "version", "facts", "evidence")})

    def has(self, package: str, version: str, dotted: str) -> YesNo:
        """Say whether a release has a public dotted name (``triton.language.libdevice``).

        Unknown for a release the matrix does not know, a private name, and a name outside of
        what was listed.
        """
        found = self.matching(package, version)
        names = self._names(_normal(package), found[-1]) if found else frozenset()
        if dotted in names:
            return "yes"
        return "no" if _would_be_listed(dotted, names) else "unknown"

    def table(self, name: str) -> dict[str, Any]:
        """Return ``matrix/tables/<name>.json``. Raises BadInput where there is none."""
        return self._read(f"tables/{name}.json")

    def row(self, table: str, key: str) -> dict[str, Any] | None:
        """Return one row of a table that is looked up by key (``cuda``, ``drivers``, ``sm``)."""
        content = self.table(table)
        row: dict[str, Any] | None = content["rows"].get(key)
        return row if row is None else {**row, "source": content["sources"][row["source"]]}

    def gpus_named(self, name: str) -> list[GpuRow]:
        """Return every model that a GPU's name fits; [] when none does, or another vendor's."""
        return self._catalog.named(name)

    def parse_gpu(self, text: str) -> list[Gpu]:
        """Read ``sm_70``, ``7.0``, ``sm_90a`` or a GPU's name: the candidates it may mean.

        Raises BadInput for an SM or a name that the matrix does not know.
        """
        if found := _SM.fullmatch(text.strip()):
            return [Gpu(sm=self._known_sm(".".join(part for part in found.groups() if part)))]
        rows = self.gpus_named(text)
        if not rows:
            near = self._catalog.nearest(text)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise BadInput(
                f"no NVIDIA GPU named {text!r} is known{hint} An SM such as sm_80 works too"
            )
        return [Gpu(name=r.name, sm=r.sm, memory_mib=r.memory_mib, vendor="nvidia") for r in rows]

    def strength(self, package: str, version: str, key: str) -> Strength | None:
        """Return how strongly a fact is known: its weakest piece of evidence. None: not known."""
        found = self.release(package, version)
        items = found.evidence.get(key, []) if found else []
        return min((item["strength"] for item in items), key=_STRENGTHS.index, default=None)

    def because(self, package: str, version: str, key: str, text: str = "") -> Because:
        """Return a fact's evidence as a reason; ``text`` says the fact in words, if given.

        Raises KeyError for a fact that the matrix does not know.
        """
        found = self.release(package, version)
        strength = self.strength(package, version, key)
        if found is None or strength is None:
            raise KeyError(f"the matrix does not know {key} of {package} {version}")
        shown = text or f"{found.package} {found.version}: {key} = {_short(found.facts.get(key))}"
        return Because(text=shown, source=_cited(found.evidence[key]), strength=strength)

    def because_row(self, table: str, key: str, text: str) -> Because:
        """Return a table row's source as a reason. Raises KeyError for an unknown row."""
        row = self.row(table, key)
        if row is None:
            raise KeyError(f"the matrix table {table} has no row {key}")
        return Because(text=text, source=row["source"], strength=row["strength"])

    @cached_property
    def _catalog(self) -> Catalog:
        return Catalog(self.table("gpus"))

    @cached_property
    def _other_sources(self) -> re.Pattern[str]:
        rows = self.table("local_versions")["rows"].values()
        return re.compile("|".join(row["pattern"] for row in rows))

    def _known_sm(self, sm: str) -> str:
        known = self.table("sm")["rows"]
        if sm not in known:
            raise BadInput(f"no SM {sm} is known: the matrix has {', '.join(known)}")
        return sm

    def _public(self, version: str) -> Version | None:
        """Parse ``version`` without its local part; None where that names no released version."""
        from packaging.version import InvalidVersion, Version  # noqa: PLC0415 - as above

        try:
            parsed = Version(version)
        except InvalidVersion:
            return None
        if parsed.local and self._other_sources.match(parsed.local):
            return None
        return Version(parsed.public)

    @lru_cache(maxsize=64)  # noqa: B019 - few matrices live, each as long as the process
    def _names(self, package: str, version: str) -> frozenset[str]:
        facts = self._read(f"releases/{package}/{version}.json")["facts"]
        return frozenset(name for key in _NAME_FACTS for name in facts.get(key, ()))

    def _read(self, member: str) -> dict[str, Any]:
        path = self._folder / member
        try:
            if member not in self._bytes:
                self._bytes[member] = path.read_bytes()
            return msgspec.json.decode(self._bytes[member], type=dict[str, Any])
        except OSError as error:
            hint = "reinstall qdoctor, or name a folder that qdoctor's matrix was mined into"
            raise BadInput(
                f"cannot read the matrix file {path}: {error.strerror}; {hint}"
            ) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadInput(
                f"the matrix file {path} is broken: {error}; reinstall qdoctor"
            ) from error


def load(folder: Path) -> Matrix:
    """Open the matrix in ``folder``. Raises BadInput for a folder that holds none."""
    return Matrix(Path(folder))


@lru_cache(maxsize=1)
def shipped() -> Matrix:
    """Return the matrix that came with qdoctor, read once per process."""
    return Matrix(_shipped.matrix_folder())


def query(package: str, version: str) -> Release:
    """Return what the shipped matrix knows of a release. Raises BadInput for an unknown one."""
    found = shipped().release(package, version)
    if found is None:
        known = shipped().versions(package)
        span = f"it knows {known[0]} to {known[-1]}" if known else "nor any release of it"
        raise BadInput(f"the matrix does not know {package} {version}; {span}")
    return found


def has(package: str, version: str, dotted: str) -> YesNo:
    """Say whether a release has a public dotted name; unknown where the matrix cannot tell."""
    return shipped().has(package, version, dotted)


def _get(content: dict[str, Any], key: str, path: Path) -> Any:  # noqa: ANN401 - JSON
    try:
        return content[key]
    except KeyError:
        raise BadInput(f"the matrix file {path} is broken: it has no {key!r}") from None


def _normal(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def _same(known: str, public: Version) -> bool:
    """Compare as versions (``2.6`` is 2.6.0); only a like-sounding one is worth parsing."""
    return known.startswith(str(public.major)) and type(public)(known) == public


def _would_be_listed(dotted: str, names: frozenset[str]) -> bool:
    """Say whether the list would hold ``dotted`` if it existed: public, and of a listed package."""
    parts = dotted.split(".")
    roots = {name.split(".", 1)[0] for name in names}
    return parts[0] in roots and not any(part.startswith("_") for part in parts)


def _short(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _cited(items: list[dict[str, Any]]) -> str:
    shown = [_place(item) for item in items[:3]]
    return "; ".join(shown) + (f"; and {len(items) - 3} more" if items[3:] else "")


def _place(item: dict[str, Any]) -> str:
    where = [str(item[key]) for key in ("wheel", "member") if item.get(key)]
    line = f":{item['line']}" if item.get("line") else ""
    symbol = f" ({item['symbol']})" if item.get("symbol") else ""
    return (" ".join(where) or str(item.get("source", "?"))) + line + symbol
