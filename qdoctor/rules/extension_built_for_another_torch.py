"""A compiled extension was built against another torch than the one that is installed.

## What it finds
A text in which an extension misses a symbol of torch, registers no operators, or says which torch
it was built for: flash-attn, xformers, torchvision, kernels of one's own.

## Why it hurts
C++ symbols of torch change with every release: the extension cannot be loaded, or leaves its
operators out.

## How we know
The text says so. The symbols name torch's own namespaces.

## Fix
Install the build of the extension that is made for this torch, or build it anew against it; or the
torch that it was built for.

## When to ignore
If the extension is not used: a program often only asks whether it is there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from msgspec import structs
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from qdoctor.model import Finding, Fix
from qdoctor.released import fact, parsed
from qdoctor.rules.amd import on_amd
from qdoctor.rules.case import quoted, rule
from qdoctor.rules.following import release_for
from qdoctor.rules.packages_in_text import asker
from qdoctor.rules.remedies import TORCH_BUILDS, by_hand, pip, torch_build
from qdoctor.rules.torch_builds import built_elsewhere
from qdoctor.rules.torch_index import moved_torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case, Signal

NAME = "extension-built-for-another-torch"
_TORCH = "torch"
_EXTENSIONS = ("extension", "extension2", "extension3")
_CUDA = "cu"
"""How the local part of a version begins that names a build for CUDA."""
_OF_AN_INDEX = re.compile(r"cu\d+|cpu")
_LABEL = re.compile(r"\+\w*?(?:torch|pt)(?P<major>\d)\.?(?P<minor>\d+)")
"""How wheels that lie outside an index name the torch that they were built for."""
_XFORMERS = {"xformers-beside-cpu-torch", "xformers-no-operator"}


def find(case: Case) -> Iterator[Finding]:
    """Report each text of an extension that does not go with this torch."""
    for signal in case.signals_of(NAME):
        built, torch = signal.said.get("built_for"), case.machine.torch
        if built and _is_this(built, signal.said.get("built_as"), torch.value or ""):
            continue  # built for this release: what is wrong is something else
        package, tag = _package(case, signal), signal.said.get("built_as")
        yield Finding(
            rule=NAME,
            severity="warning",
            title=_title(package, f"{built}+{tag}" if built and tag else built, torch.value),
            because=[quoted(signal), *([torch.because] if torch.because else [])],
            fixes=list(_fixes(case, package, built, tag)),
        )


def _is_this(built: str, tag: str | None, torch: str) -> bool:
    """Say whether an extension was built for this very torch, or for one of it without CUDA."""
    release, _, own = torch.partition("+")
    if parsed(built) != parsed(release):
        return False
    return not (tag and own.startswith(_CUDA) and tag != own)


def _title(package: str | None, built: str | None, torch: str | None) -> str:
    if package == _TORCH:
        return f"files of several releases of torch lie in one folder ({torch or 'which?'})"
    wanted = f"torch {built}" if built else "another torch"
    here = f", installed is {torch}" if torch else ""
    return f"{package or 'an extension'} was built for {wanted}{here}"


def _package(case: Case, signal: Signal) -> str | None:
    """Name the distribution of the extension: as the text does, else whose code loaded it."""
    if "package" in signal.said:
        return canonicalize_name(signal.said["package"])
    if signal.said.get("extension4"):
        return _TORCH
    told = [signal.said.get(one) for one in _EXTENSIONS]
    said = (*told, asker(signal, "torch"))
    rows: dict[str, dict[str, Any]] = case.matrix.table("python_modules")["rows"]
    known = [_whose(case, rows[module]) for module in said if module in rows]
    if not known and signal.signature in _XFORMERS:
        return "xformers"
    return known[0] if known else asker(signal, "torch") or _labelled(case)


def _labelled(case: Case) -> str | None:
    """Name the one package whose version says which torch it was built for (``+torch2.7``).

    Of several the one that names another torch than the installed one; None for not the only one.
    """
    torch = parsed((case.machine.torch.value or "").partition("+")[0])
    stated = case.machine.facts.packages or {}
    made = {name: found for name, one in stated.items() if (found := _LABEL.search(one or ""))}
    other = [
        name
        for name, label in made.items()
        if torch and (int(label["major"]), int(label["minor"])) != torch.release[:2]
    ]
    likely = other or list(made)
    return likely[0] if len(likely) == 1 else None


def _whose(case: Case, row: dict[str, Any]) -> str:
    """Name the distribution of a module: the one inside which it lies, where that is stated."""
    whole = (one for one in row.get("bundled", {}) if _is_inside(case, row, one))
    return next(whole, str(row["package"]))


def _is_inside(case: Case, row: dict[str, Any], package: str) -> bool:
    """Say whether the stated release of a package holds a module in its own wheel."""
    version = parsed(case.machine.package(package).value)
    return version is not None and version in SpecifierSet(row["bundled"][package])


def _holds_its_own(case: Case, package: str | None) -> bool:
    """Say whether a package's release has its extension inside: there is one wheel of it."""
    rows: dict[str, dict[str, Any]] = case.matrix.table("python_modules")["rows"]
    holding = [row for row in rows.values() if package in row.get("bundled", {})]
    return any(_is_inside(case, row, package or "") for row in holding)


