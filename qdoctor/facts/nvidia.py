"""NVIDIA's GPUs as the examined process would number them, from what the driver answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qdoctor.facts.visible import Device, Unit, units_of, visible_units
from qdoctor.model import Driver, Gpu

if TYPE_CHECKING:
    from collections.abc import Mapping

_NO_LIBRARIES = (
    "the kernel driver is loaded, but its libraries are not here: a container that was started "
    "without GPU access, or an incomplete driver"
)
_NO_ORDER = "models are mixed, and CUDA did not tell in which order it numbers them"
_NO_UUIDS = "CUDA_VISIBLE_DEVICES names UUIDs, and those of the GPUs could not be read"


class Hardware(msgspec.Struct, frozen=True):
    """Driver, GPUs (None: unknown) and why what stays unknown does."""

    driver: Driver
    gpus: list[Gpu] | None
    unread: dict[str, str] = msgspec.field(default_factory=dict)


def number_gpus(
    devices: list[Device],
    order: list[str] | None,
    environ: Mapping[str, str],
    told: Hardware,
    *,
    usable: bool = True,
) -> Hardware:
    """Complete ``told`` by the devices: numbered ones first, then those CUDA does not show.

    ``devices`` come in PCI order, ``order`` is CUDA's own by PCI address; ``usable`` is False where
    CUDA's library is not there to use them.
    """
    errors = {f"gpus[{at}]": device.error for at, device in enumerate(devices) if device.error}
    told = msgspec.structs.replace(told, unread={**told.unread, **errors})
    every = [unit for device in devices for unit in units_of(device)]
    if not usable:
        return _with(told, [_gpu(unit, visible=False) for unit in every], _NO_LIBRARIES)
    ordered = _in_cuda_order(devices, order, environ)
    if ordered is None:
        return _with(told, [_gpu(unit) for unit in every], _NO_ORDER)
    chosen = visible_units(ordered, environ.get("CUDA_VISIBLE_DEVICES"))
    if chosen is None:
        return _with(told, [_gpu(unit) for unit in every], _NO_UUIDS)
    gpus = [_gpu(unit, index=at, visible=True) for at, unit in enumerate(chosen)]
    return _with(told, gpus + [_gpu(unit, visible=False) for unit in every if unit not in chosen])


def _with(told: Hardware, gpus: list[Gpu], reason: str = "") -> Hardware:
    unread = {**told.unread, "gpus": reason} if reason and gpus else told.unread
    return Hardware(told.driver, gpus, unread)


def _gpu(unit: Unit, *, index: int | None = None, visible: bool | None = None) -> Gpu:
    device, part = unit.device, unit.part
    return Gpu(
        index=index,
        name=device.name,
        sm=device.sm,
        memory_mib=part.memory_mib if part else device.memory_mib,
        vendor="nvidia",
        mig=(part.profile or True) if part else device.mig,
        compute_mode=device.compute_mode,
        visible=visible,
    )


def _in_cuda_order(
    devices: list[Device], order: list[str] | None, environ: Mapping[str, str]
) -> list[Device] | None:
    """Put mixed models in CUDA's order; with one model, or by wish, that is the PCI order."""
    one_model = len({device.name for device in devices}) <= 1
    in_mig_mode = any(device.mig for device in devices)
    if one_model or in_mig_mode or environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID":
        return devices
    places = {_address(bus): place for place, bus in enumerate(order or [])}
    if any(_address(device.bus) not in places for device in devices):
        return None
    return sorted(devices, key=lambda device: places[_address(device.bus)])


def _address(bus: str | None) -> str:
    """Spell a PCI address one way: NVML writes the domain with eight digits, CUDA with four."""
    return (bus or "").lower()[-12:]
