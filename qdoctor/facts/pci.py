"""GPUs on the PCI bus as Linux lists them, of every vendor, with or without a driver."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from qdoctor.facts import file_kinds
from qdoctor.facts.host import read_text
from qdoctor.model import Gpu

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEVICES = "sys/bus/pci/devices"
VENDORS = {0x10DE: "nvidia", 0x1002: "amd", 0x8086: "intel"}  # pcisig.com/membership
_CALLED = {"nvidia": "NVIDIA", "amd": "AMD", "intel": "Intel"}
_DISPLAY, _ACCELERATOR = 0x03, 0x12  # PCI base classes; AMD's Instinct are of the second
_NAMES = ("usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids")
_GFX = re.compile(r"^gfx_target_version ([0-9]{1,9})$", re.MULTILINE)
_ORDINAL = re.compile(r"[0-9]{1,9}")
_KFD = "sys/class/kfd/kfd/topology/nodes"


class PciGpu(msgspec.Struct, frozen=True):
    """One device; ``driver`` is the kernel driver bound to it, ``""`` for none."""

    address: str
    vendor: str
    device: int
    driver: str


def pci_gpus(root: Path = Path("/")) -> list[PciGpu] | None:
    """GPUs of NVIDIA, AMD and Intel in the order of their addresses; None where /sys is hidden."""
    bus = root / "sys/bus"
    try:
        names = sorted(path.name for path in (root / _DEVICES).iterdir())
    except FileNotFoundError:
        return [] if file_kinds.is_folder(bus) else None  # a machine without PCI, or without /sys
    except OSError:
        return None
    return [gpu for name in names if (gpu := _gpu(root / _DEVICES / name)) is not None]


def _gpu(folder: Path) -> PciGpu | None:
    kind, vendor = _number(folder / "class") >> 16, VENDORS.get(_number(folder / "vendor"))
    if vendor is None or not (kind == _DISPLAY or (kind == _ACCELERATOR and vendor == "amd")):
        return None
    driver = folder / "driver"
    bound = Path(os.path.realpath(driver)).name if file_kinds.exists(driver) else ""
    return PciGpu(folder.name, vendor, _number(folder / "device"), bound)


def _number(path: Path) -> int:
    try:
        return int(read_text(path), 16)
    except ValueError:
        return 0


def named(gpu: PciGpu, root: Path = Path("/"), arch: str | None = None) -> Gpu:
    """Describe a device that no driver of NVIDIA's speaks for; ``visible`` False: no CUDA on it."""
    name = _marketing_name(gpu, root) or f"{_CALLED[gpu.vendor]} GPU {gpu.device:04x}"
    return Gpu(name=name, vendor=gpu.vendor, visible=False, arch=arch)


def _marketing_name(gpu: PciGpu, root: Path) -> str | None:
    """Look a device up in the system's pci.ids: vendors at the margin, devices after one tab."""
    vendor = next(number for number, name in VENDORS.items() if name == gpu.vendor)
    for path in _NAMES:
        _, _, after = read_text(root / path).partition(f"\n{vendor:04x}  ")
        block = re.split(r"\n(?=\w)", after, maxsplit=1)[0]  # up to the next vendor
        found = re.search(rf"^\t{gpu.device:04x}  (.+)$", block, re.MULTILINE)
        if found:
            return f"{_CALLED[gpu.vendor]} {found.group(1)}"
    return None


def amd_archs(root: Path = Path("/")) -> Iterator[str]:
    """Architectures of AMD's GPUs (``gfx1101``) from the kfd driver's topology, in its order.

    ``gfx_target_version`` is 10000 * major + 100 * minor + stepping, the last two written in hex
    (ROCm's ``thunk``); CPUs have 0.
    """
    nodes = root / _KFD
    for folder in sorted(file_kinds.inside(nodes), key=_node):
        found = _GFX.search(read_text(folder / "properties"))
        version = int(found.group(1)) if found else 0
        if version:
            yield f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"


def _node(folder: Path) -> int:
    return int(folder.name) if _ORDINAL.fullmatch(folder.name) else 0
