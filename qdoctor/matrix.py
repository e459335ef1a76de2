"""The compatibility matrix: loads ``matrix/`` lazily and answers yes, no or unknown with evidence.

One file is one release, so a question reads the index and the releases it is about, nothing more.
A release is a fresh copy each time: nothing a caller does to it reaches the next caller. Tables and
what is said of versions are decoded once and shared, to be read only: a diagnosis asks thousands of
times.

How a version is understood: a local part names a build of the same release (``2.5.1+cu121`` is
2.5.1), unless the table ``local_versions`` says that it names another source state
(``3.5.0+git7416ffcb``); a development or pre-release (``0.43.2.dev0``) is not the release; what
PEP 440 refuses but ends in ``.x`` or ``.*`` is a prefix and stands for the newest release it fits
(``matching`` gives all of them, for callers to whom the difference matters). Everything else that
the index does not hold is unknown: None.

A user's own data may be laid over it: it adds releases that the shipped data lacks, and never
replaces one (``qdoctor.local_data``).
"""

from __future__ import annotations

import os
import re
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from qdoctor import citation
from qdoctor import shipped as _shipped
from qdoctor.gpu_names import Catalog, GpuRow
from qdoctor.model import BadInput, Because

if TYPE_CHECKING:
    from packaging.version import Version

    from qdoctor.model import Gpu, Strength, YesNo

__all__ = ["GpuRow", "Matrix", "Release", "has", "load", "query", "shipped"]

Content = TypeVar("Content")

_REPAIR = "reinstall qdoctor, or name the folder of a whole matrix"
_NAME_FACTS = ("names", "public_names")
_LOCAL = "+local"


class Release(msgspec.Struct, frozen=True):
    """What the matrix knows of one release: plain values, and where each was read.

    A fact that is not known is absent. ``evidence`` has the keys of ``facts``; each item names a
    wheel, its sha256, the member, a line or symbol, and the strength of the reading.
    """

    package: str
    version: str
    facts: dict[str, Any]
    evidence: dict[str, list[dict[str, Any]]]


class _Index(msgspec.Struct, frozen=True):
    version: str
    packages: dict[str, list[str]]
    together: list[str] = []


class _Together(msgspec.Struct, frozen=True):
    """All releases of a package in one file; each is decoded when it is asked for."""

    package: str
    releases: dict[str, msgspec.Raw]


class _Statements(msgspec.Struct, frozen=True):
    facts: dict[str, Any]
    evidence: dict[str, list[dict[str, Any]]]


