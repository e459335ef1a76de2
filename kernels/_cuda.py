"""The CUDA driver through ctypes: devices, memory, PTX that the driver compiles. No torch.

Values of the enumerations: cuda.h, the same from CUDA 10 to 13. Python 3.8 syntax, standard library
only.
"""

# ruff: noqa: ANN401 - ctypes libraries have no types

from __future__ import annotations

import ctypes
import os
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

OUT_OF_MEMORY, NO_DEVICE, INVALID_DEVICE, DEVICE_UNAVAILABLE = 2, 100, 101, 46  # CUresult
SM_MAJOR, SM_MINOR, COMPUTE_MODE = 75, 76, 20  # CUdevice_attribute
COMPUTE_MODES = {0: "DEFAULT", 2: "PROHIBITED", 3: "EXCLUSIVE_PROCESS"}  # CUcomputemode
JIT_INFO, JIT_INFO_SIZE, JIT_ERROR, JIT_ERROR_SIZE, JIT_VERBOSE = 3, 4, 5, 6, 12  # CUjit_option
LOG_BYTES = 4096

MEANINGS: Dict[int, Tuple[str, str]] = {
    3: ("driver-broken", "the driver shut down: a fork after CUDA had started shows it too"),
    221: ("jit-compiler-missing", "libnvidia-ptxjitcompiler of the driver is not to be found"),
    222: ("ptx-newer-than-driver", "the PTX is of a newer version than the driver reads"),
    802: ("fabric-not-ready", "the system is not ready: NVSwitch hosts need nvidia-fabricmanager"),
    803: ("driver-mismatch", "the user-space driver is of another version than the kernel module"),
    804: ("compat-not-supported", "the cuda-compat driver library does not serve this GPU"),
    999: ("driver-broken", "the driver says no more than that"),
}
"""CUresult -> the code of an outcome and its meaning (CUDA Driver API, CUresult; for 804 also CUDA
Compatibility, "Forward Compatibility", for 802 the Fabric Manager guide)."""


class DriverError(RuntimeError):
    """A CUDA driver call failed; ``status`` is the CUresult, ``log`` what the compiler said."""

    def __init__(self, call: str, status: int, name: str, log: str = "") -> None:
        said = ": " + " ".join(log.split()) if log else ""
        super().__init__("{} answered {} ({}){}".format(call, name, status, said))
        self.status = status
        self.log = log


class Jitted(NamedTuple):
    """A kernel that the driver compiled from PTX, and what its compiler said about that."""

    module: Any
    function: Any
    log: str


def open_driver() -> Any:
    """Load the CUDA driver. Raises OSError with the loader's words when there is none."""
    return ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")


def acquire(made: Any, index: int, phase: Callable[[str], None]) -> "Device":
    """Open a device; ``made`` is the module _outcomes. Raises what ``plain`` makes of errors."""
    phase("loading the CUDA driver")
    try:
        driver = open_driver()
    except OSError as error:
        raise made.Skipped("no-gpu", "no CUDA driver: {}".format(error)) from None
    phase("opening device {}".format(index))
    try:
        return Device(driver, index)
    except DriverError as error:
        raise plain(made, error) from None


def plain(made: Any, error: DriverError) -> BaseException:
    """Say what a status of the driver means: Skipped, Refused, MemoryError, or the error itself."""
    if error.status in (NO_DEVICE, INVALID_DEVICE):
        return made.Skipped("no-gpu", "no such CUDA device: {}".format(error))  # type: ignore[no-any-return]
    if error.status == DEVICE_UNAVAILABLE:
        text = "another process has the GPU to itself, or nobody may use it: {}".format(error)
        return made.Skipped("gpu-busy", text)  # type: ignore[no-any-return]
    if error.status == OUT_OF_MEMORY:
        return MemoryError(str(error))
    if error.status in MEANINGS:
        code, meaning = MEANINGS[error.status]
        return made.Refused(code, "{}: {}".format(error, meaning))  # type: ignore[no-any-return]
    return error


