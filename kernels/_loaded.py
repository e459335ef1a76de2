"""Machine code on the GPU that torch computes on: loaded and launched by the CUDA driver.

The driver works in the context that is current in the calling thread. torch makes one current only
when it needs it: in a thread that has got a tensor and asked for nothing yet, none is. Names and
values: cuda.h, CUDA 12 and 13. Python 3.8 syntax, standard library only. Loaded by path.
"""

# ruff: noqa: ANN401 - ctypes libraries have no types

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
from typing import Any, Set

SHARED_BYTES = 8
"""CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES"""
OVERLAP = 6
"""CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION"""


class Attribute(ctypes.Structure):
    """CUlaunchAttribute."""

    _fields_ = [("id", ctypes.c_int), ("pad", ctypes.c_int), ("value", ctypes.c_int * 16)]


class Launch(ctypes.Structure):
    """CUlaunchConfig."""

    _fields_ = [
        *((name, ctypes.c_uint) for name in ("grid", "y", "z", "threads", "v", "w", "shared")),
        ("stream", ctypes.c_void_p), ("attributes", ctypes.c_void_p), ("count", ctypes.c_uint),
    ]  # fmt: skip


_OVERLAP = Attribute(OVERLAP, 0, (ctypes.c_int * 16)(1))


def early(blocks: int, threads: int, shared: int) -> Launch:
    """Describe a launch that starts before its predecessor has ended; its stream is to be set."""
    at = ctypes.addressof(_OVERLAP)
    return Launch(blocks, 1, 1, threads, 1, 1, shared, None, at, 1)


class DriverError(RuntimeError):
    """A call of the CUDA driver failed."""


settling = threading.RLock()
"""Held while something is compiled, loaded or proven: one thread does it, others find it done."""


class _Here(threading.local):
    """What a thread has entered."""

    def __init__(self) -> None:
        self.devices: Set[int] = set()


here = _Here()
"""``here.devices``: GPUs of which a context was current in this thread."""


def enter(index: int) -> None:
    """Make a GPU's context current, where none is: for launches of others who need one.

    To be asked where the index is not in ``here.devices``; a negative one is no GPU.
    """
    if index >= 0:
        with contextlib.suppress(OSError, AttributeError, DriverError):  # then the launch says so
            Driver(index).make_current()
    here.devices.add(index)


class Driver:
    """The CUDA driver for one GPU, by torch's number for it, which is the driver's own."""

    def __init__(self, index: int, library: Any = None) -> None:
        """Open the driver. Raises OSError without one."""
        self._library = library or ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
        self._index = index
        self._context: Any = None

    @functools.cached_property
    def launch(self) -> Any:
        """The function cuLaunchKernelEx; where its status is not 0, ``launch_again``.

        Raises AttributeError where the driver is too old to have it.
        """
        return self._library.cuLaunchKernelEx

    def function(self, code: bytes, name: str, shared: int) -> Any:
        """Load a cubin, return its function of that name, with shared memory of so many bytes.

        Raises DriverError.
        """
        self.make_current()
        module, function = ctypes.c_void_p(), ctypes.c_void_p()
        self.ask("cuModuleLoadData", ctypes.byref(module), code)
        self.ask("cuModuleGetFunction", ctypes.byref(function), module, name.encode())
        self.ask("cuFuncSetAttribute", function, SHARED_BYTES, shared)
        return function

    def launch_again(self, status: int, *arguments: Any) -> None:
        """Launch once more, if it failed for want of a context. Raises DriverError."""
        if self.make_current():
            status = self.launch(*arguments)
        if status:
            raise DriverError(self._words("cuLaunchKernelEx", status))

    def ask(self, function: str, *arguments: Any) -> None:
        """Call a function of the driver. Raises DriverError unless it succeeds."""
        status = getattr(self._library, function)(*arguments)
        if status:
            raise DriverError(self._words(function, status))

    def make_current(self) -> bool:
        """Make torch's context current in this thread; say whether it was not.

        That is the GPU's primary context, which torch retains too. Raises DriverError.
        """
        if self._is_current():
            return False
        if self._context is None:  # kept for as long as the process lives, as torch keeps it
            device, context = ctypes.c_int(), ctypes.c_void_p()
            self.ask("cuInit", 0)
            self.ask("cuDeviceGet", ctypes.byref(device), self._index)
            self.ask("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
            self._context = context
        self.ask("cuCtxSetCurrent", self._context)
        return True

    def _is_current(self) -> bool:
        """Say whether a context of this GPU is current; without any, the driver refuses to say."""
        device, own = ctypes.c_int(), ctypes.c_int()
        status = self._library.cuCtxGetDevice(ctypes.byref(device))
        status = status or self._library.cuDeviceGet(ctypes.byref(own), self._index)
        return not status and device.value == own.value

    def _words(self, function: str, status: int) -> str:
        text = ctypes.c_char_p()
        self._library.cuGetErrorName(status, ctypes.byref(text))
        return "{} answered {}".format(function, (text.value or b"unknown error").decode())
