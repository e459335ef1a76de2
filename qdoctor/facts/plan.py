"""Lays what is planned over what is there: packages to install, another GPU, another driver. Pure.

What held only for what it replaces becomes unknown, so that it is worked out anew from the matrix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdoctor.model import Driver, Facts, FoundPackage, Gpu, NativeLibrary, TritonUse

# Packages that installing torch replaces together with it: it pins each of them exactly.
_PINNED_BY_TORCH = ("triton", "pytorch-triton", "pytorch-triton-rocm", "pytorch-triton-xpu")
_TRITONS = frozenset(_PINNED_BY_TORCH)
_CUDA_WHEELS = "nvidia-"
_NOT_PINNED = frozenset({"nvidia-ml-py"})  # bindings to the driver, no part of CUDA
_MIDDLEMEN = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")


def overlay(
    facts: Facts,
    *,
    packages: Mapping[str, str],
    gpus: list[Gpu] | None = None,
    driver: Driver | None = None,
    unknown: Sequence[str] = (),
) -> Facts:
    """Return ``facts`` as they would be with these exact versions, GPUs and driver.

    ``packages`` maps canonical names to versions, ``""`` for one to be removed. ``gpus`` None keeps
    the GPUs; other ones make the driver unknown unless it is given too. ``unknown`` are packages of
    which it is not known any more whether they are there.
    """
    if unknown and facts.packages is not None:
        known = {name: own for name, own in facts.packages.items() if name not in unknown}
        facts = _replaced(facts, (), packages=known)
    changed = {
        name: version
        for name, version in packages.items()
        if not _satisfied(version, (facts.packages or {}).get(name))
    }
    if changed:
        facts = _with_packages(facts, changed)
    if gpus is not None:
        facts = _with_gpus(facts, gpus)
    if driver is not None:
        facts = _replaced(facts, ("driver",), driver=driver)
    return facts


def _satisfied(planned: str, installed: str | None) -> bool:
    """Whether pip would leave it alone: a local label is ignored unless asked for (PEP 440)."""
    if installed is None or installed == planned:
        return installed == planned
    return "+" not in planned and installed.split("+")[0] == planned


def _with_packages(facts: Facts, changed: Mapping[str, str]) -> Facts:
    gone = set(changed)
    if "torch" in changed:
        gone |= {name for name in facts.packages or {} if _pinned_by_torch(name)}
        facts = _replaced(
            facts, ("torch_cuda", "torch_arch_list"), torch_cuda=None, torch_arch_list=None
        )
    kept = {name: v for name, v in (facts.packages or {}).items() if name not in gone}
    stale = [f"{fact}.{name}" for name in gone for fact in ("packages", "packages_found")]
    if "bitsandbytes" in changed:
        stale.append("native")
    return _replaced(
        facts,
        stale,
        packages={**kept, **changed},
        packages_found=_found_without(facts.packages_found, gone),
        requires=_requires_without(facts.requires, gone),
        native=_native_without(facts.native, gone),
        triton_names=_uses_without(facts.triton_names, gone),
        triton_has=None if gone & _TRITONS else facts.triton_has,
    )


def _pinned_by_torch(name: str) -> bool:
    return name in _PINNED_BY_TORCH or (name.startswith(_CUDA_WHEELS) and name not in _NOT_PINNED)


def _found_without(found: list[FoundPackage] | None, gone: set[str]) -> list[FoundPackage] | None:
    return None if found is None else [copy for copy in found if copy.name not in gone]


def _requires_without(
    requires: Mapping[str, list[str]] | None, gone: set[str]
) -> dict[str, list[str]] | None:
    if requires is None:
        return None
    return {name: pins for name, pins in requires.items() if name not in gone}


def _native_without(
    native: list[NativeLibrary] | None, gone: set[str]
) -> list[NativeLibrary] | None:
    """Leave out what is replaced; nothing left is unknown, not known to be none."""
    kept = [library for library in native or [] if library.package not in gone]
    if "torch" in gone:  # it brings the CUDA libraries along that others are given
        kept = [msgspec.structs.replace(one, resolved=None, shadowed=None) for one in kept]
    return kept or None


def _with_gpus(facts: Facts, gpus: list[Gpu]) -> Facts:
    """Number planned GPUs as they come; what hides or reorders the present ones falls away."""
    numbered = [
        gpu
        if gpu.index is not None or gpu.visible is False
        else msgspec.structs.replace(gpu, index=at, visible=True)
        for at, gpu in enumerate(gpus)
    ]
    env = facts.env
    if env is not None:
        env = {name: value for name, value in env.items() if name not in _MIDDLEMEN}
    return _replaced(facts, ("gpus", "driver"), gpus=numbered, driver=None, env=env)


def _uses_without(uses: list[TritonUse] | None, gone: set[str]) -> list[TritonUse] | None:
    return None if uses is None else [use for use in uses if use.package not in gone]


def _replaced(facts: Facts, stale: tuple[str, ...] | list[str], **changes: object) -> Facts:
    """Change facts, and drop the reasons why the former ones were unknown."""
    unread = {
        key: reason
        for key, reason in (facts.unread or {}).items()
        if not any(key == old or key.startswith((f"{old}.", f"{old}[")) for old in stale)
    }
    return msgspec.structs.replace(facts, unread=unread or None, **changes)