class Matrix:
    """The data of one folder, read when asked for; ``local`` adds releases of the user's own."""

    def __init__(self, folder: Path, local: Path | None = None) -> None:
        """``folder`` holds index.json, releases/ and tables/; ``local`` need not hold tables/.

        Raises BadInput where they do not. ``version`` ends in ``+local`` where ``local`` adds any.
        """
        self._folder = folder
        self._bytes: dict[str, bytes] = {}
        self._homes: dict[str, Path] = {}
        index = self._read("index.json", _Index)
        self.version: str = index.version
        self._packages = index.packages
        self._in_one_file = frozenset(index.together)
        if local is not None and self._lay_over(local):
            self.version += _LOCAL

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages of which any release is known, sorted."""
        return tuple(sorted(self._packages))

    @lru_cache(maxsize=256)  # noqa: B019 - few matrices live, each as long as the process
    def versions(self, package: str) -> tuple[Version, ...]:
        """Return the releases that the matrix knows, ascending; () for an unknown package."""
        from packaging.version import Version  # noqa: PLC0415 - an exact question needs no parser

        return tuple(Version(version) for version in self._packages.get(_normal(package), ()))

    @lru_cache(maxsize=4096)  # noqa: B019 - likewise
    def matching(self, package: str, version: str) -> tuple[str, ...]:
        """Return every known release that ``version`` may mean, ascending (see the module)."""
        known = self._packages.get(_normal(package), [])
        if version in known:
            return (version,)
        if version.endswith((".x", ".X", ".*")):
            stem = version[:-1]
            return tuple(one for one in known if one.startswith(stem) or one == stem[:-1])
        public = self._public(version)
        if public is None:
            return ()
        if str(public) in known:
            return (str(public),)
        return tuple(one for one in known if _same(one, public))

    def release(self, package: str, version: str) -> Release | None:
        """Return one release, the newest where a prefix fits several; None: unknown here."""
        found = self.matching(package, version)
        if not found:
            return None
        return self._release(_normal(package), found[-1])

    def has(self, package: str, version: str, dotted: str) -> YesNo:
        """Say whether a release has a public dotted name (``triton.language.libdevice``).

        Unknown for a release the matrix does not know, a private name, and a name whose parent's
        members cannot all be told without running it (a class, a module with ``__getattr__``, one
        that holds an object of its own name, which may stand in its place).
        """
        found = self.matching(package, version)
        if not found:
            return "unknown"
        names, closed = self._names(_normal(package), found[-1])
        if dotted in names:
            return "yes"
        parent = _known_parent(dotted, names)
        hidden = (
            f"{parent}.{parent.rpartition('.')[2]}" in names
        )  # by ``from .driver import driver``
        return "no" if parent in closed and not hidden else "unknown"

    @lru_cache(maxsize=64)  # noqa: B019 - likewise
    def table(self, name: str) -> dict[str, Any]:
        """Return ``matrix/tables/<name>.json``, not to be changed; BadInput where there is none."""
        table = self._read(f"tables/{name}.json", dict[str, Any])
        if "rows" not in table:
            raise BadInput(f"the matrix table {name}.json is broken: it has no rows; {_REPAIR}")
        return table

    @lru_cache(maxsize=1024)  # noqa: B019 - likewise
    def row(self, table: str, key: str) -> dict[str, Any] | None:
        """Return one row of a table that is looked up by key (``cuda``, ``drivers``, ``sm``).

        Not to be changed.
        """
        content = self.table(table)
        row: dict[str, Any] | None = content["rows"].get(key)
        return row if row is None else {**row, "source": content["sources"][row["source"]]}

    def gpus_named(self, name: str) -> list[GpuRow]:
        """Return every model that a GPU's name fits; [] when none does, or another vendor's."""
        return list(self._named(name))

    def parse_gpu(self, text: str) -> list[Gpu]:
        """Read ``sm_70``, ``7.0``, ``sm_90a`` or a GPU's name: the candidates it may mean.

        Raises BadInput for an SM or a name that the matrix does not know.
        """
        return self._catalog.parse(text, tuple(self.table("sm")["rows"]))

    def strength(self, package: str, version: str, key: str) -> Strength | None:
        """Return how strongly a fact is known: its weakest piece of evidence. None: not known."""
        found = self._kept(package, version)
        return citation.weakest(found.evidence.get(key, [])) if found else None

    @lru_cache(maxsize=4096)  # noqa: B019 - likewise
    def because(
        self, package: str, version: str, key: str, text: str = "", symbol: str = ""
    ) -> Because:
        """Return a fact's evidence as a reason; ``text`` says the fact in words, if given.

        ``symbol`` narrows it to the places of one name, where the evidence tells them apart.
        Raises KeyError for a fact that the matrix does not know.
        """
        found = self._kept(package, version)
        items = found.evidence.get(key, []) if found else []
        items = [item for item in items if symbol and item.get("symbol") == symbol] or items
        strength = citation.weakest(items)
        if found is None or strength is None:
            raise KeyError(f"the matrix does not know {key} of {package} {version}")
        value = citation.shown(found.facts.get(key))
        said = text or f"{found.package} {found.version}: {key} is {value}"
        return Because(text=said, source=citation.cited(items), strength=strength)

    @lru_cache(maxsize=4096)  # noqa: B019 - likewise
    def because_row(self, table: str, key: str, text: str) -> Because:
        """Return a table row's source as a reason. Raises KeyError for an unknown row."""
        row = self.row(table, key)
        if row is None:
            raise KeyError(f"the matrix table {table} has no row {key}")
        return Because(text=text, source=row["source"], strength=row["strength"])

    @lru_cache(maxsize=256)  # noqa: B019 - as _names; a check asks the same few names many times
    def _named(self, name: str) -> tuple[GpuRow, ...]:
        return tuple(self._catalog.named(name))

    @cached_property
    def _catalog(self) -> Catalog:
        return Catalog(self.table("gpus"))

    @cached_property
    def _other_sources(self) -> re.Pattern[str]:
        rows = self.table("local_versions")["rows"].values()
        return re.compile("|".join(row["pattern"] for row in rows))

    def _public(self, version: str) -> Version | None:
        """Parse ``version`` without its local part; None where that names no released version."""
        from packaging.version import Version  # noqa: PLC0415 - as above

        try:
            parsed = Version(version)
        except ValueError:  # InvalidVersion, or a number of thousands of digits
            return None
        if parsed.local and self._other_sources.match(parsed.local):
            return None
        return Version(parsed.public)

    @lru_cache(maxsize=256)  # noqa: B019 - likewise
    def _kept(self, package: str, version: str) -> Release | None:
        """Return a release to read from and never to hand out: it is decoded once."""
        return self.release(package, version)

    @lru_cache(maxsize=64)  # noqa: B019 - likewise
    def _names(self, package: str, version: str) -> tuple[frozenset[str], frozenset[str]]:
        """Return a release's public names, and those of them whose members are all listed."""
        facts = self._release(package, version).facts
        names = frozenset(name for key in _NAME_FACTS for name in facts.get(key, ()))
        return names, frozenset(facts.get("closed_modules", ()))

    def _lay_over(self, local: Path) -> bool:
        """Add the releases that ``local`` knows beyond ours, each read once: False for none."""
        path, repair = local / "index.json", _delete(local)
        index = _decoded(_loaded(path, repair), path, _Index, repair)
        added = [
            (package, version)
            for package, versions in index.packages.items()
            for version in versions
            if version not in self._packages.get(package, ())
        ]
        for package, version in added:
            member = f"releases/{package}/{version}.json"
            self._homes[member] = local
            shard = self._read(member, Release)
            if (shard.package, shard.version) != (package, version):
                raise BadInput(f"the file {local / member} is of another release; {_delete(local)}")
        self._add(added, local)
        return bool(added)

    def _add(self, added: list[tuple[str, str]], local: Path) -> None:
        from packaging.version import InvalidVersion, Version  # noqa: PLC0415 - as above

        for package in {package for package, _ in added}:
            own = [version for one, version in added if one == package]
            known = [*self._packages.get(package, ()), *own]
            try:
                self._packages[package] = sorted(known, key=Version)
            except InvalidVersion as error:
                raise BadInput(f"{local / 'index.json'}: {error}; {_delete(local)}") from error

    def _release(self, package: str, version: str) -> Release:
        """Read one release that the index names, from its own file or its package's.

        A release of the user's own always has a file of its own.
        """
        alone = f"releases/{package}/{version}.json"
        if package not in self._in_one_file or alone in self._homes:
            return self._read(alone, Release)
        member = f"dependents/{package}.json"
        raw = self._read(member, _Together).releases.get(version)
        if raw is None:
            raise BadInput(f"the matrix file {member} does not hold {version}; {_REPAIR}")
        one = msgspec.json.decode(raw, type=_Statements)
        return Release(package, version, one.facts, one.evidence)

    def _read(self, member: str, kind: type[Content]) -> Content:
        home = self._homes.get(member)
        repair = _REPAIR if home is None else _delete(home)
        path = (home or self._folder) / member
        if member not in self._bytes:
            self._bytes[member] = _loaded(path, repair)
        return _decoded(self._bytes[member], path, kind, repair)


