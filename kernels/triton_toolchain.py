"""Can Triton build and load what it needs here: C compiler, Python.h, libcuda, ptxas, cache folder?

Triton compiles a small C extension before its first kernel runs. Its own functions say with which
command; that command is run on sources of ours, in TMPDIR, and what comes out is loaded and called.
No torch, and no GPU except for ``libcuda``. The cache folder is looked at and not written to.
"""

# ruff: noqa: ANN401, BLE001 - examined modules have no types, and any error is an answer
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import re
import subprocess  # noqa: TID251 - a compiler is a program: this kernel is about running it
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Set, Tuple

PROBE = {  # type: Dict[str, Any]
    "name": "triton_toolchain",
    "title": "What Triton builds with (C compiler, Python.h, libcuda, ptxas)",
    "needs": ["triton"],
    "compile_needs": ["triton"],
    "modes": ["run", "compile"],
    "seconds": 60,
    "memory_mib": 2048,
    "gpu_mib": 0,
    "imports": ["triton"],
    "quick": True,
    "variants": ["compiler", "headers", "libcuda", "ptxas", "cache"],
    "tolerance": 0.0,
    "sms": ["8.0", "9.0"],
}

PLAIN = "int qdoctor_answer(void) { return 42; }\n"
WITH_PYTHON = """
#include <Python.h>
static PyObject *answer(PyObject *self, PyObject *none) { return PyLong_FromLong(42); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, 0}, {0, 0, 0, 0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "qdoctor_headers", 0, -1, methods};
PyMODINIT_FUNC PyInit_qdoctor_headers(void) { return PyModule_Create(&module); }
"""
WITH_LIBCUDA = """
#include "cuda.h"
#include <Python.h>
static PyObject *answer(PyObject *self, PyObject *none) {
    int version = 0;
    CUresult status = cuDriverGetVersion(&version);
    return PyLong_FromLong(status == CUDA_SUCCESS ? version : -(long)status);
}
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, 0}, {0, 0, 0, 0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "qdoctor_libcuda", 0, -1, methods};
PyMODINIT_FUNC PyInit_qdoctor_libcuda(void) { return PyModule_Create(&module); }
"""
ANSWER = 42
COMPILER_SECONDS = 30
ROOM_BYTES = 1 << 20  # the launcher and one kernel take some hundred thousand
RELEASE = re.compile(r"release (\d+\.\d+)")
NAMES_SM = re.compile(r"\bsm_(\d+)(\d)[a-z]?\b")
"""How ``ptxas --help`` lists the GPUs that it compiles for."""


class Broken(Exception):  # noqa: N818 - it names a state of the machine
    """The compiler did not build, or what it built does not load; the text is its reason."""


def phase(text: str) -> None:
    """Say what is under way; the harness puts its own in this place."""


