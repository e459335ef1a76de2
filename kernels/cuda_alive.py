"""Is CUDA alive: the driver, a context, a copy there and back, and PTX that the driver compiles?

No torch, no toolkit: libcuda by ctypes, so it answers in a fraction of a second in any interpreter.
``context`` opens the device, ``copy`` sends a pattern through its memory, ``ptx-jit`` lets the
driver compile a five-line kernel, launches it and asks for the newest PTX that the driver reads.
"""

# ruff: noqa: ANN401, BLE001 - ctypes libraries have no types, and any error is an answer
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import array
import ctypes
import hashlib
import importlib.util
import operator
import os
import re
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

PROBE = {  # type: Dict[str, Any]
    "name": "cuda_alive",
    "title": "CUDA: driver, context, a copy, PTX compiled by the driver",
    "needs": ["gpu"],
    "modes": ["run"],
    "seconds": 30,
    "memory_mib": 2048,
    "quick": True,
    "variants": ["context", "copy", "ptx-jit"],
    "tolerance": 0.0,
    "gpu_mib": 8,
    "imports": [],
}

COPIED = 2 << 20
PTX_VERSION, PTX_TARGET = "3.0", "sm_30"
"""The oldest that Kepler needs: a driver reads PTX of every version up to its own (CUDA C++
Programming Guide, "PTX Compatibility") and compiles it for any newer GPU. That CUDA 13 no longer
compiles *for* Maxwell to Volta does not touch it: ptxas 12.8 and 13.1 assemble this text for sm_75,
sm_90 and sm_120 alike."""
PTX_UNHEARD_OF = "99.9"
NEWEST = re.compile(r"current version is '(\d+\.\d+)'")
"""What ptxas says of a .version that it does not know; the driver's compiler is the same one."""
BLOCKS, THREADS = 4, 64
FACTOR, OFFSET = 2654435761, 40503

PTX = """
.version {version}
.target {target}
.address_size 64
.visible .entry fill(.param .u64 out, .param .u32 factor, .param .u32 offset)
{{
    .reg .u64 %at<4>;
    .reg .u32 %r<8>;
    ld.param.u64 %at1, [out];
    ld.param.u32 %r1, [factor];
    ld.param.u32 %r2, [offset];
    mov.u32 %r3, %ctaid.x;
    mov.u32 %r4, %ntid.x;
    mov.u32 %r5, %tid.x;
    mad.lo.u32 %r6, %r3, %r4, %r5;
    mad.lo.u32 %r7, %r6, %r1, %r2;
    mul.wide.u32 %at2, %r6, 4;
    add.u64 %at3, %at1, %at2;
    st.global.u32 [%at3], %r7;
    ret;
}}
"""
"""out[i] = i * factor + offset in 32 bits, i counting all threads; five lines of arithmetic."""


def phase(text: str) -> None:
    """Say what is under way; the harness puts its own in this place."""


