"""Driver and GPUs of a Linux machine: what the driver says, else what the kernel lists.

Known to be none (no driver, no device) and unknown are kept apart: an empty list says that we
looked where a device would have to be; None comes with a reason.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from qdoctor.facts import file_kinds, libcuda, pci
from qdoctor.facts.driver import Asked, ask_driver
from qdoctor.facts.host import is_wsl, read_text
from qdoctor.facts.nvidia import Hardware, number_gpus
from qdoctor.facts.toolkit import cuda_version
from qdoctor.facts.visible import Device
from qdoctor.model import Driver, Gpu

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_PROC = "proc/driver/nvidia"
_KERNEL_MODULE = re.compile(r"Kernel Module\b.*?\s(\d+\.\d+(?:\.\d+)?)\s")
_VERSION = re.compile(r"[0-9]{1,5}(\.[0-9]{1,5}){1,3}")
_WSL_LIBRARIES = "usr/lib/wsl/lib"
_TEGRA = ("etc/nv_tegra_release", "sys/module/nvgpu")


def read_linux(
    environ: Mapping[str, str],
    *,
    root: Path = Path("/"),
    ask: Callable[[Mapping[str, str], Sequence[str]], Asked] = ask_driver,
) -> Hardware:
    """Read driver and GPUs below ``root``; ``ask`` puts the question to the driver."""
    others = _of_other_vendors(root)
    if not _driver_is_there(root):
        return _without_driver(root, others)
    loaded = libcuda.found_by_loader(environ, root)
    version = _kernel_driver(root)
    own = libcuda.of_version(version, environ, root) if version else None
    libraries = dict.fromkeys(str(path) for path in (*loaded[:1], own) if path)
    asked = ask(_with_wsl_folder(environ, root), list(libraries))
    version = asked.nvml.driver or version
    driver, unread = _driver(version, loaded[0] if loaded else None, own, asked)
    beside = None if loaded else own or libcuda.elsewhere(environ, root)
    driver = msgspec.structs.replace(
        driver,
        libcuda=str(loaded[0]) if loaded else "",
        libcuda_elsewhere=str(beside) if beside else "",
    )
    devices = asked.nvml.devices or _from_proc(root)
    if asked.nvml.error and not devices:
        return Hardware(driver, None, {**unread, "gpus": asked.nvml.error})
    usable = bool(loaded) or asked.nvml.error is None
    told = Hardware(driver, [], unread)
    mine = number_gpus(devices, asked.order, environ, told, usable=usable)
    return msgspec.structs.replace(mine, gpus=[*(mine.gpus or []), *others])


def _driver_is_there(root: Path) -> bool:
    names = (_PROC, "dev/nvidiactl", "dev/nvidia0", f"{_WSL_LIBRARIES}/libnvidia-ml.so.1")
    return any(file_kinds.exists(root / name) for name in names)


def _kernel_driver(root: Path) -> str | None:
    """Version of the loaded kernel module; WSL has none, Windows' driver serves it."""
    found = _KERNEL_MODULE.search(read_text(root / _PROC / "version"))
    stated = read_text(root / "sys/module/nvidia/version").strip()
    return found.group(1) if found else stated if _VERSION.fullmatch(stated) else None


def _with_wsl_folder(environ: Mapping[str, str], root: Path) -> dict[str, str]:
    """Let the asking child, not the facts, find WSL's NVML where the loader's cache lacks it."""
    if not is_wsl(root):
        return dict(environ)
    folders = [environ.get("LD_LIBRARY_PATH", ""), f"/{_WSL_LIBRARIES}"]
    return {**environ, "LD_LIBRARY_PATH": ":".join(filter(None, folders))}


def _driver(
    version: str | None, loaded: Path | None, own: Path | None, asked: Asked
) -> tuple[Driver, dict[str, str]]:
    """Tell the driver's own CUDA version from that of a cuda-compat library loaded before it.

    NVML's answer is of no use for this: it, too, asks the libcuda that the loader finds.
    """
    unread = {"driver": asked.nvml.error} if asked.nvml.error else {}
    first = libcuda.version_of(loaded) if loaded else None
    folder = libcuda.compat_folder(loaded) if loaded else None
    compat = folder is not None or (first is not None and version is not None and first != version)
    if not compat:
        number = asked.cuda.get(str(loaded)) if loaded else asked.nvml.cuda
        cuda = cuda_version(number) if number else None
        if cuda is None:
            unread["driver.cuda"] = "no libcuda.so.1 answered which CUDA version it supports"
        return Driver(version=version, cuda=cuda, compat_cuda=""), unread
    lifted, number = asked.cuda.get(str(loaded)), asked.cuda.get(str(own)) if own else None
    if not number:
        unread["driver.cuda"] = f"{loaded} hides the driver's own libcuda, which was not found"
    return Driver(
        version=version,
        cuda=cuda_version(number) if number else None,
        compat_cuda=cuda_version(lifted) if lifted else folder or None,
    ), unread


def _from_proc(root: Path) -> list[Device]:
    """List devices from the kernel module's own files, in the order of their PCI addresses."""
    folder = root / _PROC / "gpus"
    devices = []
    for path in file_kinds.inside(folder):
        text = read_text(path / "information")
        stated = dict(re.findall(r"^([^:\n]+):[ \t]*(.+?)[ \t]*$", text, re.MULTILINE))
        uuid = stated.get("GPU UUID", "?")
        name = stated.get("Model")
        devices.append(Device(name=name, uuid=None if "?" in uuid else uuid, bus=path.name))
    return devices


def _of_other_vendors(root: Path) -> list[Gpu]:
    archs = pci.amd_archs(root)
    return [
        pci.named(gpu, root, next(archs, None) if gpu.vendor == "amd" else None)
        for gpu in pci.pci_gpus(root) or []
        if gpu.vendor != "nvidia"
    ]


def _without_driver(root: Path, others: list[Gpu]) -> Hardware:
    """Say what the bus says; ``driver.version`` is known to be none."""
    driver = Driver(version="", compat_cuda="")
    if any(file_kinds.exists(root / name) for name in _TEGRA):
        reason = "an NVIDIA Tegra system: its GPU is not on the PCI bus and has a driver of its own"
        return Hardware(Driver(), None, {"gpus": reason, "driver": reason})
    if is_wsl(root):
        shared = Gpu(name="GPU shared by Windows, not NVIDIA's", vendor="microsoft", visible=False)
        return Hardware(driver, [shared] if file_kinds.exists(root / "dev/dxg") else [])
    listed = pci.pci_gpus(root)
    if listed is None:
        return Hardware(driver, None, {"gpus": "no NVIDIA driver, and /sys/bus/pci is hidden"})
    mine = [gpu for gpu in listed if gpu.vendor == "nvidia"]
    bound = [f"{gpu.address} is bound to {gpu.driver or 'no driver'}" for gpu in mine]
    unread = {"gpus": f"no NVIDIA driver is loaded; {', '.join(bound)}"} if mine else {}
    return Hardware(driver, [*(pci.named(gpu, root) for gpu in mine), *others], unread)
