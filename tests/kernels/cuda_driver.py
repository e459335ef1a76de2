"""A pretended CUDA driver, as far as loading and launching ask it."""

# ruff: noqa: ANN401 - what is handed to a driver is ctypes'

from __future__ import annotations

import ctypes
import threading
from typing import Any


class CudaDriver:
    """A CUDA driver of one GPU, number 0, as far as launching asks it: what happens is noted.

    A context is current in a thread or not; without one it loads and launches nothing.
    """

    def __init__(self) -> None:
        self.maps: list[tuple[int, ...]] = []
        self.launches: list[tuple[Any, list[Any]]] = []
        """Of each: the configuration (a copy), and every parameter's first 8 bytes."""
        self.calls: list[str] = []
        self.structure: tuple[int, Any] | None = None
        """Which parameter is a structure, and of what type."""
        self.structures: list[Any] = []
        """Of each launch, a copy of it."""
        self.held = 1 << 20
        """Clusters that the GPU holds at once."""
        self.status = 0
        self.started = False
        self.contexts: dict[int, int | None] = {}
        """By thread: the GPU whose context is current."""

    def _refusal(self) -> int:
        if not self.started:
            return 3  # CUDA_ERROR_NOT_INITIALIZED
        return 0 if self.contexts.get(threading.get_ident()) == 0 else 201  # INVALID_CONTEXT

    def cuInit(self, _flags: int) -> int:  # noqa: N802
        self.calls.append("cuInit")
        self.started = True
        return 0

    def cuDeviceGet(self, device: Any, index: int) -> int:  # noqa: N802
        device._obj.value = index
        return 0 if self.started else 3

    def cuCtxGetDevice(self, device: Any) -> int:  # noqa: N802
        current = self.contexts.get(threading.get_ident())
        if not self.started or current is None:
            return 201 if self.started else 3
        device._obj.value = current
        return 0

    def cuDevicePrimaryCtxRetain(self, context: Any, device: Any) -> int:  # noqa: N802
        self.calls.append("cuDevicePrimaryCtxRetain")
        context._obj.value = 0xC0 + device.value
        return 0 if self.started else 3

    def cuCtxSetCurrent(self, context: Any) -> int:  # noqa: N802
        self.calls.append("cuCtxSetCurrent")
        self.contexts[threading.get_ident()] = context.value - 0xC0
        return 0

    def cuModuleLoadData(self, module: Any, code: bytes) -> int:  # noqa: N802
        self.calls.append("cuModuleLoadData")
        assert code.startswith(b"\x7fELF")
        module._obj.value = 0xA0
        return self._refusal()

    def cuModuleGetFunction(self, function: Any, _module: Any, _name: bytes) -> int:  # noqa: N802
        function._obj.value = 0xB0
        return self._refusal()

    def cuFuncSetAttribute(self, _function: Any, attribute: int, value: int) -> int:  # noqa: N802
        assert (attribute, value > 0) == (8, True)
        return self._refusal()

    def cuOccupancyMaxActiveClusters(self, count: Any, _function: Any, launch: Any) -> int:  # noqa: N802
        assert launch._obj.count == 0  # the cluster's size is the kernel's own
        count._obj.value = self.held
        return self._refusal()

    def cuTensorMapEncodeTiled(  # noqa: N802
        self, at: Any, kind: int, rank: int, pointer: Any, *more: Any
    ) -> int:
        sizes, strides, box, _, _, swizzle, _, _ = more
        assert (at.value % 64, rank) == (0, 2)
        self.maps.append((kind, pointer.value, *sizes, *strides, *box, swizzle))
        return 0

    def cuLaunchKernelEx(self, launch: Any, _function: Any, parameters: Any, _: None) -> int:  # noqa: N802
        refusal = self._refusal()
        if refusal or self.status:
            return refusal or self.status
        assert launch._obj.count == 1
        given = [at for at in parameters[1:] if at]
        values = [ctypes.cast(at, ctypes.POINTER(ctypes.c_uint64))[0] for at in given]
        if self.structure:
            at, kind = self.structure
            self.structures.append(kind.from_buffer_copy(kind.from_address(parameters[at])))
        self.launches.append((type(launch._obj).from_buffer_copy(launch._obj), values))
        return 0

    def cuGetErrorName(self, status: int, text: Any) -> int:  # noqa: N802
        names = {3: b"CUDA_ERROR_NOT_INITIALIZED", 201: b"CUDA_ERROR_INVALID_CONTEXT"}
        text._obj.value = names.get(status, b"CUDA_ERROR_LAUNCH_FAILED")
        return 0
