"""The ways in which a probe can go wrong, one function each; ``_inject`` says when. Tests only.

Each function takes the patient, and returns None or changed outcomes, if it returns at all.
Python 3.8 syntax, standard library only: this runs inside the examined interpreter.
"""

# ruff: noqa: ANN401, ARG001 - any JSON value; every kind is called alike
# ruff: noqa: PTH123 - plain descriptors, that may be the ones that break

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, List, NamedTuple, Optional

if TYPE_CHECKING:
    from pathlib import Path

Outcomes = List[Dict[str, Any]]

_EVER = 3600.0  # seconds: longer than any bound
_CHUNK = 16 << 20
_FLOOD = 48 << 20  # bytes: hundreds of times what a pipe holds
_ILLEGAL = "CUDA error: an illegal memory access was encountered"  # cudaGetErrorString(700)
_ILLEGAL_ADDRESS = 700  # CUDA_ERROR_ILLEGAL_ADDRESS
_FULL = "CUDA error: out of memory"  # cudaGetErrorString(2)

_WRITES_NOWHERE = b"""
.version 6.0
.target sm_50
.address_size 64
.visible .entry nowhere() {
    .reg .u64 %a;
    .reg .u32 %v;
    mov.u64 %a, 64;
    mov.u32 %v, 1;
    st.global.u32 [%a], %v;
    ret;
}
\0"""
"""A store to an address that nobody owns: CUDA_ERROR_ILLEGAL_ADDRESS, which stays (CUDA Driver API,
CUresult 700: "any further CUDA work will return the same error")."""


said: List[str] = []
"""What was done in this process, for the evidence."""
_postponed: List[Callable[[Any], Any]] = []


class Patient(NamedTuple):
    """Whom it hits: ``outcomes`` are those that are known at the stage ``answer``."""

    stage: str
    probe: str
    control: Path
    outcomes: Outcomes


Kind = Callable[[Patient], Optional[Outcomes]]


def segfault(patient: Patient) -> None:
    """Read address 0."""
    ctypes.string_at(0)


def abort(patient: Patient) -> None:
    """Abort, as a failed assertion of native code does."""
    os.abort()


def kill(patient: Patient) -> None:
    """Get SIGKILL, as from the kernel when memory runs out."""
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))


def interrupt(patient: Patient) -> None:
    """Get SIGINT, which Python turns into KeyboardInterrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(_EVER)


def stop(patient: Patient) -> None:
    """Be stopped: neither running nor ended."""
    os.kill(os.getpid(), getattr(signal, "SIGSTOP", signal.SIGTERM))


def hang(patient: Patient) -> None:
    """Wait for ever; SIGTERM ends it."""
    time.sleep(_EVER)


def hang_ignoring_sigterm(patient: Patient) -> None:
    """Wait for ever; only SIGKILL ends it."""
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    time.sleep(_EVER)


def hang_alone(patient: Patient) -> None:
    """Have all other probes stopped, as for a measurement, and wait for ever."""
    with sys.modules["qdoctor_kernel__alone"].alone():
        time.sleep(_EVER)


def linger(patient: Patient) -> None:
    """Start a thread that never ends, so that the interpreter waits for it at its end."""
    threading.Thread(target=time.sleep, args=(_EVER,), daemon=False).start()


def fork(patient: Patient) -> None:
    """Leave a grandchild that left the session, ignores SIGTERM and holds all descriptors open."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(_EVER)
    os._exit(0)


def allocate(patient: Patient) -> None:
    """Take memory, and touch it, without end."""
    taken = []
    while True:
        taken.append(bytearray(b"x") * _CHUNK)


def flood_stdout(patient: Patient) -> None:
    """Write far more than a pipe holds, then go on."""
    _flood(1)


def flood_stderr(patient: Patient) -> None:
    """Likewise on stderr, the last line being what was injected."""
    _flood(2)
    os.write(2, "injected: flood-stderr@{}\n".format(patient.stage).encode())


def fill_disk(patient: Patient) -> None:
    """Write into the control folder without end."""
    with open(str(patient.control / "filler"), "wb", buffering=0) as file:
        while True:
            file.write(b"x" * _CHUNK)


def remove_folder(patient: Patient) -> None:
    """Delete the control folder, the question and the place for the answer with it."""
    shutil.rmtree(str(patient.control))


def close_descriptors(patient: Patient) -> None:
    """Close every file, pipe and socket, then go on."""
    os.closerange(0, 4096)


def corrupt_result(patient: Patient) -> None:
    """Leave an answer that is no JSON, and end as if all were well."""
    (patient.control / "result.json").write_bytes(b"\x00\xff\xfe{]" * 100)
    os._exit(0)


