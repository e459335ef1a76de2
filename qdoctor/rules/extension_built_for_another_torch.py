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

from typing import TYPE_CHECKING

from qdoctor.model import Finding, Fix
from qdoctor.released import parsed
from qdoctor.rules.case import quoted, rule
from qdoctor.rules.packages_in_text import asker
from qdoctor.rules.remedies import by_hand
from qdoctor.rules.torch_builds import built_elsewhere
from qdoctor.rules.torch_index import moved_torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case, Signal

NAME = "extension-built-for-another-torch"
_TORCH = "torch"
_CUDA = "cu"
"""How the local part of a version begins that names a build for CUDA."""
_XFORMERS = {"xformers-beside-cpu-torch", "xformers-no-operator"}


def find(case: Case) -> Iterator[Finding]:
    """Report each text of an extension that does not go with this torch."""
    for signal in case.signals_of(NAME):
        built, torch = signal.said.get("built_for"), case.machine.torch
        if built and _is_this(built, signal.said.get("built_as"), torch.value or ""):
            continue  # built for this release: what is wrong is something else
        package = _package(case, signal)
        yield Finding(
            rule=NAME,
            severity="warning",
            title=_title(package, built, torch.value),
            because=[quoted(signal), *([torch.because] if torch.because else [])],
            fixes=list(_fixes(case, package, built)),
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
        return signal.said["package"]
    if signal.said.get("extension4"):
        return _TORCH
    told = [signal.said.get(one) for one in ("extension", "extension2", "extension3")]
    said = (*told, asker(signal, "torch"))
    rows: dict[str, dict[str, str]] = case.matrix.table("python_modules")["rows"]
    known = [rows[module]["package"] for module in said if module in rows]
    if not known and signal.signature in _XFORMERS:
        return "xformers"
    return known[0] if known else asker(signal, "torch")


def _without_wheel(case: Case, package: str | None) -> bool:
    """Say whether no wheel is known to fit: of whom is not told, or torch is nobody's release.

    A wheel is made for a torch of PyTorch's index, not for one that was built elsewhere.
    """
    return package is None or (package != _TORCH and built_elsewhere(case.machine.torch.value))


def _fixes(case: Case, package: str | None, built: str | None) -> Iterator[Fix]:
    why = "the build that is made for this torch, its CUDA version and this Python"
    if package == _TORCH:
        why = "uninstall torch until pip finds none any more, then install one release"
    whose = package or ""
    anew = Fix(
        action="reinstall",
        package=package,
        why=why,
        command=f"python -m pip install --force-reinstall --no-deps --no-cache-dir {whose}"
        if package
        else None,
        verify=NAME,
    )
    build = by_hand("rebuild", "built from source against this torch it fits", verify=NAME)
    yield from [build, anew] if _without_wheel(case, package) else [anew, build]
    if built:
        yield moved_torch(case, "install", f"=={built}", f"{whose} was built for it", verify=NAME)


RULE = rule(NAME, __doc__, find)
