"""Names of Hugging Face's packages that an error text misses: ``matrix/tables/hub_names.json``.

Where ``matrix/tables/api_names.json``, written by hand, knows a name, that counts; this table knows
all that came and went between the releases that were looked at.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from qdoctor.released import parsed
from qdoctor.rules.packages_in_text import asker, blamed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case, Signal

Row: TypeAlias = dict[str, Any]

_KINDS = {"imported": "imports", "attribute": "members", "keyword": "keywords"}
_TABLE = "hub_names"
_OWNERS = ("on", "of2", "of3", "on2", "on3", "on4")
_LAUNCHED = "launched"
"""The group that holds an option of a kernel's launch; its owner is no function of triton's."""
_MISSED = (
    *("imported", "name_missing2", "name_missing3", "attribute", "attribute2", "keyword"),
    _LAUNCHED,
)
"""The groups of signatures that hold the owner, and what it lacks: names must differ."""
_GROUPS = {
    "name_missing2": "imported",
    "name_missing3": "imported",
    "attribute2": "attribute",
    _LAUNCHED: "keyword",
}
_LAUNCH = "kernel[grid]"
_UNCHANGED: Row = {"came": {}, "went": {}}


def row_of(case: Case, rule: str, signal: Signal) -> Row | None:
    """Return what the table says of the name that a text misses, if it is of ``rule``."""
    for package, kind, owner, name in _asked(case, signal):
        row = _made(case, package, kind, (owner, name))
        if row is not None:
            if worded_since(row, signal) and "removed" in row:
                row["rule"] = case.matrix.table(_TABLE)["rules"][package][kind]["went"]
            return {**row, **caller_of(case, signal, package)} if row["rule"] == rule else None
    return None


def knows(case: Case, signal: Signal) -> bool:
    """Say whether the table knows the name that a text misses, whosever rule it is."""
    return any(
        _made(case, package, kind, (owner, name)) is not None
        for package, kind, owner, name in _asked(case, signal)
    )


def importable(case: Case, module: str) -> Iterator[str]:
    """Yield the names that a module of a known package has, or had, to import."""
    package = module.partition(".")[0]
    row = case.matrix.table(_TABLE)["rows"].get(package)
    if row is None:
        return
    known = row["imports"].get(module, _UNCHANGED)
    for names in (*known["came"].values(), *known["went"].values()):
        yield from names
    yield from row.get("always", {}).get(module, ())


def missed(signal: Signal) -> tuple[str, str]:
    """Return the owner that a text names (a module, class or function), and what it lacks."""
    owner = next((signal.said[one] for one in _OWNERS if one in signal.said), "")
    owner = _LAUNCH if _LAUNCHED in signal.said else owner
    return owner, next((signal.said[one] for one in _MISSED if one in signal.said), "")


def worded_since(row: Row, signal: Signal) -> bool:
    """Say whether only releases word a text so that are not older than the name it misses."""
    spec = signal.printed_by.get(row["package"])
    before = row.get("before")
    return bool(spec and before and not SpecifierSet(spec).contains(before, prereleases=True))


def came_with(case: Case, package: str, kind: str, owner: str, name: str) -> str | None:
    """Return the first release of a package, of those looked at, that has a name; None: unknown."""
    known = case.matrix.table(_TABLE)["rows"][package][kind].get(owner, {"came": {}})
    return next((release for release, names in known["came"].items() if name in names), None)


def first_with(case: Case, package: str, name: str) -> str | None:
    """Return the first release of a package in which any module has a name; None: unknown."""
    modules = case.matrix.table(_TABLE)["rows"].get(package, {"imports": {}})["imports"]
    found = [came_with(case, package, "imports", one, name) for one in modules]
    return min((one for one in found if one), key=Version, default=None)


def mostly_older(case: Case, row: Row) -> bool:
    """Say whether more releases are from before a name than from after it: an unknown one is old.

    False where that is not known.
    """
    before, after = _around(case, row)
    return before > after


def mostly_newer(case: Case, row: Row) -> bool:
    """Say whether more releases are from after a name than from before it; False for unknown."""
    before, after = _around(case, row)
    return after > before


def _around(case: Case, row: Row) -> tuple[int, int]:
    """Count the releases from before a name, and those from after it; (0, 0) for not known."""
    known = case.matrix.table(_TABLE)["rows"].get(row.get("module", row["package"]))
    came, went = parsed(row.get("since")), parsed(row.get("removed"))
    if known is None or came is None:
        return 0, 0
    releases = [Version(one) for one in known["releases"]]
    after = [one for one in releases if went is not None and one >= went]
    return len([one for one in releases if one < came]), len(after)


def is_of_family(case: Case, owner: str) -> bool:
    """Say whether a class is named after one of the packages' base classes."""
    families = case.matrix.table(_TABLE)["families"]
    return any(re.fullmatch(row["pattern"], owner) for row in families)


