"""Where another release of torch is to come from: which index has the build that serves here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from packaging.specifiers import SpecifierSet

from qdoctor.layers.host import release_fits_python
from qdoctor.model import Fix
from qdoctor.released import fact, parsed
from qdoctor.rules.amd import on_amd
from qdoctor.rules.remedies import TORCH_BUILDS
from qdoctor.rules.torch_builds import on_some_system, refused, tags_of

if TYPE_CHECKING:
    from packaging.version import Version

    from qdoctor.model import Action
    from qdoctor.rules.case import Case

_KIND = re.compile(r"(cu)\d{2,3}|cpu")
_FOR_CUDA = ("triton-windows", "bitsandbytes")
"""Packages that say of a Windows machine that torch is to use its NVIDIA GPU."""


class Place(msgspec.Struct, frozen=True):
    """Where torch comes from: ``index`` is a build's tag, None for the package index itself.

    ``elsewhere`` says in words where no command can take it from; else ``""``.
    """

    index: str | None = None
    elsewhere: str = ""


def moved_torch(case: Case, action: Action, spec: str, why: str, *, verify: str) -> Fix:
    """Offer a newer or older torch of the same kind: for CUDA on Windows, or without CUDA.

    Unsafe: torch pins triton, and what was compiled against it may not load any more.
    """
    where = place(case, spec)
    index = f" --index-url {TORCH_BUILDS}/{where.index}" if where.index else ""
    newer = "--upgrade " if action == "upgrade" else ""
    return Fix(
        action=action,
        why=f"{why}; {where.elsewhere}" if where.elsewhere else why,
        applicability="unsafe",
        package="torch",
        spec=spec,
        index=where.index,
        command=None if where.elsewhere else f'python -m pip install {newer}"torch{spec}"{index}',
        verify=verify,
    )


def place(case: Case, spec: str) -> Place:
    """Return where a torch in ``spec`` is to come from, so that it is of the installed kind.

    Where no kind is told: the package index, unless what that has by default is known not to run
    on this GPU, driver or Windows; where no system is told, it is taken to be Linux.
    """
    kind, case = _kind(case), on_some_system(case)
    if kind is not None and _KIND.fullmatch(kind) is None:
        return Place(elsewhere=f"from where the installed build {kind} is from")
    if on_amd(case):
        return Place(elsewhere="in a build for ROCm, from PyTorch's index for it or from AMD")
    if kind is None or (kind.startswith("cu") and not spec):
        told = kind is not None or _needs_a_build(case, spec)
        return Place(_newest(case, kind, spec) if told else None)
    if kind == "cpu" or _is_own(case, spec):
        return Place(kind)
    return Place(_nearest(case, kind, spec))


def _kind(case: Case) -> str | None:
    """Return the tag of the installed build; None where the package index's own will do."""
    version = parsed(case.machine.torch.value)
    if version is not None and version.local:
        return version.local
    cuda = case.machine.torch_cuda.value
    if case.machine.os.value == "windows" and cuda:
        return "cu" + cuda.replace(".", "")
    return None


def _is_own(case: Case, spec: str) -> bool:
    """Say whether it is the installed release that is asked for."""
    version = parsed(case.machine.torch.value)
    return version is not None and spec == f"=={version.public}"


def _needs_a_build(case: Case, spec: str) -> bool:
    """Say whether the default build is known not to do: refused, or without CUDA on Windows.

    A build with CUDA runs without a GPU too: there is one where nothing says otherwise.
    """
    machine = case.machine
    if machine.os.value == "windows":
        for_cuda = any((machine.facts.packages or {}).get(one) for one in _FOR_CUDA)
        may_have = machine.gpus.value is None or machine.gpu is not None or for_cuda
        return machine.torch_cuda.value is None and may_have
    newest = next(iter(_inside(case, spec)), None)
    return newest is not None and refused(case, str(newest), "")


def _nearest(case: Case, kind: str, spec: str) -> str | None:
    """Return the same build of a release in ``spec``, else the nearest one that serves here.

    None where there is none.
    """
    own = _number(kind)
    served = _served(case, spec)
    return min(served, key=lambda tag: (abs(_number(tag) - own), _number(tag)), default=None)


def _newest(case: Case, kind: str | None, spec: str) -> str | None:
    """Return the build that reaches the newest release: its default one, else the older CUDA.

    Without a known driver no newer CUDA major than the installed one; else not the newest, which
    asks for the newest driver.
    """
    served = _served(case, spec)
    if case.machine.driver_cuda.value is None:
        most = _number(kind) // 10 if kind else _newest_major(case) - 1
        served = {t: one for t, one in served.items() if _number(t) // 10 <= most} or served
    return max(served, key=lambda tag: _newness(case, served[tag], tag), default=None)


def _newness(case: Case, version: Version, tag: str) -> tuple[Version, bool, int]:
    usual = fact(case.matrix, "torch", str(version), "cuda").value or ""
    return version, tag == "cu" + usual.replace(".", ""), -_number(tag)


def _newest_major(case: Case) -> int:
    """Return the newest CUDA major that any torch is built for."""
    newest = str(case.matrix.versions("torch")[-1])
    return max((_number(tag) // 10 for tag in tags_of(case, newest)), default=0)


def _served(case: Case, spec: str) -> dict[str, Version]:
    """Return the builds with the newest release in ``spec`` that nothing here refuses."""
    found: dict[str, Version] = {}
    for one in _inside(case, spec):
        for tag in tags_of(case, str(one)):
            if tag not in found and not refused(case, str(one), tag):
                found[tag] = one
    return found


def _inside(case: Case, spec: str) -> list[Version]:
    """Return the releases in ``spec`` that this Python may install, the newest first."""
    inside = SpecifierSet(spec)
    known = reversed(case.matrix.versions("torch"))
    return [
        one
        for one in known
        if inside.contains(one)
        and release_fits_python(case.machine, case.matrix, "torch", str(one)).value != "no"
    ]


def _number(tag: str) -> int:
    return int(tag.removeprefix("cu"))