def run(request: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """Yield one outcome a variant. Request: device, ptx_version (another than 3.0)."""
    made, cuda = _beside("_outcomes"), _beside("_cuda")
    index = int(request.get("device") or 0)
    fields: Dict[str, Any] = {"device": "cuda:{}".format(index)}
    # A compiler whose answer comes from a cache says nothing; read by the driver when it starts.
    os.environ["CUDA_CACHE_DISABLE"] = "1"
    started = time.perf_counter()
    try:
        device = cuda.acquire(made, index, phase)
        opened = time.perf_counter() - started
        yield _context(made, device, opened, dict(fields, variant="context"))
    except Exception as error:
        for variant in PROBE["variants"]:
            yield made.from_error(_plain(error), variant=variant, **fields)
        return
    version = str(request.get("ptx_version") or PTX_VERSION)
    yield _answered(device, "copy", fields, lambda known: _copied(made, device, known))
    jitted = lambda known: _jitted(made, device, version, known)  # noqa: E731 - it is passed on
    yield _answered(device, "ptx-jit", fields, jitted)


def pattern(size: int) -> bytes:
    """Return ``size`` bytes, always the same, that a block out of its place would not match."""
    return hashlib.shake_128(b"a copy there and back").digest(size)


def reference(count: int) -> List[int]:
    """Compute what the kernel writes, in Python's integers."""
    return [(i * FACTOR + OFFSET) & 0xFFFFFFFF for i in range(count)]


def _context(made: Any, device: Any, seconds: float, fields: Dict[str, Any]) -> Dict[str, Any]:
    free, total = device.memory
    fields["evidence"] = [
        "{}, SM {}".format(device.name, device.sm),
        "compute mode {}".format(device.compute_mode),
    ]
    fields["numbers"] = {
        "milliseconds": seconds * 1000,
        "free_mib": free >> 20,
        "total_mib": total >> 20,
        "driver_cuda": float(device.cuda),
    }
    fields["path_taken"] = "libcuda: cuDevicePrimaryCtxRetain"
    detail = "a context on {}; the driver serves CUDA {}".format(device.name, device.cuda)
    return made.outcome("passed", detail, **fields)


def _answered(
    device: Any, variant: str, fields: Dict[str, Any], body: Callable[[Any], Dict[str, Any]]
) -> Dict[str, Any]:
    """Turn whatever ``body`` raises into an outcome, and free what it allocated."""
    fields = dict(fields, variant=variant)
    try:
        return body(fields)
    except Exception as error:
        return _beside("_outcomes").from_error(_plain(error), **fields)
    finally:
        _quietly(device.free)


def _copied(made: Any, device: Any, fields: Dict[str, Any]) -> Dict[str, Any]:
    """Send a pattern to the device, copy it there, and bring it back."""
    phase("copying")
    sent = pattern(COPIED)
    block = device.put(sent)
    device.synchronize()
    started = time.perf_counter()
    got = device.get(device.copy(block, COPIED), COPIED)
    seconds = time.perf_counter() - started
    differing = 0 if got == sent else sum(map(operator.ne, sent, got))
    fields["path_taken"] = "cuMemcpyHtoD, DtoD, DtoH"
    fields["numbers"] = {
        "max_abs_error": differing,
        "tolerance": 0,
        "bytes": COPIED,
        "milliseconds": seconds * 1000,
        "gpu_mib": device.most_held / (1 << 20),
    }
    if differing:
        detail = "{} of {} bytes came back changed".format(differing, COPIED)
        return made.outcome("wrong", detail, code="wrong-value", **fields)
    return made.outcome("passed", "{} bytes came back as they went".format(COPIED), **fields)


def _jitted(made: Any, device: Any, version: str, fields: Dict[str, Any]) -> Dict[str, Any]:
    """Compile the kernel through the driver, launch it, compare every value."""
    phase("compiling PTX {}".format(version))
    started = time.perf_counter()
    kernel = device.jit(PTX.format(version=version, target=PTX_TARGET), "fill")
    seconds = time.perf_counter() - started
    fields["evidence"] = ["the driver's compiler: " + " ".join(kernel.log.split())]
    phase("launching what the driver compiled")
    count = BLOCKS * THREADS
    block = device.empty(4 * count)
    arguments = [block, ctypes.c_uint32(FACTOR), ctypes.c_uint32(OFFSET)]
    device.launch(kernel, BLOCKS, THREADS, arguments)
    got = array.array("I", device.get(block, 4 * count)).tolist()
    wanted = reference(count)
    differing = sum(map(operator.ne, wanted, got))
    newest, words = _newest(device)
    fields["evidence"].append(words)
    fields["path_taken"] = "cuModuleLoadDataEx: PTX {} for {}".format(version, PTX_TARGET)
    fields["numbers"] = {
        "max_abs_error": differing, "tolerance": 0, "values": count,
        "milliseconds": seconds * 1000, **newest,
    }  # fmt: skip
    if differing:
        detail = "{} of {} values differ, the first is {}".format(differing, count, got[0])
        return made.outcome("wrong", detail, code="wrong-value", **fields)
    return made.outcome("passed", "{} values, bit for bit; {}".format(count, words), **fields)


def _newest(device: Any) -> Tuple[Dict[str, float], str]:
    """Learn the newest PTX that this driver reads: its refusal names it, and it must then work."""
    cuda = _beside("_cuda")
    phase("asking for the newest PTX")
    try:
        device.unload(device.jit(PTX.format(version=PTX_UNHEARD_OF, target=PTX_TARGET), "fill"))
    except cuda.DriverError as error:
        said = NEWEST.search(error.log)
        if said is None:
            return {}, "the driver does not say which PTX is its newest: {}".format(error)
    else:
        return {}, "the driver takes PTX {} too".format(PTX_UNHEARD_OF)
    version = said.group(1)
    try:
        device.unload(device.jit(PTX.format(version=version, target=PTX_TARGET), "fill"))
    except cuda.DriverError as error:
        return {}, "the driver names PTX {} its newest, and refuses it: {}".format(version, error)
    return {"ptx_newest": float(version)}, "the newest PTX it reads is {}".format(version)


def _plain(error: Exception) -> BaseException:
    cuda = _beside("_cuda")
    if isinstance(error, cuda.DriverError):
        return cuda.plain(_beside("_outcomes"), error)
    return error


def _quietly(action: Callable[[], None]) -> None:
    """Give memory back where the context still lives; after a failed launch it does not."""
    cuda = _beside("_cuda")
    try:
        action()
    except cuda.DriverError:
        return


def _beside(name: str) -> Any:
    module = sys.modules.get("qdoctor_kernel_" + name)
    if module is None:
        path = Path(__file__).resolve().with_name(name + ".py")
        spec = importlib.util.spec_from_file_location("qdoctor_kernel_" + name, str(path))
        module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        sys.modules[spec.name] = module  # type: ignore[union-attr]
        spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


if __name__ == "__main__":
    raise SystemExit(_beside("_harness").by_hand(__file__))