def load(folder: Path, local: Path | None = None) -> Matrix:
    """Open the matrix in ``folder``. Raises BadInput for a folder that holds none."""
    return Matrix(Path(folder), local)


@lru_cache(maxsize=1)
def shipped() -> Matrix:
    """Return the matrix that came with qdoctor, read once per process."""
    return Matrix(_shipped.matrix_folder())


def query(package: str, version: str) -> Release:
    """Return what is known of a release, the user's own data included.

    Raises BadInput for a release that is unknown.
    """
    found = _current().release(package, version)
    if found is None:
        known = _current().versions(package)
        span = f"it knows {known[0]} to {known[-1]}" if known else "nor any release of it"
        raise BadInput(f"the matrix does not know {package} {version}; {span}")
    return found


def has(package: str, version: str, dotted: str) -> YesNo:
    """Say whether a release has a public dotted name; unknown where the matrix cannot tell."""
    return _current().has(package, version, dotted)


def _current() -> Matrix:
    from qdoctor import local_data  # noqa: PLC0415 - it builds on this module

    return local_data.current(os.environ)


def _loaded(path: Path, repair: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        if archive := next((each for each in path.parents if each.is_file()), None):
            repair = f"qdoctor needs its files as files: unpack {archive}, or install it beside"
        raise BadInput(f"cannot read the matrix: {path}: {error.strerror}; {repair}") from error


def _decoded(text: bytes, path: Path, kind: type[Content], repair: str) -> Content:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"the matrix file {path} is broken: {error}; {repair}") from error


def _delete(local: Path) -> str:
    """Say what to do about a user's own data that cannot be used."""
    return f"delete your own data, the folder {local}, and mine it again"


def _normal(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def _same(known: str, public: Version) -> bool:
    """Compare as versions (``2.6`` is 2.6.0); only a like-sounding one is worth parsing."""
    return known.startswith(str(public.major)) and type(public)(known) == public


def _known_parent(dotted: str, names: frozenset[str]) -> str:
    """Return the longest prefix of a public name that is listed; ``""`` for none."""
    parts = dotted.split(".")
    if any(part.startswith("_") for part in parts):
        return ""
    prefixes = (".".join(parts[:count]) for count in range(len(parts) - 1, 0, -1))
    return next((prefix for prefix in prefixes if prefix in names), "")
