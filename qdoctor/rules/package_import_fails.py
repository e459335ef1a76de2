"""A package that the probes need cannot be imported here.

## What it finds
Probes that ended while they imported torch, triton, bitsandbytes or torchao: with the error that
the import raised, once, whatever number of probes it ended.

## Why it hurts
Nothing that is built on that package runs.

## How we know
The probes import the package as any program does, in processes of their own.

## Fix
Install the module that is missing, where the package itself is whole; install the same release of
the package anew where a part of its own is missing. Any other error text goes to `qdoctor explain`.

## When to ignore
Never, if the package is used.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

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
CODE = "import-failed"
"""How a kernel calls an import that raised."""
BASELINE = "half"
_EXAMINED = ("torch", "triton", "bitsandbytes", "torchao")
_MISSED = re.compile(r"No module named '([\w.]+)'|cannot import name '\w+' from '([\w.]+)'")


def find(case: Case) -> Iterator[Finding]:
    """Report each error that imports ended in, where no known fact foretold it."""
    ended: dict[str, list[Observation]] = {}
    for seen in case.observations:
        if seen.code == CODE and went_wrong(seen) and seen.expected != "fail":
            ended.setdefault(seen.detail or "", []).append(seen)
    yield from (_finding(case, text, seen) for text, seen in ended.items())


def _finding(case: Case, text: str, seen: list[Observation]) -> Finding:
    package = _raised_in(seen[0])
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
        fixes=[_fix(case, package, text, verify=seen[0].probe)],
        affects=[*probes, *lost],
    )


def _raised_in(seen: Observation) -> str | None:
    """Name the examined package whose own code raised the error, by the last frame that has one."""
    frames = [line for line in seen.evidence if ".py:" in line]
    owners = [
        name for line in frames for name in _EXAMINED if f"/{name}/" in line.replace("\\", "/")
    ]
    return owners[-1] if owners else None


def _fix(case: Case, package: str | None, text: str, *, verify: str) -> Fix:
    found = _MISSED.search(text)
    module = (found[1] or found[2]) if found else ""
    top = module.partition(".")[0]
    version = case.machine.package(package).value if package else None
    if package and version and top == package:
        why = f"its own code misses a part of it: {module}"
        spec = "" if version == "?" else f"=={version}"
        return pip("reinstall", package, spec, why, verify=verify)
    row = case.matrix.table("python_modules")["rows"].get(top)
    if found and found[1] and row is not None:
        return pip(
            "install", row["package"], row["spec"], f"it has the module {top}", verify=verify
        )
    why = "`qdoctor explain` with this error text names the causes that are known of it"
    return by_hand("run", why, verify=verify)


RULE = rule(
    NAME,
    __doc__,
    find,
    symptom_of=(
        *("package-files-missing", "native-library-damaged", "system-library-missing"),
        *("cuda-libs-not-found", "glibc-too-old", "python-module-missing"),
    ),
)
