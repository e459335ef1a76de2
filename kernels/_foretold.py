"""What imports may ask of the GPU before CUDA is started, which a fork would not survive.

While packages are imported, questions that would start CUDA are answered from what the driver told
the engine. Every child holds those answers against its own GPU before it goes on. Part of
``_zygote.py``: Python 3.8 syntax, standard library only.
"""

# ruff: noqa: ANN401 - modules of the examined interpreter have no types

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

_NOT_INITIALIZED = 3
"""CUDA_ERROR_NOT_INITIALIZED (CUDA driver API): what every call but cuInit answers before it."""


class Foretold:
    """What imports asked of the GPU, and what they were told without CUDA being started."""

    def __init__(self, capabilities: List[List[int]]) -> None:
        self.capabilities = capabilities
        self.told: Dict[int, Tuple[int, int]] = {}
        self.available: Optional[bool] = None
        self.speaking = False
        self._properties = None  # type: Any
        self._is_available = None  # type: Any

    def begin(self, torch: Any) -> None:
        """Answer for ``torch.cuda`` from here on. Needs what every torch with CUDA has."""
        cuda = getattr(torch, "cuda", None)
        if cuda is None or not hasattr(cuda, "get_device_properties"):
            return
        self._properties, self._is_available = cuda.get_device_properties, cuda.is_available
        self.speaking = True
        cuda.get_device_properties, cuda.is_available = self.properties, self.is_available

    def properties(self, device: Any = None) -> Any:
        """Stand in for torch.cuda.get_device_properties."""
        if not self.speaking:
            return self._properties() if device is None else self._properties(device)
        number = 0 if device is None else getattr(device, "idx", getattr(device, "index", device))
        if not isinstance(number, int) or not 0 <= number < len(self.capabilities):
            return self._properties(device)
        major, minor = self.capabilities[number]
        self.told[number] = (major, minor)
        return _Properties(self._properties, number, major, minor)

    def is_available(self) -> bool:
        """Stand in for torch.cuda.is_available; before CUDA starts torch asks NVML."""
        answer = bool(self._is_available())
        if self.speaking:
            self.available = answer
        return answer

    def end(self) -> None:
        """Let torch answer for itself again."""
        if self._properties is None:
            return
        self.speaking = False
        cuda = sys.modules["torch"].cuda
        if cuda.get_device_properties == self.properties:
            cuda.get_device_properties = self._properties
        if cuda.is_available == self.is_available:
            cuda.is_available = self._is_available

    def held_true(self) -> bool:
        """Whether the GPU says what was foretold; starts CUDA where anything was."""
        if self.available is not None and bool(self._is_available()) != self.available:
            return False
        for number, told in self.told.items():
            found = self._properties(number)
            if (found.major, found.minor) != told:
                return False
        return True


class _Properties:
    """A device's properties: two are known; whoever asks for another starts CUDA after all."""

    def __init__(self, ask: Any, number: int, major: int, minor: int) -> None:
        self._ask, self._number, self.major, self.minor = ask, number, major, minor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ask(self._number), name)


def cuda_started() -> bool:
    """Whether this process has called cuInit; asks the driver, and only where it is loaded."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if getattr(cuda, "_initialized", False):
        return True
    try:
        maps = Path("/proc/self/maps").read_text(errors="replace")
    except OSError:
        return True  # it cannot be told, so it is not taken for granted
    places = {line.split(None, 5)[-1] for line in maps.splitlines() if "/libcuda.so" in line}
    for place in places:
        try:
            status = ctypes.CDLL(place).cuDeviceGetCount(ctypes.byref(ctypes.c_int()))
        except (OSError, AttributeError):
            return True
        if status != _NOT_INITIALIZED:
            return True
    return False