def _without_wheel(case: Case, package: str | None) -> bool:
    """Say whether no wheel is known to fit: of whom is not told, or torch is nobody's release.

    A wheel is made for a torch of PyTorch's index, not for one that was built elsewhere.
    """
    return package is None or (package != _TORCH and built_elsewhere(case.machine.torch.value))


def _fixes(case: Case, package: str | None, built: str | None, tag: str | None) -> Iterator[Fix]:
    built_here = by_hand("rebuild", "built from source against this torch it fits", verify=NAME)
    build = structs.replace(built_here, package=package)
    if package and _holds_its_own(case, package):
        why = (
            "of each release there is one wheel, made for one torch: those of newer torch are newer"
        )
        yield from [pip("upgrade", package, "", why, verify=NAME), build]
        return
    anew = _anew(case, package)
    yield from [build, anew] if _without_wheel(case, package) else [anew, build]
    why = f"{package or 'it'} was built for it"
    if tag and tag.startswith(_CUDA) and on_amd(case):
        return  # no torch with CUDA serves here
    if built and tag:
        yield torch_build(f"=={built}", tag, why, verify=NAME)
    elif built:
        yield moved_torch(case, "install", f"=={built}", why, verify=NAME)


def _anew(case: Case, package: str | None) -> Fix:
    """Offer the package once more, in the release and from the index that go with this torch.

    No command where neither is known: pip would take the newest one, which is for another torch.
    """
    why = "the build that is made for this torch, its CUDA version and this Python"
    if package == _TORCH:
        why = "uninstall torch until pip finds none any more, then install one release"
    spec = _spec(case, package) if package else None
    if spec is None and package in case.matrix.packages:
        why = f"{why}: `python -m pip show torch` tells for which"
    index = _index(case) if spec and package in case.matrix.packages else None
    where = f" --index-url {TORCH_BUILDS}/{index}" if index else ""
    alone = "--force-reinstall --no-deps --no-cache-dir"
    return Fix(
        action="reinstall",
        package=package,
        spec=spec or None,
        why=why,
        index=index,
        command=None if spec is None else f'python -m pip install {alone} "{package}{spec}"{where}',
        verify=NAME,
    )


def _spec(case: Case, package: str) -> str | None:
    """Name the release that goes with this torch; ``""`` for any, None where it is not known."""
    own = parsed((_stated(case).get(package) or "").partition("+")[0])
    if package == _TORCH or _is_built(case, package):
        return f"=={own}" if own else ""
    torch = parsed((case.machine.torch.value or "").partition("+")[0])
    release = release_for(case, package, str(torch)) if torch else None
    return f"=={release}" if release else None


def _is_built(case: Case, package: str) -> bool:
    """Say whether pip builds a package here, against this torch: the index has its sources."""
    row = case.matrix.row("index_names", package)
    return row is not None and "built" in row


def _index(case: Case) -> str | None:
    """Return the tag of this torch, where the package index has another build by default."""
    torch, _, own = (case.machine.torch.value or "").partition("+")
    if _OF_AN_INDEX.fullmatch(own) is None:
        return None
    cuda = fact(case.matrix, _TORCH, torch, "cuda").value or ""
    usual = _CUDA + cuda.replace(".", "")
    return own if own != usual or case.machine.os.value == "windows" else None


def _stated(case: Case) -> dict[str, str]:
    return {canonicalize_name(k): v for k, v in (case.machine.facts.packages or {}).items()}


RULE = rule(NAME, __doc__, find)
