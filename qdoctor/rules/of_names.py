"""Makes a rule of names that a package has in some releases only: ``matrix/tables/api_names.json``.

An error text names a keyword, an attribute or a name to import that is not there. The table says in
which releases it is; the installed release, or else what the text gives away of it, decides whether
that one is too old or too new.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from qdoctor.model import Because, Finding, Fix
from qdoctor.released import fact, parsed
from qdoctor.rules import hub_names
from qdoctor.rules.case import Rule, quoted, rule
from qdoctor.rules.packages_in_text import Importer, installed_importer
from qdoctor.rules.remedies import pip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Severity
    from qdoctor.rules.case import Case, Signal

Row: TypeAlias = dict[str, Any]
State: TypeAlias = Literal["too-old", "too-new", "never", "present", "unknown"]
"""``present``: the installed release has it, so another copy runs (stale-package-shadowing)."""

_KINDS = ("keyword", "attribute", "imported")
"""The groups of signatures that hold the name."""
_IMPORTS = ("import", "imports")
_OF_PAIRS = "package-too-old"
"""The rule that says which of two stated packages is too old for the other."""
_OWN_RULE = {"accelerate", "transformers"}
"""Two packages that have a rule of their own for this: accelerate-transformers-mismatch."""
_UNNAMED = "__init__"
_OF_INSTANCES = "members"
_TELLING: dict[State, str] = {
    "too-old": "{package} {version} does not have {name} yet",
    "too-new": "{package} {version} does not have {name} any more",
    "never": "no release of {package} has {name}",
    "present": "{package} {version} has {name}: another copy of it runs",
    "unknown": "this release of {package} does not have {name}",
}


def of_names(name: str, doc: str | None, *, severity: Severity) -> Rule:
    """Make a rule that says of a missing name which releases have it, and what to write instead."""
    return rule(name, doc, lambda case: missing(case, name, severity))


def missing(case: Case, name: str, severity: Severity) -> Iterator[Finding]:
    """Yield a finding for each text of the rule whose name the table knows."""
    for signal in case.signals_of(name):
        row = _row(case, name, signal)
        if row is not None and _state(case, row, signal) != "present":
            yield _finding(case, name, severity, signal, row)


def hidden(case: Case, signal: Signal) -> tuple[str, Because] | None:
    """Return the package whose installed release has what a text misses, and how that is known."""
    for name in signal.rules:
        row = _row(case, name, signal)
        if row is None or row["kind"] == _OF_INSTANCES or _is_of_what_is_inside(row, signal):
            continue  # what an instance has depends on how it was made
        if _state(case, row, signal) == "present":
            return row["package"], _history(case, row)
    return None


def _is_of_what_is_inside(row: Row, signal: Signal) -> bool:
    """Say whether a text names another class than those that have an attribute: one wrapped in it.

    A wrapper hands on what it lacks, and a model that is not wrapped says the same.
    """
    owners = row.get("owners")
    return owners is not None and re.fullmatch(owners, signal.said.get("on", "")) is None


def is_known(case: Case, signal: Signal) -> bool:
    """Say whether a table knows what a text misses, whosever rule it is."""
    return any(_row(case, name, signal) is not None for name in signal.rules)


def is_of_base_class(case: Case, signal: Signal) -> bool:
    """Say whether the installed release has what a text misses, in the class that others derive."""
    rows = [_row(case, name, signal) for name in signal.rules]
    of_class = [row for row in rows if row is not None and row["kind"] == _OF_INSTANCES]
    return any(_state(case, row, signal) == "present" for row in of_class)


def between_known(case: Case, name: str, severity: Severity) -> Iterator[Finding]:
    """Yield a finding for each name that one stated release lacks and another one imports.

    Then the releases say which of the two packages is too old for the other.
    """
    for signal in case.signals_of(name):
        if (pair := _pair(case, signal)) is not None:
            yield _of_pair(case, name, severity, signal, pair)


def _pair(case: Case, signal: Signal) -> tuple[Row, State, Importer] | None:
    """Return what is known of a name, how its package stands to it, and who imports it."""
    importer = installed_importer(case, ".".join(hub_names.missed(signal)), signal)
    if importer is None or _OF_PAIRS not in signal.rules:
        return None
    for row in (_known(case, name, signal) for name in signal.rules):
        if (
            row is not None
            and row["kind"] in _IMPORTS
            and case.machine.package(row["package"]).value
            and {row["package"], importer.package} != _OWN_RULE
        ):
            state = _state(case, row, signal)
            mended = state == "too-old" or (state == "too-new" and importer.without is not None)
            return (row, state, importer) if mended else None
    return None


def _of_pair(
    case: Case, name: str, severity: Severity, signal: Signal, pair: tuple[Row, State, Importer]
) -> Finding:
    row, state, importer = pair
    known, asks = case.machine.package(row["package"]), importer.package
    title = _TELLING[state].format(package=row["package"], version=known.value, name=row["name"])
    read = [known.because] if known.because else []
    return Finding(
        rule=name,
        severity=severity,
        title=f"{title}, which {asks} {importer.version} imports",
        because=[quoted(signal), _history(case, row), importer.because, *read],
        fixes=list(_of_pair_fixes(name, row, state, importer)),
    )


def _of_pair_fixes(name: str, row: Row, state: State, importer: Importer) -> Iterator[Fix]:
    """Offer to move the older of the two packages, then the other."""
    asks, old = importer.package, f"{importer.version} imports {row['name']}"
    if state == "too-old":
        why = f"{asks} {old}"
        yield pip("upgrade", row["package"], f">={row.get('since')}", why, verify=name)
        if importer.since is not None:
            why = "it does not import the name"
            yield pip("downgrade", asks, f"<{importer.since}", why, verify=name)
        return
    yield pip("upgrade", asks, f">={importer.without}", f"{old}, a newer one not", verify=name)
    yield pip("downgrade", row["package"], f"<{row['removed']}", "it has the name", verify=name)


def _row(case: Case, name: str, signal: Signal) -> Row | None:
    """Return what is known of a name that a text misses, if it is for rule ``name`` to say.

    Of two stated releases that do not go together ``between_known`` says more.
    """
    return None if _pair(case, signal) is not None else _known(case, name, signal)


def _known(case: Case, name: str, signal: Signal) -> Row | None:
    """Return the row of what a text misses, if it is of rule ``name``: first those by hand."""
    rows: list[Row] = case.matrix.table("api_names")["rows"]
    named = next((signal.said[kind] for kind in _KINDS if kind in signal.said), None)
    where = signal.said.get("on", _UNNAMED)
    known = [row for row in rows if row["name"] == named and _fits(row, signal, where)]
    if known:
        row = next((row for row in known if row["rule"] == name), None)
        if row is None or "caller" not in row:
            return row
        return {**row, **hub_names.caller_of(case, signal, row["package"])}
    return hub_names.row_of(case, name, signal)


def _fits(row: Row, signal: Signal, where: str) -> bool:
    kind = "imported" if row["kind"] == "import" else row["kind"]
    if kind not in signal.said:
        return False
    if kind == "imported":
        return bool(where.partition(".")[0] == row["package"])
    return "on" not in row or re.fullmatch(row["on"], where) is not None


def _finding(case: Case, name: str, severity: Severity, signal: Signal, row: Row) -> Finding:
    package = row["package"]
    known = case.machine.package(package)
    state = _state(case, row, signal)
    version = known.value or ""
    title = _TELLING[state].format(package=package, version=version, name=row["name"])
    read = [known.because] if known.because else []
    return Finding(
        rule=name,
        severity=severity,
        title=" ".join(title.split()),
        because=[quoted(signal), _history(case, row), *read],
        fixes=_likelier_first(case, row, state, signal, name),
        undecided=f"which release of {package} is installed" if state == "unknown" else None,
    )


def _likelier_first(case: Case, row: Row, state: State, signal: Signal, name: str) -> list[Fix]:
    """Offer an older release first where more are known from after a name than from before it.

    Only where nothing else says which release is there, and nothing can be written instead.
    """
    own = parsed(case.machine.package(row["package"]).value)
    fixes = list(_fixes(name, row, state, own, old_first=_may_be_old(case, row, signal)))
    open_ = state == "unknown" and "instead" not in row and "on" in signal.said
    if not open_ or not hub_names.mostly_newer(case, row):
        return fixes
    return sorted(fixes, key=lambda one: one.action != "downgrade")


def _state(case: Case, row: Row, signal: Signal) -> State:
    since, removed = parsed(row.get("since")), parsed(row.get("removed"))
    if since is None and removed is None:
        return "never"
    version = parsed(case.machine.package(row["package"]).value)
    if version is None:
        return _hinted(case, row, signal)
    if since is not None and version < since:
        return "too-old"
    last = parsed(row.get("last"))
    return "too-new" if last is not None and version > last else "present"


def _hinted(case: Case, row: Row, signal: Signal) -> State:
    """Decide by the table alone, else by what the text gives away of the release or of Python."""
    if "removed" not in row:
        return "too-old"
    if "since" not in row or _newer_than(case, row, signal) or hub_names.worded_since(row, signal):
        return "too-new"
    return "too-old" if _python_is_too_old(case, row, signal) else "unknown"


def _newer_than(case: Case, row: Row, signal: Signal) -> bool:
    """Say whether the class in the text is unknown to the last release without the name."""
    known = case.matrix.table("api_names")["architectures"]["known_by"].get(row.get("before"))
    found = re.match(r"(\w+?)(?:For[A-Z]\w+|LMHeadModel|Model)\.", signal.said.get("on", ""))
    return bool(known and found and found[1] not in known and not found[1].startswith("Auto"))


def _python_is_too_old(case: Case, row: Row, signal: Signal) -> bool:
    """Say whether a Python that does not name the class cannot run the release without the name."""
    if "keyword" not in signal.said or "." in signal.said.get("on", ""):
        return False
    python = case.matrix.table("api_names")["unqualified_in_python"]["up_to"]
    known = parsed(".".join((case.machine.python.value or python).split(".")[:2]))
    if known is not None and known > Version(python):
        return False  # then the text is from elsewhere
    needed = fact(case.matrix, row["package"], row["removed"], "requires_python").value
    return needed is not None and not SpecifierSet(needed).contains(python)


def _may_be_old(case: Case, row: Row, signal: Signal) -> bool:
    """Say whether too old is likelier, where the text does not even name what was called."""
    return "on" not in signal.said and hub_names.mostly_older(case, row)


def _history(case: Case, row: Row) -> Because:
    """Say in which of the releases that were looked at the name is."""
    spans = [
        f"it is in {row['package']} from {row['since']} on" if "since" in row else "",
        f"it is gone in {row['removed']} (still in {row['last']})" if "removed" in row else "",
    ]
    told = ", ".join(span for span in spans if span) or f"no release of {row['package']} has it"
    source = case.matrix.table("api_names")["sources"].get(row["source"], row["source"])
    return Because(f"{row['name']}: {told}", source, row["strength"])


def _fixes(
    name: str, row: Row, state: State, own: Version | None, *, old_first: bool
) -> Iterator[Fix]:
    """Offer what the state asks for; of an unknown one both ways, the likelier first.

    Where another package makes the call, its release and not the program's code is to change.
    """
    package, called = row["package"], "caller" in row
    instead = [Fix(action="change-code", why=row["instead"])] if "instead" in row else []
    newer = []
    if called and state == "too-new":
        yield _newer_caller(name, row)
    if "since" in row and state in {"too-old", "unknown"}:
        why = f"{row['name']} is there from this release on"
        below = f",<{row['removed']}" if "removed" in row else ""
        newer = [pip("upgrade", package, f">={row['since']}{below}", why, verify=name)]
    first = state == "too-old" or old_first or (called and state == "unknown")
    if called and state == "unknown":
        newer.append(_newer_caller(name, row))
    yield from [*newer, *instead] if first else [*instead, *newer]
    if "removed" in row and state in {"too-new", "unknown"}:
        why = f"{row['name']} is still there before this release"
        between = own is not None and own < Version(row["removed"])
        below = f"<={row['last']}" if "module" in row or between else f"<{row['removed']}"
        yield pip("downgrade", package, below, why, verify=name)


def _newer_caller(name: str, row: Row) -> Fix:
    why = f"a newer one no longer passes {row['name']}, where it makes the call"
    return pip("upgrade", row["caller"], "", why, verify=name)
