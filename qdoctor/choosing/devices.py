"""Driver and GPUs as the key of an answer needs them: from /proc and /sys, in a millisecond.

``qdoctor.facts`` learns more, from NVML in a child; here it only matters whether the answer could
be another one. What the kernel's files do not tell (several models without a stated order, MIG,
unusual CUDA_VISIBLE_DEVICES) is not worked out: all there is to know then stands in the key, which
makes it too narrow at worst. Source of the files: NVIDIA driver README, "The /proc Interface".
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # as typing's, without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping

_PROC = "proc/driver/nvidia"
_PCI = "sys/bus/pci/devices"
_IDENTITY = ("vendor", "device", "subsystem_vendor", "subsystem_device", "revision")
_SIGNS = ("dev/nvidiactl", "dev/nvidia0", "dev/dxg")
"""Files that say that an NVIDIA GPU may be there though /proc does not list it (gVisor, WSL)."""
_TEGRA = ("etc/nv_tegra_release", "sys/module/nvgpu")
"""Files of a system whose GPU is on no PCI bus: NVIDIA's Tegra (Jetson)."""
_KFD = "sys/class/kfd/kfd/topology/nodes"
_CPU_HEAD = 2048  # bytes of /proc/cpuinfo that hold the first core's model

CPU = "cpu"


class Device:
    """One GPU: ``kind`` is equal for GPUs that are interchangeable; ``name`` for people."""

    __slots__ = ("kind", "name", "uuid")

    def __init__(self, name: str, kind: str, uuid: str) -> None:
        """All as text; ``uuid`` may be empty."""
        self.name, self.kind, self.uuid = name, kind, uuid


class Hardware:
    """The driver's version and what GPUs there are, in the order of their PCI addresses.

    ``parts`` describes what CUDA may number besides whole GPUs (MIG); other makers' in ``others``.
    """

    __slots__ = ("devices", "driver", "others", "parts")

    def __init__(
        self, driver: str, devices: list[Device], parts: str = "", others: str = ""
    ) -> None:
        """``driver`` is ``""`` where there is none."""
        self.driver, self.devices, self.parts, self.others = driver, devices, parts, others


def hardware(root: str = "/") -> Hardware:
    """Read what is there below ``root``; NVML is asked where the kernel's files tell nothing."""
    if sys.platform == "linux":
        devices = [_device(root, bus) for bus in _listed(root, f"{_PROC}/gpus")]
        if devices:
            return Hardware(_driver(root), devices, _parts(root))
        if any(os.path.exists(os.path.join(root, sign)) for sign in _TEGRA):
            return Hardware(f"tegra {_read(os.path.join(root, _TEGRA[0]), 200).strip()}", [])
        if not any(os.path.exists(os.path.join(root, sign)) for sign in _SIGNS):
            return Hardware("", [], others=_amd(root))
    elif sys.platform == "darwin":
        return Hardware("", [])
    from qdoctor.choosing import nvml  # noqa: PLC0415 - elsewhere only: it loads a library

    return nvml.hardware()


def which(told: Hardware, index: int | None, environ: Mapping[str, str]) -> tuple[str, str, int]:
    """Say which GPU CUDA calls ``index`` (None: the first): its kind, its name, and how many.

    The kind is ``cpu`` where CUDA shows no GPU. Where it cannot be told which one it is, it
    describes all of them, and the number is -1.
    """
    shown = _shown(told, environ)
    if shown is None:
        every = " | ".join(f"{one.kind} {one.uuid}" for one in told.devices)
        order = environ.get("CUDA_DEVICE_ORDER")
        visible = environ.get("CUDA_VISIBLE_DEVICES")
        names = " or ".join(dict.fromkeys(one.name for one in told.devices))
        said = f"one of: {every}; parts {told.parts}; order {order}; visible {visible}; {index}"
        return said, names, -1
    if not shown:
        if told.others:
            return f"other {told.others}", told.others, -1
        return CPU, CPU, -1 if told.driver and not told.devices else 0
    chosen = shown[index or 0] if (index or 0) < len(shown) else shown[0]
    return chosen.kind, chosen.name, len(shown)