class Device:
    """A CUDA device with its primary context current, and plain allocations on it."""

    def __init__(self, driver: Any, index: int) -> None:
        self._driver = driver
        self._call("cuInit", 0)
        handle, context = ctypes.c_int(), ctypes.c_void_p()
        self._call("cuDeviceGet", ctypes.byref(handle), index)
        self._handle = handle
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), handle)
        self._call("cuCtxSetCurrent", context)
        self._blocks: List[Tuple[ctypes.c_void_p, int]] = []
        self._held = 0
        self.most_held = 0  # bytes

    @property
    def sm(self) -> str:
        """Compute capability, such as ``9.0``."""
        return "{}.{}".format(self._attribute(SM_MAJOR), self._attribute(SM_MINOR))

    @property
    def name(self) -> str:
        """The model's name, such as ``NVIDIA H100``."""
        text = ctypes.create_string_buffer(128)
        self._call("cuDeviceGetName", text, 128, self._handle)
        return text.value.decode(errors="replace")

    @property
    def compute_mode(self) -> str:
        """Who may use it: DEFAULT, EXCLUSIVE_PROCESS or PROHIBITED."""
        mode = self._attribute(COMPUTE_MODE)
        return COMPUTE_MODES.get(mode, "mode {}".format(mode))

    @property
    def cuda(self) -> str:
        """The newest CUDA that the driver serves, such as ``13.0``."""
        version = ctypes.c_int()
        self._call("cuDriverGetVersion", ctypes.byref(version))
        return "{}.{}".format(version.value // 1000, version.value % 1000 // 10)

    @property
    def memory(self) -> Tuple[int, int]:
        """Bytes of device memory: free now, and in all."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def empty(self, size: int) -> ctypes.c_void_p:
        """Allocate ``size`` bytes on the device, zeroed (padding must be defined)."""
        block = ctypes.c_void_p()
        self._call("cuMemAlloc_v2", ctypes.byref(block), ctypes.c_size_t(size))
        self._blocks.append((block, size))
        self._held += size
        self.most_held = max(self.most_held, self._held)
        self._call("cuMemsetD8_v2", block, ctypes.c_ubyte(0), ctypes.c_size_t(size))
        return block

    def put(self, data: bytes) -> ctypes.c_void_p:
        """Copy bytes to the device."""
        block = self.empty(len(data))
        self._call("cuMemcpyHtoD_v2", block, data, ctypes.c_size_t(len(data)))
        return block

    def copy(self, block: ctypes.c_void_p, size: int) -> ctypes.c_void_p:
        """Copy ``size`` bytes of one block into a new one, on the device."""
        other = self.empty(size)
        self._call("cuMemcpyDtoD_v2", other, block, ctypes.c_size_t(size))
        return other

    def get(self, block: ctypes.c_void_p, size: int) -> bytes:
        """Wait for the device, then copy ``size`` bytes back."""
        self._call("cuCtxSynchronize")
        data = ctypes.create_string_buffer(size)
        self._call("cuMemcpyDtoH_v2", data, block, ctypes.c_size_t(size))
        return data.raw

    def synchronize(self) -> None:
        """Wait for the device; raises DriverError for what failed on it."""
        self._call("cuCtxSynchronize")

    def free(self) -> None:
        """Free every allocation made here."""
        while self._blocks:
            block, size = self._blocks.pop()
            self._held -= size
            self._call("cuMemFree_v2", block)

    def jit(self, ptx: str, entry: str) -> Jitted:
        """Let the driver compile PTX for this device, and find one kernel in it.

        Raises DriverError with ``log``: the words of the driver's own compiler.
        """
        info, wrong = (ctypes.create_string_buffer(LOG_BYTES) for _ in range(2))
        wanted = [
            (JIT_INFO, ctypes.addressof(info)), (JIT_INFO_SIZE, LOG_BYTES),
            (JIT_ERROR, ctypes.addressof(wrong)), (JIT_ERROR_SIZE, LOG_BYTES), (JIT_VERBOSE, 1),
        ]  # fmt: skip
        options = (ctypes.c_int * len(wanted))(*[option for option, _ in wanted])
        values = (ctypes.c_void_p * len(wanted))(*[value for _, value in wanted])
        module, function = ctypes.c_void_p(), ctypes.c_void_p()
        text = ctypes.create_string_buffer(ptx.encode())
        status = self._driver.cuModuleLoadDataEx(
            ctypes.byref(module), text, len(wanted), options, values
        )
        if status:
            said = wrong.value.decode(errors="replace")
            raise DriverError("cuModuleLoadDataEx", status, self._error_name(status), said)
        self._call("cuModuleGetFunction", ctypes.byref(function), module, entry.encode())
        return Jitted(module, function, info.value.decode(errors="replace"))

    def launch(self, kernel: Jitted, blocks: int, threads: int, arguments: Sequence[Any]) -> None:
        """Launch a compiled kernel on the null stream; arguments are ctypes values."""
        pointers = [ctypes.cast(ctypes.pointer(one), ctypes.c_void_p) for one in arguments]
        packed = (ctypes.c_void_p * len(pointers))(*[one.value for one in pointers])
        self._call(
            "cuLaunchKernel", kernel.function, blocks, 1, 1, threads, 1, 1, 0, None, packed, None
        )

    def unload(self, kernel: Jitted) -> None:
        """Give back the code of a compiled kernel."""
        self._call("cuModuleUnload", kernel.module)

    def _attribute(self, which: int) -> int:
        value = ctypes.c_int()
        self._call("cuDeviceGetAttribute", ctypes.byref(value), which, self._handle)
        return value.value

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._driver, name)(*arguments)
        if status:
            raise DriverError(name, status, self._error_name(status))

    def _error_name(self, status: int) -> str:
        text = ctypes.c_char_p()
        self._driver.cuGetErrorName(status, ctypes.byref(text))
        return (text.value or b"unknown error").decode()
