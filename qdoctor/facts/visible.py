"""Which devices a process may use, and in which order it numbers them: CUDA_VISIBLE_DEVICES.

Source: CUDA C++ Programming Guide, "CUDA Environment Variables"; for MIG the Multi-Instance GPU
User Guide, "CUDA Device Enumeration": a process sees a single compute instance, and no whole GPU
beside it. What the guides leave open (numbers followed by text, repeated and mixed entries, letter
case) is as libcuda of driver 580 answered to it.
"""

from __future__ import annotations

import re

import msgspec

_ORDINAL = re.compile(r"\s*\+?([0-9]+)")
_MOST_DIGITS = 9  # of an ordinal; what is longer names no device, whatever it is
_UUID = re.compile(r"\s*(GPU|MIG)-\w")  # the words in capitals, and at least one digit
_OLD_MIG = re.compile(r"MIG-(GPU-[^/]+)/(\d+)/(\d+)")


class Slice(msgspec.Struct, frozen=True):
    """One MIG device; ``gi`` and ``ci`` are its GPU and compute instance."""

    uuid: str | None = None
    profile: str | None = None
    memory_mib: int | None = None
    gi: int | None = None
    ci: int | None = None


class Device(msgspec.Struct, frozen=True):
    """One NVIDIA GPU as the driver tells it; None where it could not be learned."""

    name: str | None = None
    sm: str | None = None
    memory_mib: int | None = None
    compute_mode: str | None = None
    uuid: str | None = None
    bus: str | None = None
    mig: bool | None = None
    slices: list[Slice] = msgspec.field(default_factory=list)
    error: str | None = None


class Unit(msgspec.Struct, frozen=True):
    """What CUDA numbers: a whole GPU, or one MIG slice of it."""

    device: Device
    part: Slice | None = None


def visible_units(devices: list[Device], value: str | None) -> list[Unit] | None:
    """Units in the order in which CUDA numbers them, None where a UUID would be needed to tell.

    ``devices`` are in CUDA's order; ``value`` is CUDA_VISIBLE_DEVICES, None when it is not set. An
    invalid entry ends the list, a repeated one empties it.
    """
    if value is None:
        chosen: list[Unit] | None = [unit for device in devices for unit in units_of(device)]
    else:
        chosen = _listed(devices, value)
    if chosen is None:
        return None
    parts = [unit for unit in chosen if unit.part is not None]
    return parts[:1] or [unit for unit in chosen if not unit.device.mig]


def units_of(device: Device) -> list[Unit]:
    """A GPU in MIG mode gives its slices (none without any); another gives itself."""
    return [Unit(device, part) for part in device.slices] if device.slices else [Unit(device)]


def _listed(devices: list[Device], value: str) -> list[Unit] | None:
    """Resolve entry by entry; the first one decides whether ordinals or UUIDs are expected."""
    chosen: list[Unit] = []
    entries = value.split(",")
    by_ordinal = _ORDINAL.match(entries[0]) is not None
    for entry in entries:
        if (_ORDINAL.match(entry) is not None) != by_ordinal:
            return chosen
        if not by_ordinal and _UUID.match(entry) and any(d.uuid is None for d in devices):
            return None
        unit = _unit(devices, entry.strip())
        if unit is None:
            return chosen
        if unit in chosen:
            return []
        chosen.append(unit)
    return chosen


def _unit(devices: list[Device], entry: str) -> Unit | None:
    """Resolve one entry: an ordinal, a UUID or its unambiguous beginning, a MIG device."""
    ordinal = _ORDINAL.match(entry)
    if ordinal:
        digits = ordinal.group(1).lstrip("0")
        number = int(digits or 0) if len(digits) <= _MOST_DIGITS else len(devices)
        return units_of(devices[number])[0] if number < len(devices) else None
    if not _UUID.match(entry):
        return None
    if entry.startswith("MIG-"):
        units = [unit for device in devices for unit in units_of(device)]
        fitting = [unit for unit in units if unit.part and _is_slice(unit, unit.part, entry)]
    else:
        fitting = [units_of(device)[0] for device in devices if _begins(device.uuid, entry)]
    return fitting[0] if len(fitting) == 1 else None


def _begins(uuid: str | None, entry: str) -> bool:
    """Whether a UUID begins with ``entry``; its digits may be written in either case."""
    return (uuid or "").lower().startswith(entry.lower())


def _is_slice(unit: Unit, part: Slice, entry: str) -> bool:
    old = _OLD_MIG.fullmatch(entry)  # drivers before R470 named slices by their GPU
    if old:
        place = (unit.device.uuid, str(part.gi), str(part.ci))
        return place == old.groups()
    return _begins(part.uuid, entry)
