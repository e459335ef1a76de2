"""A package that the probes need cannot be imported here.

## What it finds
Probes that ended while they imported torch, triton, bitsandbytes or torchao: with the error that
the import raised or the signal it died of, once, whatever number of probes it ended.

## Why it hurts
Nothing that is built on that package runs.

## How we know
The probes import the package as any program does, in processes of their own.

## Fix
Install the module that is missing, where the package itself is whole; install the same release of
the package anew where a part of its own is missing or cut off (SIGBUS: a library is shorter than
its own headers say). Any other error text goes to `qdoctor explain`.

## When to ignore
Never, if the package is used.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qdoctor.answered import ended_importing
from qdoctor.model import Because, Finding
from qdoctor.rules.affected import resting_on
from qdoctor.rules.case import rule
from qdoctor.rules.observed import went_wrong
from qdoctor.rules.remedies import by_hand, listed, pip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Fix, Observation
    from qdoctor.rules.case import Case

NAME = "package-import-fails"
BASELINE = "half"
_EXAMINED = ("torch", "triton", "bitsandbytes", "torchao")
_CRASHED = re.compile(r" while importing (\w+)")
_UNOPENED = re.compile(r"(lib[\w+-]+?)[.\d-]*\.so[\w.]*: cannot open shared object file")
_OF_OTHERS = ("cuda_libraries", "system_libraries")
"""Tables of the libraries that no Python package's own files are."""
_CUT_OFF = "sigbus"
_MISSED = re.compile(r"No module named '([\w.]+)'|cannot import name '\w+' from '([\w.]+)'")


def find(case: Case) -> Iterator[Finding]:
    """Report each error that imports ended in, where no known fact foretold it."""
    ended: dict[str, list[Observation]] = {}
    for seen in case.observations:
        if ended_importing(seen) and went_wrong(seen) and seen.expected != "fail":
            words = seen.code if seen.outcome == "crashed" else seen.detail
            ended.setdefault(words or "", []).append(seen)
    yield from (_finding(case, seen) for seen in ended.values())


def _finding(case: Case, seen: list[Observation]) -> Finding:
    text = seen[0].detail or ""
    package = next(filter(None, map(_raised_in, seen)), None)
    lost = list(dict.fromkeys(name for one in seen for name in resting_on(case, one)))
    sure = any(one.expected == "pass" for one in seen) or BASELINE in lost
    probes = list(dict.fromkeys(one.probe for one in seen))
    # Without devices: what is the same on every GPU is told once.
    told = f"importing it ended so in {listed(probes)}: {text}"
    return Finding(
        rule=NAME,
        severity="error" if sure else "warning",
        title=f"{package or 'what a probe needs'} cannot be imported: {text}",
        because=[Because(told, f"probe {probes[0]}", "observed")],
        fixes=[_fix(case, package, seen[0])],
        affects=[*probes, *lost],
    )


def _raised_in(seen: Observation) -> str | None:
    """Name the examined package whose own code ended it: the last frame that has one tells."""
    crashed = _CRASHED.search(seen.detail or "")
    if crashed and crashed[1] in _EXAMINED:
        return crashed[1]
    frames = [line.replace("\\", "/") for line in seen.evidence if ".py:" in line]
    owners = [name for line in frames for name in _EXAMINED if f"/{name}/" in line]
    return owners[-1] if owners else None


def _fix(case: Case, package: str | None, seen: Observation) -> Fix:
    text = seen.detail or ""
    version = case.machine.package(package).value if package else None
    if package and version and (lacking := _lacking(case, package, seen)):
        spec = "" if version == "?" else f"=={version}"
        return pip("reinstall", package, spec, lacking, verify=seen.probe)
    module = _module(text).partition(".")[0]
    row = case.matrix.table("python_modules")["rows"].get(module)
    if row is not None and "No module named" in text:
        why = f"it has the module {module}"
        return pip("install", row["package"], row["spec"], why, verify=seen.probe)
    why = "`qdoctor explain` with this error text names the causes that are known of it"
    return by_hand("run", why, verify=seen.probe)


def _lacking(case: Case, package: str, seen: Observation) -> str:
    """Say what of the package's own files is missing or cut off; "" where nothing says so."""
    text = seen.detail or ""
    module, library = _module(text), _UNOPENED.search(text)
    if module.partition(".")[0] == package:
        return f"its own code misses a part of it: {module}"
    if seen.code == _CUT_OFF:
        return "one of its libraries is cut off: shorter than its own headers say"
    if library and not any(library[1] in case.matrix.table(one)["rows"] for one in _OF_OTHERS):
        return f"{library[1]} is missing, which no other package and no system brings"
    return ""


def _module(text: str) -> str:
    found = _MISSED.search(text)
    return (found[1] or found[2]) if found else ""


RULE = rule(
    NAME,
    __doc__,
    find,
    symptom_of=(
        *("package-files-missing", "native-library-damaged", "system-library-missing"),
        *("cuda-libs-not-found", "glibc-too-old", "python-module-missing"),
    ),
)
