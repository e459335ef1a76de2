"""Driver and GPUs where there is neither /proc nor /sys: Windows and macOS."""

from __future__ import annotations

import contextlib
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from qdoctor.facts import file_kinds
from qdoctor.facts.driver import Asked, ask_driver
from qdoctor.facts.nvidia import Hardware, number_gpus
from qdoctor.facts.toolkit import cuda_version
from qdoctor.model import Driver, Gpu

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

# The class of display adapters (Microsoft, "System-Defined Device Setup Classes").
_ADAPTERS = r"SYSTEM\CurrentControlSet\Control\Class\{4d36e968-e325-11ce-bfc1-08002be10318}"
_VENDORS = {"nvidia": "nvidia", "amd": "amd", "radeon": "amd", "intel": "intel"}


def read_windows(
    environ: Mapping[str, str],
    *,
    adapters: Callable[[], Iterator[str]] | None = None,
    ask: Callable[[Mapping[str, str], Sequence[str]], Asked] = ask_driver,
) -> Hardware:
    """Ask NVML where nvcuda.dll is installed; else name the display adapters of the registry."""
    named = [_adapter(name) for name in (adapters or registry_adapters)()]
    system = Path(environ.get("SystemRoot", r"C:\Windows")) / "System32"
    library = system / "nvcuda.dll"
    if not file_kinds.exists(library):
        return Hardware(Driver(version="", compat_cuda=""), [gpu for gpu in named if gpu])
    asked = ask(environ, [str(library)])
    number = asked.cuda.get(str(library)) or asked.nvml.cuda
    driver = Driver(asked.nvml.driver, cuda_version(number) if number else None, "")
    if asked.nvml.error and not asked.nvml.devices:
        return Hardware(driver, None, {"gpus": asked.nvml.error, "driver": asked.nvml.error})
    mine = number_gpus(asked.nvml.devices, asked.order, environ, Hardware(driver, []))
    others = [gpu for gpu in named if gpu and gpu.vendor != "nvidia"]
    return msgspec.structs.replace(mine, gpus=[*(mine.gpus or []), *others])


def read_macos() -> Hardware:
    """Name Apple's GPU; no NVIDIA driver exists for any macOS that runs a supported Python."""
    driver = Driver(version="", compat_cuda="")
    if platform.machine() == "arm64":
        return Hardware(driver, [Gpu(name="Apple GPU", vendor="apple", visible=False)])
    return Hardware(driver, None, {"gpus": "GPUs of Intel Macs are not looked for"})


def _adapter(name: str) -> Gpu | None:
    vendor = next((vendor for word, vendor in _VENDORS.items() if word in name.lower()), None)
    return Gpu(name=name, vendor=vendor, visible=False) if vendor else None


def registry_adapters() -> Iterator[str]:
    """Names of the display adapters that Windows has drivers for."""
    if sys.platform != "win32":
        return
    import winreg  # noqa: PLC0415 - Windows only

    with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, _ADAPTERS) as folder:
        for index in range(winreg.QueryInfoKey(folder)[0]):
            with (
                contextlib.suppress(OSError),  # a subkey that describes no adapter, or is not ours
                winreg.OpenKey(folder, winreg.EnumKey(folder, index)) as adapter,
            ):
                yield str(winreg.QueryValueEx(adapter, "DriverDesc")[0])
