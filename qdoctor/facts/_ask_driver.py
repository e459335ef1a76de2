"""Asks the NVIDIA driver, in a child of our own: ``python -I -S -B _ask_driver.py CONTROL_DIR``.

A child, because a wedged driver can hang inside NVML for ever and a broken one can end the process;
neither may happen to the parent. It costs 60 ms, and only where a driver is present. Started by
path without site, so that it pays for nothing but itself; request.json names the folder of pynvml.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

_COMPUTE_MODES = {0: "Default", 1: "Exclusive_Thread", 2: "Prohibited", 3: "Exclusive_Process"}
_MIB = 1 << 20


class Asker:
    """Calls NVML functions by name; an error becomes None and is kept, as the driver said it."""

    def __init__(self, nvml: Any) -> None:  # noqa: ANN401 - pynvml, or a recording of one
        """Take the ``pynvml`` module, or an object that answers like it."""
        self.nvml = nvml
        self.errors: list[str] = []

    def __call__(self, name: str, *arguments: Any) -> Any:  # noqa: ANN401 - NVML's own types
        """Return what the function returns, None where NVML refuses or lacks it."""
        try:
            value = getattr(self.nvml, name)(*arguments)
        except AttributeError:
            return None
        except self.nvml.NVMLError as error:
            if getattr(error, "value", None) != getattr(self.nvml, "NVML_ERROR_NOT_SUPPORTED", 3):
                self.errors.append(f"{name}: {error}")
            return None
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def read_nvml(nvml: Any) -> dict[str, Any]:  # noqa: ANN401 - pynvml, or a recording of one
    """Driver version and devices in PCI order, as plain values; ``error`` where NVML is broken."""
    try:
        nvml.nvmlInit()
    except (nvml.NVMLError, OSError, AttributeError) as error:
        return {"error": str(error), "driver": None, "cuda": None, "devices": []}
    ask = Asker(nvml)
    count = ask("nvmlDeviceGetCount")
    answer = {
        "driver": ask("nvmlSystemGetDriverVersion"),
        "cuda": ask("nvmlSystemGetCudaDriverVersion_v2"),
        "devices": [_device(nvml, index) for index in range(count or 0)],
        "error": None if count is not None else "; ".join(ask.errors),
    }
    ask("nvmlShutdown")
    return answer


def _device(nvml: Any, index: int) -> dict[str, Any]:  # noqa: ANN401
    ask = Asker(nvml)
    handle = ask("nvmlDeviceGetHandleByIndex", index)
    if handle is None:
        return {"error": "; ".join(ask.errors)}
    capability = ask("nvmlDeviceGetCudaComputeCapability", handle)
    pci = ask("nvmlDeviceGetPciInfo", handle)
    mig = ask("nvmlDeviceGetMigMode", handle)
    device = {
        "name": ask("nvmlDeviceGetName", handle),
        "sm": f"{capability[0]}.{capability[1]}" if capability else None,
        "memory_mib": _memory(ask, handle),
        "compute_mode": _COMPUTE_MODES.get(ask("nvmlDeviceGetComputeMode", handle)),
        "uuid": ask("nvmlDeviceGetUUID", handle),
        "bus": _text(pci.busId) if pci is not None else None,
        "mig": bool(mig and mig[0]),
        "slices": _slices(ask, handle) if mig and mig[0] else [],
    }
    return {**device, "error": "; ".join(ask.errors) or None}


def _memory(ask: Asker, handle: Any) -> int | None:  # noqa: ANN401
    memory = ask("nvmlDeviceGetMemoryInfo", handle)
    return memory.total // _MIB if memory is not None else None


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _slices(ask: Asker, parent: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    """MIG devices of one GPU; an empty place in the numbering answers NOT_FOUND."""
    found = []
    for index in range(ask("nvmlDeviceGetMaxMigDeviceCount", parent) or 0):
        quiet = Asker(ask.nvml)
        handle = quiet("nvmlDeviceGetMigDeviceHandleByIndex", parent, index)
        if handle is None:
            continue
        profile = re.search(r"MIG (\S+)$", quiet("nvmlDeviceGetName", handle) or "")
        found.append(
            {
                "uuid": quiet("nvmlDeviceGetUUID", handle),
                "profile": profile.group(1) if profile else None,
                "memory_mib": _memory(quiet, handle),
                "gi": quiet("nvmlDeviceGetGpuInstanceId", handle),
                "ci": quiet("nvmlDeviceGetComputeInstanceId", handle),
            }
        )
    return found


def cuda_of(path: str) -> int | None:
    """CUDA version a driver library supports, 12040 for 12.4; needs no device and starts none."""
    try:
        version = ctypes.c_int(0)
        status = ctypes.CDLL(path).cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return None
    return version.value if status == 0 else None


def cuda_order(path: str) -> list[str] | None:
    """PCI addresses in CUDA's own numbering: by default the fastest model comes first."""
    try:
        driver = ctypes.CDLL(path)
        count = ctypes.c_int(0)
        if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
            return None
        return [_pci_address(driver, ordinal) for ordinal in range(count.value)]
    except (OSError, AttributeError):
        return None


def _pci_address(driver: ctypes.CDLL, ordinal: int) -> str:
    device = ctypes.c_int(0)
    text = ctypes.create_string_buffer(64)
    driver.cuDeviceGet(ctypes.byref(device), ordinal)
    driver.cuDeviceGetPCIBusId(text, len(text), device)
    return text.value.decode("ascii", "replace")


def _mixed(devices: list[dict[str, Any]]) -> bool:
    plain = not any(device.get("mig") for device in devices)
    return plain and len({device.get("name") for device in devices}) > 1


def main(control: Path) -> None:
    """Answer request.json with answer.json."""
    request = json.loads((control / "request.json").read_text(encoding="utf-8"))
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # all devices are numbered here
    sys.path.append(request["pynvml"])
    try:
        nvml = read_nvml(importlib.import_module("pynvml"))
    except ImportError as error:
        nvml = {"error": str(error), "driver": None, "cuda": None, "devices": []}
    libraries = request["libcuda"]
    by_pci = os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    answer = {
        "nvml": nvml,
        "cuda": {path: cuda_of(path) for path in libraries},
        "order": cuda_order(libraries[0])
        if libraries and not by_pci and _mixed(nvml["devices"])
        else None,
    }
    partial = control / "answer.partial"
    partial.write_text(json.dumps(answer), encoding="utf-8")
    partial.rename(control / "answer.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
