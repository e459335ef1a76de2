"""Driver and GPUs from NVML, in this process: where the kernel's files do not tell them.

Windows, WSL, gVisor. NVML creates no CUDA context. It is asked without pynvml, whose import alone
takes as long as the question. Source: NVML API Reference Guide.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys

from qdoctor.choosing.devices import Device, Hardware

_PLACES = (
    ("nvml.dll",)
    if sys.platform == "win32"
    else ("libnvidia-ml.so.1", "/usr/lib/wsl/lib/libnvidia-ml.so.1")
)
_TEXT = 96  # NVML_DEVICE_NAME_V2_BUFFER_SIZE
_UNKNOWN = "the driver does not answer"


class _Pci(ctypes.Structure):
    """nvmlPciInfo_t of the functions ``_v3``."""

    _fields_ = (
        ("bus_id_legacy", ctypes.c_char * 16),
        ("domain", ctypes.c_uint),
        ("bus", ctypes.c_uint),
        ("device", ctypes.c_uint),
        ("device_id", ctypes.c_uint),
        ("subsystem_id", ctypes.c_uint),
        ("bus_id", ctypes.c_char * 32),
    )


def hardware() -> Hardware:
    """Ask NVML; a library that is missing or refuses gives a driver that does not answer."""
    library = _library()
    if library is None:
        return Hardware("", [])
    try:
        if library.nvmlInit_v2():
            return Hardware(_UNKNOWN, [])
        try:
            return _asked(library)
        finally:
            library.nvmlShutdown()
    except AttributeError:  # a function that an old driver lacks
        return Hardware(_UNKNOWN, [])


def _library() -> ctypes.CDLL | None:
    for place in _PLACES:
        with contextlib.suppress(OSError):
            return ctypes.CDLL(place)
    return None


def _asked(library: ctypes.CDLL) -> Hardware:
    version = ctypes.create_string_buffer(_TEXT)
    library.nvmlSystemGetDriverVersion(version, _TEXT)
    count = ctypes.c_uint(0)
    library.nvmlDeviceGetCount_v2(ctypes.byref(count))
    read = [_device(library, index) for index in range(count.value)]
    driver = version.value.decode("utf-8", "replace")
    return Hardware(driver, [one for one, _ in read], " ".join(part for _, part in read if part))


def _device(library: ctypes.CDLL, index: int) -> tuple[Device, str]:
    """Return a GPU, and its UUID where it is in MIG mode: its slices are then what CUDA numbers."""
    handle = ctypes.c_void_p()
    library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle))
    name, uuid = (ctypes.create_string_buffer(_TEXT) for _ in range(2))
    library.nvmlDeviceGetName(handle, name, _TEXT)
    library.nvmlDeviceGetUUID(handle, uuid, _TEXT)
    pci = _Pci()
    library.nvmlDeviceGetPciInfo_v3(handle, ctypes.byref(pci))
    now, pending = ctypes.c_uint(0), ctypes.c_uint(0)
    library.nvmlDeviceGetMigMode(handle, ctypes.byref(now), ctypes.byref(pending))
    called, own = (text.value.decode("utf-8", "replace") for text in (name, uuid))
    kind = f"{called} [{pci.device_id:08x} {pci.subsystem_id:08x}]"
    return Device(called, kind, own), own if now.value else ""
