"""How often the diagnosis is right on reported machines: cause, fix, silence on healthy ones.

Usage: ``python benchmarks/cases.py FILE.jsonl [--misses KIND] [--only NAME] [--json] [--record]``.
tests/cases/README.md gives the format of the file and the rule by which it is scored.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import qdoctor
from qdoctor.matrix import shipped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qdoctor.matrix import Matrix
    from qdoctor.model import Finding, Fix

INSTALLING = {"install", "install-build", "install-matching", "install-system", "reinstall"}
BACKENDS = {"nf4": "bnb-nf4", "fp4": "bnb-fp4", "int8": "bnb-int8", "Linear8bitLt": "bnb-int8"}
_RELEASE = re.compile(r"(?<= )\d[\d.]*\s*$")
"""A version after a name: as words may write one, where a specifier could stand."""
_IN_BRACKETS = re.compile(r"\s*\([^)]*\)")
_HEADERS = re.compile(r"python3\.\d+-dev")
_CLAUSE = re.compile(r"(?:===|==|~=|!=|<=|>=|<|>)\s*[0-9][A-Za-z0-9.!+*]*")


class Wanted(msgspec.Struct, frozen=True):
    """An accepted fix; what only explains it to people (``what``, ``why`` ...) is not compared."""

    action: str
    package: str | None = None
    spec: str | None = None
    backend: str | None = None
    name: str | None = None


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is accepted, best first."""

    causes: list[str]
    healthy_env: bool
    fixes: list[Wanted]


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One reported machine."""

    id: str
    url: str
    topic: str
    facts: dict[str, Any]
    error: str | None
    expect: Expected
    scorable: bool
    confidence: str
    note: str | None = None


class Score(msgspec.Struct, frozen=True):
    """How one case was answered.

    ``fix`` is None where no fix is accepted, so none is judged; ``alarms`` are the rules that
    accuse a healthy environment.
    """

    case: Case
    cause: bool
    top3: bool
    fix: bool | None
    got: list[str]
    offered: dict[str, str] | None
    alarms: list[str]


def read(path: Path) -> list[Case]:
    """Read a file of cases, one JSON object a line. Raises msgspec.ValidationError."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [msgspec.json.decode(line, type=Case) for line in lines if line.strip()]


def score(case: Case, matrix: Matrix) -> Score:
    """Diagnose the machine of a case and hold the answer against what is accepted.

    ``matrix`` tells which versions were released; the diagnosis itself uses the shipped one.
    """
    findings = qdoctor.diagnose(case.facts, case.error).findings
    answers = answering(findings, case.error)
    accepted = set(case.expect.causes)
    rules = [one.rule for one in answers]
    alarms = accusing(findings, accepted) if case.expect.healthy_env else []
    right = not alarms if case.expect.healthy_env else bool(accepted & set(rules[:1]))
    fix = next(iter(answers[0].fixes), None) if answers else None
    return Score(
        case=case,
        cause=right,
        top3=right or bool(accepted & set(rules[:3])),
        fix=_fixes(fix, case.expect.fixes, matrix),
        got=rules,
        offered=None if fix is None else _shown(fix),
        alarms=alarms,
    )


def _fixes(offered: Fix | None, accepted: list[Wanted], matrix: Matrix) -> bool | None:
    if not accepted:
        return None
    return offered is not None and any(agrees(offered, one, matrix) for one in accepted)


def answering(findings: list[Finding], error: str | None) -> list[Finding]:
    """Return the findings that answer: those that explain the text; else the severe, else all."""
    if error is not None:
        return [one for one in findings if one.explains_error]
    severe = [one for one in findings if one.severity in {"error", "warning"}]
    return severe or [one for one in findings if one.severity == "note"]


def accusing(findings: list[Finding], accepted: set[str]) -> list[str]:
    """Return the rules that say something is wrong and are not accepted."""
    loud = [one for one in findings if one.severity != "note" or one.explains_error]
    return [one.rule for one in loud if one.rule not in accepted]


def agrees(offered: Fix, wanted: Wanted, matrix: Matrix) -> bool:
    """Whether an offered fix is the accepted one, in all that the accepted one gives."""
    installs = {offered.action, wanted.action} <= INSTALLING
    if offered.action != wanted.action and not installs:
        return False
    if wanted.package and not _is_package(offered.package, wanted.package):
        return False
    if wanted.backend and offered.backend != BACKENDS.get(wanted.backend, wanted.backend):
        return False
    if wanted.name and offered.name != wanted.name:
        return False
    return wanted.spec is None or shares_a_release(
        offered.spec, wanted.spec, matrix.versions(wanted.package) if wanted.package else ()
    )


def shares_a_release(offered: str | None, wanted: str, released: Iterable[Version]) -> bool:
    """Whether both specifier sets allow some released version.

    Without known releases, and below the oldest known one, the versions that the sets name stand
    for them, with their next neighbours. Words around the clauses of ``wanted`` are passed over;
    words alone are met by any specifier.
    """
    if offered is None:
        return False
    clauses = _CLAUSE.findall(wanted)
    if not clauses:
        return True
    sets = SpecifierSet(offered), SpecifierSet(",".join(clauses))
    known = list(released)
    named = [near for one in sets for clause in one for near in _near(clause.version)]
    older = [one for one in named if not known or one < known[0]]
    return any(all(one.contains(v, prereleases=True) for one in sets) for v in [*known, *older])