def truncated_result(patient: Patient) -> None:
    """Leave the first half of an answer, and end as if all were well."""
    whole = json.dumps({"outcomes": [{"outcome": "passed", "detail": "half of it"}]})
    (patient.control / "result.json").write_text(whole[: len(whole) // 2], encoding="utf-8")
    os._exit(0)


def exit_0(patient: Patient) -> None:
    """End as if all were well, without another word."""
    os._exit(0)


def exit_3(patient: Patient) -> None:
    """End with a status of its own."""
    os._exit(3)


def slow_start(patient: Patient) -> None:
    """Lose half a second."""
    time.sleep(0.5)


def wrong_numbers(patient: Patient) -> Optional[Outcomes]:
    """Let the kernel compute what it should not."""
    return _spoil_numbers(patient, _far_off)


def nan(patient: Patient) -> Optional[Outcomes]:
    """Let the kernel compute what is no number."""
    return _spoil_numbers(patient, lambda number: number * float("nan"))


def illegal_memory_access(patient: Patient) -> None:
    """Break this process' CUDA for good: for real on a GPU, else by the words of it.

    The kernel meets it in its own next call; where that is over, it is raised here.
    """
    driver = _cuda(patient)
    if driver is None:
        raise RuntimeError(_ILLEGAL)
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    _check(driver.cuModuleLoadData(ctypes.byref(module), _WRITES_NOWHERE))
    _check(driver.cuModuleGetFunction(ctypes.byref(function), module, b"nowhere"))
    _check(driver.cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, None, None, None))
    status = driver.cuCtxSynchronize()
    if status != _ILLEGAL_ADDRESS or patient.stage in ("answer", "end"):
        _check(status)


def full_gpu(patient: Patient) -> None:
    """Take all memory of the GPU; without one, say what CUDA says then."""
    driver = _cuda(patient)
    if driver is None:
        raise RuntimeError(_FULL)
    size, block = 1 << 36, ctypes.c_void_p()
    while size >= 1 << 12:
        if driver.cuMemAlloc_v2(ctypes.byref(block), ctypes.c_size_t(size)):
            size >>= 1


def request_of(control: Path) -> Dict[str, Any]:
    """What the engine asked for; nothing where that is gone."""
    try:
        request = json.loads((control / "request.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return dict(request)


def _flood(descriptor: int) -> None:
    line = b"flooded " * 512 + b"\n"
    for _ in range(_FLOOD // len(line)):
        os.write(descriptor, line)


def _far_off(number: Any) -> Any:
    return number * 3 + 7


def _spoil_numbers(patient: Patient, spoil: Callable[[Any], Any]) -> Optional[Outcomes]:
    """Spoil the kernel's reference if it is still to compute; else what it has computed."""
    if patient.stage == "end":
        path = patient.control / "result.json"
        answer = json.loads(path.read_text(encoding="utf-8"))
        answer["outcomes"] = [
            dict(_spoilt_outcome(one, spoil), evidence=[*one["evidence"], *said])
            for one in answer["outcomes"]
        ]
        path.write_text(json.dumps(answer), encoding="utf-8")  # NaN and all
        return None
    if patient.stage == "answer":
        return [_spoilt_outcome(one, spoil) for one in patient.outcomes]
    kernel: Any = sys.modules["qdoctor_kernel_" + patient.probe]
    right = getattr(kernel, "reference", None)
    if right is None:
        _postponed.append(spoil)
        return None

    def reference(*operands: Any, **options: Any) -> Any:
        return _spoilt(right(*operands, **options), spoil)

    kernel.reference = reference
    return None


def postponed(outcomes: Outcomes) -> Outcomes:
    """Spoil, now that they are known, the numbers of a kernel that has no ``reference``."""
    for spoil in _postponed:
        outcomes = [_spoilt_outcome(one, spoil) for one in outcomes]
    return outcomes


def _spoilt_outcome(one: Dict[str, Any], spoil: Callable[[Any], Any]) -> Dict[str, Any]:
    """What a kernel that had found these numbers would have said."""
    numbers = {
        name: value if name == "tolerance" else spoil(float(value))
        for name, value in one.get("numbers", {}).items()
    }
    fields = {"outcome": "wrong", "code": "wrong-value"} if one["outcome"] == "passed" else {}
    return dict(one, numbers=numbers, **fields)


def _spoilt(value: Any, spoil: Callable[[Any], Any]) -> Any:
    """Spoil numbers, arrays and tensors, and what holds them."""
    if isinstance(value, (list, tuple)):
        return type(value)(_spoilt(one, spoil) for one in value)
    if isinstance(value, dict):
        return {name: _spoilt(one, spoil) for name, one in value.items()}
    return spoil(value)


def _cuda(patient: Patient) -> Any:
    """The driver with the probed device's primary context current; None without a GPU."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return None
    device, context = ctypes.c_int(), ctypes.c_void_p()
    number = request_of(patient.control).get("device") or 0
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), number):
        return None
    _check(driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device))
    _check(driver.cuCtxSetCurrent(context))
    return driver


def _check(status: int) -> None:
    if status == _ILLEGAL_ADDRESS:
        raise RuntimeError(_ILLEGAL)
    if status:
        text = "the injector's own CUDA call answered {}".format(status)
        raise RuntimeError(text)


KINDS: Dict[str, Kind] = {
    harm.__name__.replace("_", "-"): harm
    for harm in (
        *(segfault, abort, kill, interrupt, stop, hang, hang_ignoring_sigterm, hang_alone),
        *(linger, fork),
        *(allocate, flood_stdout, flood_stderr, fill_disk, remove_folder, close_descriptors),
        *(corrupt_result, truncated_result, exit_0, exit_3, slow_start),
        *(wrong_numbers, nan, illegal_memory_access, full_gpu),
    )
}
SPOIL_NUMBERS = ("wrong-numbers", "nan")