def processor(root: str = "/") -> tuple[str, int]:
    """Describe the CPU: its model, and how many cores this process may use."""
    text = _read(os.path.join(root, "proc/cpuinfo"), _CPU_HEAD)
    model = _value(text, "model name") or _value(text, "CPU part")
    may = getattr(os, "sched_getaffinity", None)
    cores = len(may(0)) if may is not None else os.cpu_count()
    machine = os.uname().machine if hasattr(os, "uname") else os.environ.get("PROCESSOR_IDENTIFIER")
    return f"cpu {machine} {model}".strip(), cores or 0


def _shown(told: Hardware, environ: Mapping[str, str]) -> list[Device] | None:
    """Return the GPUs that CUDA numbers, in its order; None where that is not clear from here."""
    if not told.devices:
        return []
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if told.parts:
        return None
    ordered = (
        len({one.kind for one in told.devices}) == 1
        or environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    )
    if visible is None:
        return told.devices if ordered else None
    if not visible.strip() or visible.strip() == "-1":
        return []
    return _listed_in(visible, told.devices, ordered=ordered)


def _listed_in(visible: str, devices: list[Device], *, ordered: bool) -> list[Device] | None:
    """Resolve plain lists only: distinct numbers that exist, or distinct whole UUIDs."""
    entries = [entry.strip() for entry in visible.split(",")]
    if len(set(entries)) < len(entries):
        return None
    if ordered and all(entry.isdecimal() and int(entry) < len(devices) for entry in entries):
        return [devices[int(entry)] for entry in entries]
    by_uuid = {one.uuid: one for one in devices if one.uuid}
    if all(entry in by_uuid for entry in entries):
        return [by_uuid[entry] for entry in entries]
    return None


def _device(root: str, bus: str) -> Device:
    text = _read(os.path.join(root, _PROC, "gpus", bus, "information"))
    folder = os.path.join(root, _PCI, bus)
    identity = " ".join(_read(os.path.join(folder, name)).strip() for name in _IDENTITY)
    name, uuid = _value(text, "Model"), _value(text, "GPU UUID")
    return Device(name, f"{name} [{identity}]", "" if "?" in uuid else uuid)


def _driver(root: str) -> str:
    """Return the kernel driver's version, from its own file or the banner that holds it."""
    stated = _read(os.path.join(root, "sys/module/nvidia/version")).strip()
    banner = _read(os.path.join(root, _PROC, "version")).partition("\n")[0]
    numbers = [word for word in banner.split() if word.replace(".", "").isdecimal() and "." in word]
    return stated or (numbers or [banner])[0]


def _parts(root: str) -> str:
    """List the MIG instances of every GPU; ``""`` where there are none."""
    found = []
    for gpu in _listed(root, f"{_PROC}/capabilities"):
        folder = f"{_PROC}/capabilities/{gpu}/mig"
        for instance in _listed(root, folder):
            if instance.startswith("gi"):
                inside = _listed(root, f"{folder}/{instance}")
                found.append(f"{gpu}/{instance}/{'+'.join(inside)}")
    return " ".join(found)


def _amd(root: str) -> str:
    """Name the architectures that ROCm's kernel driver lists, and that driver."""
    nodes = [_read(os.path.join(root, _KFD, node, "properties")) for node in _listed(root, _KFD)]
    gpus = [found for text in nodes if (found := _gfx(text)) not in {"", "0"}]
    driver = _read(os.path.join(root, "sys/module/amdgpu/version")).strip()
    return f"amd {' '.join(gpus)} {driver}".strip() if gpus else ""


def _gfx(text: str) -> str:
    return text.partition("gfx_target_version ")[2].partition("\n")[0].strip()


def _listed(root: str, folder: str) -> list[str]:
    try:
        return sorted(os.listdir(os.path.join(root, folder)))
    except OSError:
        return []


def _read(path: str, most: int = 4096) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(most).decode("utf-8", "replace")
    except OSError:
        return ""


def _value(text: str, key: str) -> str:
    """Return the value of ``key: value`` on a line of its own."""
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and name.strip() == key:
            return value.strip()
    return ""