def _asked(case: Case, signal: Signal) -> Iterator[tuple[str, str, str, str]]:
    """Yield (package, kind, owner, name) of each thing that a text may miss."""
    table = case.matrix.table(_TABLE)
    owner, name = missed(signal)
    groups = {_GROUPS.get(one, one) for one in _MISSED if one in signal.said}
    for group, kind in _KINDS.items():
        if group not in groups or not (owner or kind == "imports"):
            continue
        if kind == "imports":
            package = owner.partition(".")[0]
            own = [(package, kind, owner, name)] if package in table["rows"] else []
            yield from own if owner else _modules_with(case, name)
            continue
        yield from ((package, kind, owner, name) for package in _likelier_first(case))
        if kind == "members":
            yield from (
                (row["package"], kind, row["class"], name)
                for row in table["families"]
                if re.fullmatch(row["pattern"], owner)
            )


def _modules_with(case: Case, name: str) -> list[tuple[str, str, str, str]]:
    """Return where a name may be imported from: of a package whose own classes are known.

    Python names no module before 3.7, and people leave it out. Of a package of which only what
    others import is known, it may as well be somebody else's name that it passes on, unless it is
    named after the package.
    """
    found = [
        (package, "imports", module, name)
        for package in _likelier_first(case)
        if case.matrix.table(_TABLE)["rows"][package]["members"] or name.startswith(package)
        for module, known in case.matrix.table(_TABLE)["rows"][package]["imports"].items()
        if any(name in names for names in (*known["came"].values(), *known["went"].values()))
    ]
    own = [one for one in found if one[0] == found[0][0]]
    return sorted(own, key=lambda one: len(one[2]))[:1]


def _likelier_first(case: Case) -> list[str]:
    """Order packages that may own a class: those installed, then those with most classes."""
    rows = case.matrix.table(_TABLE)["rows"]
    return sorted(
        rows,
        key=lambda one: (
            case.machine.package(rows[one].get("distribution", one)).value is None,
            -len(rows[one]["members"]),
        ),
    )


def _made(case: Case, package: str, kind: str, of_owner: tuple[str, str]) -> Row | None:
    """Make a row as those of ``api_names`` are; None where nothing is known of the name.

    What came along with its owner and went is gone where a text names the owner, which is there.
    """
    owner, name = of_owner
    table = case.matrix.table(_TABLE)
    known = table["rows"][package][kind].get(owner, _UNCHANGED)
    came = next((one for one, names in known["came"].items() if name in names), None)
    went = next((one for one, names in known["went"].items() if name in names), None)
    always = name in table["rows"][package].get("always", {}).get(owner, ())
    if came is None and went is None and not (always and kind == "imports"):
        return None
    releases: list[str] = table["rows"][package]["releases"]
    row = {"name": name, "kind": kind, "package": package, "strength": table["strength"]}
    if (distribution := table["rows"][package].get("distribution")) is not None:
        row |= {"package": distribution, "module": package}
    row["source"] = table["sources"][table["source"]]
    if came is not None and (went is None or came != _came(table["rows"][package], owner)):
        row |= {"since": came, "before": releases[releases.index(came) - 1]}
    if came is None and went is None:
        row["since"] = releases[0]
    if went is not None:
        row |= {"removed": went, "last": releases[releases.index(went) - 1]}
    if owner == _LAUNCH:
        row["instead"] = f"leave {name} out, where it is only about speed"
    row["rule"] = _rule(case, package, kind, row)
    return row


def _came(names: Row, owner: str) -> str | None:
    """Return the first release, of those looked at, that has a class; None for not known."""
    named = owner.partition(".")[0]
    releases = [
        release
        for module in names["imports"].values()
        for release, came in module["came"].items()
        if named in came
    ]
    return min(releases, key=Version, default=None)


def _rule(case: Case, package: str, kind: str, row: Row) -> str:
    """Name the rule: it depends on the package, and on whether the name is new or gone."""
    rules: dict[str, str] = case.matrix.table(_TABLE)["rules"][package][kind]
    own, came = parsed(case.machine.package(row["package"]).value), parsed(row.get("since"))
    too_old = came is not None and (own is None or own < came)
    return rules["came" if too_old else "went"]


def caller_of(case: Case, signal: Signal, package: str) -> Row:
    """Name the package that asks, where the traceback shows one other than the asked one."""
    caller = blamed(case, signal, package) if asker(signal, package) else None
    return {"caller": caller} if caller and caller != package.replace("_", "-") else {}