def _near(named: str) -> Iterator[Version]:
    """A version, one just above and one just below it."""
    version = Version(named.removesuffix(".*"))
    yield version
    yield Version(f"{version.base_version}.0.1")
    parts = list(version.release)
    while parts and parts[-1] == 0:
        parts.pop()
    if parts:
        yield Version(".".join(map(str, [*parts[:-1], parts[-1] - 1, 999])))


def _is_package(offered: str | None, wanted: str) -> bool:
    """Whether a package is the wanted one; the headers of one Python are those of Debian's default.

    ``python3-dev`` depends on ``python3.X-dev``, never the other way round. Names with `` / ``
    between them are alternatives; what stands in brackets explains. Words are joined by dashes,
    and a version after them is the specifier's business.
    """
    if offered is None:
        return False
    own = _HEADERS.fullmatch(offered) and wanted == "python3-dev"
    names = _IN_BRACKETS.sub("", wanted).split(" / ")
    return bool(own) or _joined(offered) in {_joined(one) for one in names}


def _joined(name: str) -> str:
    """Write a name as a package index does: ``CUDA toolkit 11.7`` is ``cuda-toolkit``."""
    return canonicalize_name("-".join(_RELEASE.sub("", name).split()))


def _shown(fix: Fix) -> dict[str, str]:
    keys = ("action", "package", "spec", "backend", "name", "value", "index")
    return {key: value for key in keys if (value := getattr(fix, key)) is not None}


def summary(scores: list[Score]) -> dict[str, int]:
    """Count what is right."""
    return {
        "scorable": len(scores),
        "cause_first": sum(one.cause for one in scores),
        "cause_top3": sum(one.top3 for one in scores),
        "fix": sum(one.fix is True for one in scores),
        "fix_judged": sum(one.fix is not None for one in scores),
        "healthy": sum(one.case.expect.healthy_env for one in scores),
        "false_alarms": sum(bool(one.alarms) for one in scores),
    }


def _text(name: str, scores: list[Score], misses: str, seconds: float) -> Iterator[str]:
    counts = summary(scores)
    yield f"{name}: {counts['scorable']} scorable cases, {seconds:.1f} s"
    for label, key, of in (
        ("cause, first", "cause_first", "scorable"),
        ("cause, top 3", "cause_top3", "scorable"),
        ("fix", "fix", "fix_judged"),
    ):
        share = counts[key] / max(counts[of], 1)
        yield f"  {label:13} {counts[key]:4}/{counts[of]}  {share:.3f}"
    yield f"  false alarms  {counts['false_alarms']:4}/{counts['healthy']} healthy environments"
    for one in scores:
        missed = [kind for kind in ("cause", "fix") if getattr(one, kind) is False]
        if missed and (misses == "all" or misses in missed):
            yield from _miss(one, missed)


def _miss(one: Score, missed: list[str]) -> Iterator[str]:
    wanted = one.case.expect
    yield f"\n{one.case.id}: wrong {' and '.join(missed)}  {one.case.url}"
    yield f"  wanted {' | '.join(wanted.causes)}; got {', '.join(one.got) or 'nothing'}"
    if one.alarms:
        yield f"  false alarm on a healthy environment: {', '.join(one.alarms)}"
    if "fix" in missed:
        accepted = [_plain(fix) for fix in wanted.fixes]
        yield f"  wanted {' | '.join(accepted)}; offered {_spaced(one.offered) or 'nothing'}"


def _plain(fix: Wanted) -> str:
    return _spaced({key: value for key, value in msgspec.structs.asdict(fix).items() if value})


def _spaced(fix: dict[str, str] | None) -> str:
    return " ".join((fix or {}).values())


def _as_json(scores: list[Score]) -> str:
    rows = [
        {
            "id": one.case.id,
            "url": one.case.url,
            "wanted": one.case.expect.causes,
            "got": one.got,
            "cause": one.cause,
            "top3": one.top3,
            "fix": one.fix,
            "offered": one.offered,
            "alarms": one.alarms,
        }
        for one in scores
    ]
    return json.dumps({"summary": summary(scores), "cases": rows}, indent=1, ensure_ascii=False)


def record(path: Path, scores: list[Score]) -> None:
    """Write the counts of a file into recorded.json beside it: what a test holds the next to."""
    target = path.parent / "recorded.json"
    known = json.loads(target.read_text(encoding="utf-8")) if target.exists() else {}
    known[path.name] = summary(scores)
    target.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, help="cases, one JSON object a line")
    parser.add_argument("--json", action="store_true", help="print every answer as JSON")
    parser.add_argument(
        "--misses", choices=("all", "cause", "fix", "none"), default="all", help="which to list"
    )
    parser.add_argument("--only", metavar="NAME", help="cases whose id or causes contain NAME")
    parser.add_argument("--record", action="store_true", help="renew recorded.json beside FILE")
    return parser.parse_args()


def main() -> None:
    """Score a file and print the result."""
    asked = _parsed()
    cases = [one for one in read(asked.file) if one.scorable]
    if asked.only:
        cases = [one for one in cases if asked.only in " ".join([one.id, *one.expect.causes])]
    start = time.perf_counter()
    matrix = shipped()
    scores = [score(one, matrix) for one in cases]
    seconds = time.perf_counter() - start
    if asked.record and not asked.only:
        record(asked.file, scores)
    lines = (
        [_as_json(scores)] if asked.json else _text(asked.file.name, scores, asked.misses, seconds)
    )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
