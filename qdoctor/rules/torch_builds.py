"""Which build of torch serves this GPU and this driver: the layers are asked about each."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from qdoctor.layers import (
    driver_serves_torch,
    torch_fits_libc,
    torch_fits_python,
    torch_has_cuda,
    torch_has_sm,
)
from qdoctor.layers.host import release_fits_python
from qdoctor.layers.wheel import build_of
from qdoctor.model import Fix
from qdoctor.released import parsed, release, stable
from qdoctor.rules.amd import on_amd
from qdoctor.rules.remedies import torch_build
from qdoctor.rules.what_if import all_yes, nearest, runs, with_os, with_package

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packaging.version import Version

    from qdoctor.layers import Layer
    from qdoctor.matrix import Matrix
    from qdoctor.rules.case import Case
    from qdoctor.rules.what_if import Span

_OF_THE_INDEX = re.compile(r"(?:cu|cpu|rocm|xpu)(?![a-z])")
"""How the local part of a version begins that PyTorch's own index gives a build."""
_CUDA = re.compile(r"cu\d+")
_KEPT = (driver_serves_torch, torch_fits_python, torch_fits_libc)


def offers(  # noqa: PLR0913 - a fix has these parts
    case: Case,
    why: str,
    *,
    verify: str,
    also: Sequence[Layer] = (),
    anew: bool = False,
    before: str | None = None,
) -> list[Fix]:
    """Offer the build nearest to the installed torch that works here; [] where none is known.

    The same release is left only if none of its builds works. Of several builds of one release the
    newest CUDA version is taken; of several ways to another release the one that reaches furthest.
    ``also`` are further layers that must say yes with the build. An operating system without CUDA
    is offered none. The installed build is offered only ``anew``, for files that it lacks: where it
    works, torch is not at fault. ``before`` is a build of which only older CUDA versions are meant.
    """
    if never_has_cuda(case):
        return []
    version = parsed(case.machine.torch.value)
    if version is not None:
        own = version.public
        below = _number(before) if before and _CUDA.fullmatch(before) else None
        tags = [tag for tag in tags_of(case, own) if below is None or _number(tag) < below]
        same = [tag for tag in tags if _works(case, own, tag, also)]
        if not anew and tag_here(case) in same:
            return []
        if same:
            return [torch_build(f"=={own}", same[-1], why, verify=verify)]
    return _other_release(case, version, why, verify, also)


