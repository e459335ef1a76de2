"""This bitsandbytes has no library for Windows.

## What it finds
A bitsandbytes release whose wheel holds no DLL for CUDA, on Windows.

## Why it hurts
It cannot load its native library: quantized layers and optimizers fail.

## How we know
The libraries in each released wheel are listed by platform.

## Fix
Install a release that has Windows libraries.

## When to ignore
If bitsandbytes is not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.implied_text import wordings
from qdoctor.layers import bnb_has_cuda_binary, bnb_ships_here
from qdoctor.model import Because, Finding
from qdoctor.released import called, release
from qdoctor.rules.bnb_releases import BNB, before_all_known, serving
from qdoctor.rules.case import quoted, rule
from qdoctor.rules.of_layer import of_layers
from qdoctor.rules.of_text import of_texts
from qdoctor.rules.remedies import pip
from qdoctor.rules.what_if import with_package

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Fix
    from qdoctor.rules.case import Case

NAME = "bnb-windows-unsupported"
_WHY = "it has libraries for Windows"
_CUDA = {"cuda", "cuda2"}
"""The groups of a text that names a DLL, with its CUDA version."""


def _title(case: Case) -> str:
    bnb, system = case.machine.bitsandbytes.value, case.machine.os.value
    return f"{called('bitsandbytes', bnb)} ships no CUDA library for {system or 'this system'}"


def _fixes(case: Case) -> list[Fix]:
    """Offer a release for Windows: where torch has no CUDA either, that is the second fix."""
    return serving(case, [bnb_ships_here], _WHY, verify=NAME) or [
        pip("upgrade", BNB, since, _WHY, verify=NAME) for since in [_since(case)] if since
    ]


def find(case: Case) -> Iterator[Finding]:
    """Report a release without libraries for Windows; by its text where the release is unknown."""
    found = list(_OF_LAYERS.find(case))
    sure = [one for one in found if one.undecided is None]
    yield from (
        sure or _worded(case) or _of_nobody(case) or _patched(case) or _of_old(case) or found
    )


def _patched(case: Case) -> list[Finding]:
    """Report files that were copied over for Windows; elsewhere nobody had a reason to."""
    return [] if case.machine.os.value not in {None, "windows"} else list(_OF_TEXTS.find(case))


def _of_nobody(case: Case) -> list[Finding]:
    """Report a text about a DLL that no release has: somebody else's copy was loaded."""
    told = [one for one in case.signals_of(NAME) if _CUDA & one.said.keys()]
    builds = {one.said[key] for one in told for key in _CUDA & one.said.keys()}
    named = {f"libbitsandbytes_cuda{one}.dll" for one in builds}
    if case.machine.bitsandbytes.value or not named or named & _shipped(case):
        return []
    text = f"no release holds {', '.join(sorted(named))}"
    read = Because(text, "the libraries in the released wheels", "mined")
    return [
        Finding(
            rule=NAME,
            severity="warning",
            title="this bitsandbytes was put together for Windows by somebody else",
            because=[read, *map(quoted, told)],
            fixes=[pip("upgrade", BNB, _since(case), _WHY, verify=NAME)],
        )
    ]


def _shipped(case: Case) -> set[str]:
    """Name the libraries of all releases."""
    known = [release(case.matrix, BNB, str(one)) for one in case.matrix.versions(BNB)]
    return {one["file"] for found in known if found for one in found.facts.get("native", ())}


def _of_old(case: Case) -> list[Finding]:
    """Report a release from before all that are known, of which the first ones have nothing."""
    if case.machine.os.value != "windows" or not before_all_known(case):
        return []
    since = _since(case)
    text = f"bitsandbytes has libraries for Windows {since} only"
    return [
        Finding(
            rule=NAME,
            severity="warning",
            title=_title(case),
            because=[Because(text, "the libraries in the released wheels", "mined")],
            fixes=[pip("upgrade", BNB, since, _WHY, verify=NAME)],
        )
    ]


def _worded(case: Case) -> list[Finding]:
    """Decide a text on Windows whose wording is of releases that are for Linux, but for one."""
    texts = [one for one in case.signals_of(NAME) if BNB in one.printed_by]
    if case.machine.os.value != "windows" or case.machine.bitsandbytes.value or not texts:
        return []
    because = [one.because for one in wordings(texts)]
    return [
        Finding(
            rule=NAME,
            severity="warning",
            title="this bitsandbytes is of before its releases for Windows",
            because=[*because, *map(quoted, texts)],
            fixes=_fixes(case),
        )
    ]


def _since(case: Case) -> str:
    """Name the releases from the first one on that has a library for Windows."""
    for version in case.matrix.versions(BNB):
        machine = with_package(case.machine, case.matrix, BNB, str(version))
        if bnb_ships_here(machine, case.matrix).value == "yes":
            return f">={version}"
    return ""


_OF_TEXTS = of_texts(NAME, __doc__, severity="warning")
_OF_LAYERS = of_layers(
    NAME, __doc__, (bnb_has_cuda_binary,), severity="warning", title=_title, fixes=_fixes
)

RULE = rule(NAME, __doc__, find)