def run(request: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """Yield one outcome a variant, ptxas' for each GPU ("run"), or ptxas' for each SM ("compile").

    It answers for the whole machine, whatever the device asked for.
    """
    made, ask = _beside("_outcomes"), _beside("_toolchain")
    phase("importing triton")
    importlib.import_module("triton")
    if request.get("mode") == "compile":
        for sm in request.get("sms") or PROBE["sms"]:
            fields = {"variant": "ptxas", "device": "sm_" + sm.replace(".", ""), "ran": False}
            yield _guarded(made, fields, partial(_ptxas, made, ask, sm))
        return
    compiler = _guarded(made, {"variant": "compiler"}, partial(_compiler, made, ask))
    yield compiler
    yield _guarded(made, {"variant": "headers"}, partial(_headers, made, ask, compiler))
    yield _guarded(made, {"variant": "libcuda"}, partial(_libcuda, made, ask))
    for index, sm in enumerate(_gpus() or [None]):
        device = None if sm is None else "cuda:{}".format(index)
        yield _guarded(made, {"variant": "ptxas", "device": device}, partial(_ptxas, made, ask, sm))
    theirs = request.get("environ") or {}
    yield _guarded(made, {"variant": "cache"}, partial(_cache, made, ask, theirs))


def _guarded(
    made: Any, fields: Dict[str, Any], work: Callable[[], Dict[str, Any]]
) -> Dict[str, Any]:
    phase("looking at Triton's " + fields["variant"])
    try:
        return dict(work(), **fields)
    except Exception as error:
        return made.from_error(error, **fields)


# Compiling


def _compiler(made: Any, ask: Any) -> Dict[str, Any]:
    """Build a function that needs no header, load and call it."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            command = ask.c_command(*_source(folder, "qdoctor_plain", PLAIN))
            seconds = _build(command)
            got = ctypes.CDLL(_output(command)).qdoctor_answer()
    except ask.Unknown:
        raise
    except (Broken, RuntimeError, OSError) as error:
        raise made.Refused("no-c-compiler", str(error)) from None
    return _answered(made, got == ANSWER, command[0], seconds)


def _headers(made: Any, ask: Any, compiler: Dict[str, Any]) -> Dict[str, Any]:
    """Build an extension module by the interpreter's headers, import and call it."""
    with tempfile.TemporaryDirectory() as folder:
        source = _source(folder, "qdoctor_headers", WITH_PYTHON)
        command = ask.c_command(*source)
        folders = [word[2:] for word in command if word.startswith("-I")]
        if not any(Path(one, "Python.h").is_file() for one in folders):
            text = "no Python.h in {}".format(", ".join(one for one in folders if one != folder))
            raise made.Refused("python-headers-missing", text)
        if compiler["outcome"] != "passed":
            raise made.Skipped("no-c-compiler", "Python.h is there; no compiler works to use it")
        seconds = _build(command)
        got = _import("qdoctor_headers", _output(command)).answer()
    return _answered(made, got == ANSWER, command[0], seconds)


def _libcuda(made: Any, ask: Any) -> Dict[str, Any]:
    """Build what Triton builds: an extension linked against the driver; call the driver by it."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise made.Skipped("no-gpu", "no CUDA driver to link against: {}".format(error)) from None
    with tempfile.TemporaryDirectory() as folder:
        source = _source(folder, "qdoctor_libcuda", WITH_LIBCUDA)
        ask.c_command(*source)  # without a compiler this raises, and says nothing about libcuda
        try:
            command = ask.launcher_command(*source)
            seconds = _build(command)
        except ask.Unknown:
            raise
        except Broken as error:
            raise made.Refused("libcuda-not-found", str(error)) from None
        except Exception as error:
            raise made.Refused("libcuda-not-found", made.text_of(error)) from None
        version = _import("qdoctor_libcuda", _output(command)).answer()
    folders = [word[2:] for word in command if word.startswith("-L")]
    taken = "{} {}".format(" ".join(word for word in command if word.startswith("-l")), folders)
    if version <= 0:
        text = "cuDriverGetVersion answered CUresult {} in what was linked".format(-version)
        return made.outcome("failed", text, code="failed", path_taken=taken)
    numbers = {"driver_cuda": version, "build_seconds": seconds}
    return made.outcome("passed", "linked, loaded, called", numbers=numbers, path_taken=taken)


def _source(folder: str, name: str, text: str) -> Tuple[str, str]:
    path = Path(folder, name + ".c")
    path.write_text(text, encoding="utf-8")
    return str(path), folder


def _output(command: List[str]) -> str:
    return command[command.index("-o") + 1]


def _build(command: List[str]) -> float:
    """Run the compiler: the seconds it took. Raises Broken with the first error it names."""
    started = time.perf_counter()
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=COMPILER_SECONDS, check=False,
    )  # fmt: skip
    if done.returncode or not Path(_output(command)).is_file():
        lines = done.stdout.decode(errors="replace").splitlines() or ["it said nothing"]
        said = next((line for line in lines if "error" in line or "cannot" in line), lines[0])
        text = "{} ended with status {}: {}".format(command[0], done.returncode, said)
        raise Broken(text)
    return time.perf_counter() - started


def _import(name: str, path: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def _answered(made: Any, right: bool, compiler: str, seconds: float) -> Dict[str, Any]:  # noqa: FBT001
    fields = {"path_taken": compiler, "numbers": {"build_seconds": seconds}}
    if not right:
        return made.outcome("wrong", "what was built gives nonsense", code="wrong-value", **fields)
    return made.outcome("passed", "built, loaded, called", **fields)


# ptxas


def _ptxas(made: Any, ask: Any, sm: Optional[str]) -> Dict[str, Any]:
    """Run the assembler that Triton would take for ``sm``, and see whether it knows that."""
    try:
        tool = ask.ptxas(sm)
        release = RELEASE.search(_told(tool.path, "--version"))
        known = _sms(_told(tool.path, "--help"))
    except ask.Unknown:
        raise
    except (Broken, RuntimeError, OSError) as error:
        raise made.Refused("no-ptxas", str(error)) from None
    numbers: Dict[str, float] = {"known_sms": len(known)}
    if sm is not None:
        numbers["sm"] = float(sm)
    fields = {"path_taken": tool.path, "evidence": _not_taken(tool.path), "numbers": numbers}
    if sm is not None and sm not in known:
        text = "ptxas {} does not know SM {}".format(release.group(1) if release else "", sm)
        return made.outcome("failed", text, code="ptxas-too-old-for-sm", **fields)
    if release is None or not known:
        text = "this program does not answer as ptxas does"
        return made.outcome("failed", text, code="no-ptxas", **fields)
    detail = "ptxas {}{}".format(release.group(1), " knows SM " + sm if sm else "")
    return made.outcome("passed", detail, **fields)


def _told(path: str, option: str) -> str:
    done = subprocess.run(
        [path, option], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=COMPILER_SECONDS, check=False,
    )  # fmt: skip
    text = done.stdout.decode(errors="replace")
    if done.returncode:
        text = "{} {} ended with status {}: {}".format(path, option, done.returncode, text)
        raise Broken(text)
    return text


def _sms(text: str) -> Set[str]:
    return {"{}.{}".format(*found) for found in NAMES_SM.findall(text)}


def _not_taken(path: str) -> List[str]:
    """Say so where a variable names another ptxas than the one that Triton takes."""
    named = {name: value for name, value in os.environ.items()
             if name.startswith("TRITON_PTXAS") and name.endswith("_PATH")}  # fmt: skip
    return ["{}={} is not what Triton takes".format(name, value)
            for name, value in named.items() if value != path]  # fmt: skip


def _gpus() -> List[Optional[str]]:
    """Ask the driver for the SM of each GPU, without a context; [] where there is none."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return []
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return []
    return [_sm(driver, index) for index in range(count.value)]


def _sm(driver: Any, index: int) -> Optional[str]:
    handle, numbers = ctypes.c_int(), [ctypes.c_int(), ctypes.c_int()]
    if driver.cuDeviceGet(ctypes.byref(handle), index):
        return None
    for which, number in zip((75, 76), numbers):  # noqa: B905 - CU_DEVICE_ATTRIBUTE_..., major, minor
        if driver.cuDeviceGetAttribute(ctypes.byref(number), which, handle):
            return None
    return "{}.{}".format(*(number.value for number in numbers))


# The cache


def _cache(made: Any, ask: Any, environ: Dict[str, Optional[str]]) -> Dict[str, Any]:
    """Look at the folder that Triton would take: may it be made, written to and loaded from?

    ``environ`` holds what the user's own environment says where the doctor's differs.
    """
    try:
        folder = Path(ask.cache_folder(environ))
    except ask.Unknown:
        raise
    except (KeyError, RuntimeError) as error:
        text = "no home folder to keep a cache in: {}".format(made.text_of(error))
        raise made.Refused("triton-cache-not-writable", text) from None
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    why = _why_not(there)
    if why:
        raise made.Refused("triton-cache-not-writable", "{}: {}".format(folder, why))
    free = os.statvfs(str(there))
    numbers = {"free_mib": free.f_bavail * free.f_frsize / 2**20}
    detail = "may be written to" if there == folder else "may be made in {}".format(there)
    return made.outcome("passed", detail, path_taken=str(folder), numbers=numbers)


def _why_not(folder: Path) -> str:
    system = os.statvfs(str(folder))
    flags = system.f_flag
    if not folder.is_dir():
        return "{} is not a folder".format(folder)
    if flags & os.ST_RDONLY:
        return "{} is on a file system that is mounted read-only".format(folder)
    if flags & getattr(os, "ST_NOEXEC", 0):
        return "{} is mounted noexec: what Triton builds cannot be loaded from it".format(folder)
    if not os.access(str(folder), os.W_OK | os.X_OK):
        return "{} may not be written to".format(folder)
    if system.f_bavail * system.f_frsize < ROOM_BYTES:
        return "{} is on a file system that is full".format(folder)
    return ""


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