def offers_of_major(case: Case, major: int, why: str, *, verify: str) -> list[Fix]:
    """Offer the newest build of the installed torch for one CUDA major; [] where there is none."""
    version = parsed(case.machine.torch.value)
    if version is None or never_has_cuda(case):
        return []
    own = version.public
    built = [tag for tag in tags_of(case, own) if _number(tag) // 10 == major]
    fitting = [tag for tag in built if not refused(case, own, tag)]
    return [torch_build(f"=={own}", fitting[-1], why, verify=verify)] if fitting else []


def with_a_torch(case: Case) -> Case:
    """Return the case with the newest torch that serves its GPU, where torch is not known.

    Its system is taken to be Linux where that is not known either.
    """
    if case.machine.torch_cuda.value is not None or case.machine.torch.value is not None:
        return case
    told = on_some_system(case)
    machine = told.machine
    for torch in reversed([str(one) for one in case.matrix.versions("torch")]):
        for tag in reversed(tags_of(told, torch)):
            if _works(told, torch, tag, ()):
                ready = with_package(machine, case.matrix, "torch", f"{torch}+{tag}")
                return msgspec.structs.replace(told, machine=ready)
    return case


def on_some_system(case: Case) -> Case:
    """Return the case on Linux, where its system is not known."""
    if case.machine.os.value is not None:
        return case
    machine = with_os(case.machine, case.matrix, "linux")
    return msgspec.structs.replace(case, machine=machine, answers={})


def of_the_maker(case: Case, *, verify: str) -> list[Fix]:
    """Offer the builds of a board's maker, where PyTorch's index has none for it."""
    if never_has_cuda(case):
        return []
    why = "PyTorch's index has no build for this machine: boards (Jetson) take those of NVIDIA"
    return [Fix(action="install-build", package="torch", why=why, verify=verify)]


def built_elsewhere(version: str | None) -> bool:
    """Say whether a torch is none of PyTorch's: NVIDIA's for its boards and containers, one's own.

    Its local part says so (``2.5.0a0+872d972e41.nv24.08``, ``2.2.0a0+git8ac9b20``).
    """
    known = parsed(version)
    return bool(known and known.local and not _OF_THE_INDEX.match(known.local))


def default_without_cuda(case: Case) -> dict[str, Any] | None:
    """Return the row that says that this system's default torch never has CUDA (table)."""
    table, system = case.matrix.table("torch_defaults"), case.machine.os.value
    rows: list[dict[str, Any]] = [row for row in table["rows"] if row["os"] == system]
    whole = [row for row in rows if (row["machine"], row["spec"], row["cuda"]) == ("*", "", "")]
    return whole[0] if whole else None


def never_has_cuda(case: Case) -> bool:
    """Say whether this operating system has no CUDA at all, or all GPUs are AMD's."""
    return case.machine.os.value in case.matrix.table("systems")["rows"] or on_amd(case)


def _other_release(
    case: Case, version: Version | None, why: str, verify: str, also: Sequence[Layer]
) -> list[Fix]:
    ways: list[tuple[Span, str]] = []
    for tag, found in _spans_of_tags(case, also).items():
        if chosen := nearest(found, str(version.public) if version else None):
            ways.append((chosen[1], tag))
    if not ways:
        return []
    if version is None and case.machine.driver_cuda.value is None:
        ways = _before_the_newest_cuda(ways)
    span, tag = _best(ways, version)
    return [torch_build(span.spec, tag, f"{why} (torch {span})", verify=verify)]


def _best(ways: list[tuple[Span, str]], version: Version | None) -> tuple[Span, str]:
    """Prefer a newer release over an older one, then the nearest, then the older CUDA version.

    Without an installed release to stay near to: the way that reaches the newest release.
    """
    if version is None:
        return max(ways, key=lambda way: (way[0].last, -_number(way[1])))
    above = [way for way in ways if way[0].first > version]
    if above:
        return min(above, key=lambda way: (way[0].first, _number(way[1])))
    return max(ways, key=lambda way: (way[0].last, -_number(way[1])))


def _before_the_newest_cuda(ways: list[tuple[Span, str]]) -> list[tuple[Span, str]]:
    """Leave out the newest CUDA major, which asks for the newest driver: it is not known here."""
    newest = max(_number(tag) // 10 for _, tag in ways)
    return [way for way in ways if _number(way[1]) // 10 < newest] or ways


def _spans_of_tags(case: Case, also: Sequence[Layer]) -> dict[str, list[Span]]:
    known = stable(case.matrix, "torch")
    versions = tuple(known.values())
    tags = {one: tags_of(case, one) for one in known}
    return {
        tag: runs(versions, [tag in tags[one] and _works(case, one, tag, also) for one in known])
        for tag in sorted({tag for some in tags.values() for tag in some}, key=_number)
    }


def tag_here(case: Case) -> str | None:
    """Return the tag of the installed build, as its version or its CUDA version tells."""
    local = (case.machine.torch.value or "").partition("+")[2]
    cuda = case.machine.torch_cuda.value
    return local or ("cu" + cuda.replace(".", "") if cuda else None)


def tags_of(case: Case, version: str) -> list[str]:
    """Return the CUDA builds of a torch release, the oldest CUDA version first."""
    return list(_tags_of(case.matrix, version))


@lru_cache(maxsize=512)
def _tags_of(matrix: Matrix, version: str) -> tuple[str, ...]:
    found = release(matrix, "torch", version)
    if found is None:
        return ()
    tags = {tag for tag in found.facts.get("builds", {}) if tag.startswith("cu")}
    if default := found.facts.get("cuda"):
        tags.add("cu" + default.replace(".", ""))
    return tuple(sorted(tags, key=_number))


def _works(case: Case, version: str, tag: str, also: Sequence[Layer]) -> bool:
    """Say whether a build is known to fit: its kernels must, the driver must not be refuted.

    A release that is not for this Python is left out before its machine is worked out.
    """
    if release_fits_python(case.machine, case.matrix, "torch", version).value == "no":
        return False
    if build_of(case.machine, case.matrix, version, tag).value == "no":
        return False
    machine = with_package(case.machine, case.matrix, "torch", f"{version}+{tag}")
    sms_decide = case.machine.gpu is not None and case.machine.sm.value is not None
    wanted = [torch_has_cuda, torch_has_sm] if sms_decide else [torch_has_cuda]
    return all_yes(case, [*wanted, *also], _KEPT)(machine)


def refused(case: Case, version: str, tag: str) -> bool:
    """Say whether this machine's driver, Python, libc or GPU is known not to go with a build.

    ``tag`` is ``""`` for the one that the package index has.
    """
    torch = f"{version}+{tag}" if tag else version
    machine = with_package(case.machine, case.matrix, "torch", torch)
    asked = (torch_has_sm, *_KEPT)
    return any(layer(machine, case.matrix).value == "no" for layer in asked)


def _number(tag: str) -> int:
    return int(tag.removeprefix("cu") or 0)
