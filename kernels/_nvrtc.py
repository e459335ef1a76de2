"""CUDA C++ compiled at run time by the NVRTC that came with torch: which one, and machine code.

Machine code is kept where Triton keeps its own. Python 3.8 syntax, standard library only at import;
torch and triton when called.
"""

# ruff: noqa: ANN401 - ctypes libraries have no types

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib
import os
from pathlib import Path
from typing import Any, List, Sequence

PLACES = (
    "nvidia/cuda_nvrtc/lib/libnvrtc.so.*", "nvidia/cu[0-9]*/lib/libnvrtc.so.*",
    "torch/lib/libnvrtc.so.*", "torch/lib/libnvrtc-[0-9a-f]*.so.*",
    "nvidia/cuda_nvrtc/bin/nvrtc64_*.dll", "nvidia/cu[0-9]*/bin/**/nvrtc64_*.dll",
    "torch/lib/nvrtc64_*.dll",
)  # fmt: skip
"""Below site-packages: wheels of CUDA 11 and 12, of CUDA 13, and wheels of torch that carry their
own; on Windows the same."""


KEPT_AS, ELF = "product.cubin", b"\x7fELF"


class NotCompiledError(RuntimeError):
    """There is no NVRTC that fits, or it refused; the text says which and why."""


def machine_code(source: str, arch: str, options: Sequence[str]) -> bytes:
    """Compile CUDA C++ for one real architecture ("sm_90a"): a cubin. Raises NotCompiledError."""
    nvrtc = _library()
    major, minor = ctypes.c_int(), ctypes.c_int()
    _ask(nvrtc, "nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
    words = repr((major.value, minor.value, arch, list(options), source))
    kept = _kept(hashlib.sha256(words.encode()).hexdigest())
    code = b""
    with contextlib.suppress(Exception):  # whatever is wrong with a cache, there is the compiler
        code = Path(kept.get_file(KEPT_AS)).read_bytes()
    if not code.startswith(ELF):
        code = _compiled(nvrtc, source, arch, options)
        with contextlib.suppress(Exception):
            kept.put(code, KEPT_AS, binary=True)
    return code


def _kept(key: str) -> Any:
    """Return the place in Triton's cache for a key (hexadecimal), None where there is none."""
    with contextlib.suppress(Exception):
        return importlib.import_module("triton.runtime.cache").get_cache_manager(key)
    return None


def _compiled(nvrtc: Any, source: str, arch: str, options: Sequence[str]) -> bytes:
    program = ctypes.c_void_p()
    _ask(nvrtc, "nvrtcCreateProgram", ctypes.byref(program), source.encode(), None, 0, None, None)
    try:
        words = [("--gpu-architecture=" + arch).encode(), *(word.encode() for word in options)]
        given = (ctypes.c_char_p * len(words))(*words)
        status = nvrtc.nvrtcCompileProgram(program, len(words), given)
        if status:
            said = _text(nvrtc, "ProgramLog", program).decode(errors="replace").strip("\0\n ")
            lines = [line for line in said.splitlines() if "error" in line] or said.splitlines()
            text = "NVRTC for {}: {}".format(arch, (lines or ["it gave no reason"])[0])
            raise NotCompiledError(text)
        return _text(nvrtc, "CUBIN", program)
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def candidates(folders: Sequence[str], major: str) -> List[str]:
    """List the NVRTCs of a CUDA major below these folders, then the loader's own name for it."""
    found = [
        str(path)
        for folder in folders
        for place in PLACES
        for path in sorted(Path(folder).glob(place))
        if "builtins" not in path.name and _is_of(path.name, major)
    ]
    return [
        *found,
        "nvrtc64_{}0_0.dll".format(major) if os.name == "nt" else "libnvrtc.so." + major,
    ]


def _is_of(name: str, major: str) -> bool:
    return ".so." + major in name or "nvrtc64_" + major in name


def _library() -> Any:
    torch = importlib.import_module("torch")
    if not torch.version.cuda:
        text = "torch {} is not built for CUDA".format(torch.__version__)
        raise NotCompiledError(text)
    major = torch.version.cuda.split(".")[0]
    folder = Path(str(torch.__file__)).resolve().parents[1]
    refused = []
    for name in candidates([str(folder)], major):
        try:
            return _loaded(name)
        except OSError as error:  # noqa: PERF203 - a handful
            refused.append(str(error))
    text = "no NVRTC of CUDA {}: {}".format(major, "; ".join(refused))
    raise NotCompiledError(text)


def _loaded(name: str) -> Any:
    """Load NVRTC, and before it its built-in functions, which CUDA 13's does not find by itself."""
    folder = Path(name).parent
    for builtins in sorted(folder.glob("libnvrtc-builtins.so.*")) if folder.is_absolute() else ():
        ctypes.CDLL(str(builtins))
    return ctypes.CDLL(name)


def _text(nvrtc: Any, what: str, program: Any) -> bytes:
    size = ctypes.c_size_t()
    _ask(nvrtc, "nvrtcGet{}Size".format(what), program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    _ask(nvrtc, "nvrtcGet" + what, program, text)
    return text.raw


def _ask(nvrtc: Any, function: str, *arguments: Any) -> None:
    status = getattr(nvrtc, function)(*arguments)
    if status:
        text = "{} answered {}".format(function, status)
        raise NotCompiledError(text)
