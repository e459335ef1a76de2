"""The key of an answer: everything that could change it, as text.

Two keys are equal where the answer is the same one; what is compared is the text itself. It says
which interpreter, which packages and when they last changed, which driver and which kind of GPU,
which variables are set, what qdoctor knows, and what was asked.
"""

from __future__ import annotations

import os
import sys
import time

from qdoctor import __version__, cache
from qdoctor.choosing import devices
from qdoctor.choosing.installed import installed, stamp, version_in

TYPE_CHECKING = False  # as typing's, without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

VARIABLES = {
    "BNB_CUDA_VERSION": "bitsandbytes loads another binary",
    "CUBLASLT_WORKSPACE_SIZE": "decides which matrix kernels torch may use",
    "CUBLAS_WORKSPACE_CONFIG": "likewise",
    "CUDA_DISABLE_PTX_JIT": "kernels without machine code for this GPU then fail",
    "CUDA_FORCE_PTX_JIT": "every kernel is then compiled by the driver",
    "CUDA_HOME": "where triton and torch look for tools and libraries",
    "CUDA_LAUNCH_BLOCKING": "makes every launch wait: other times",
    "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "a share of the GPU only",
    "CUDA_MPS_PIPE_DIRECTORY": "the GPU is used through its multi-process service",
    "CUDA_PATH": "as CUDA_HOME, on Windows",
    "DISABLE_ADDMM_CUDA_LT": "torch then avoids cuBLASLt",
    "HIP_VISIBLE_DEVICES": "which of AMD's GPUs there are",
    "HSA_OVERRIDE_GFX_VERSION": "what AMD's GPU says that it is",
    "LD_LIBRARY_PATH": "which CUDA libraries are loaded",
    "LD_PRELOAD": "likewise",
    "NVIDIA_TF32_OVERRIDE": "the precision of single precision products",
    "NVIDIA_VISIBLE_DEVICES": "which GPUs, or parts of one, a container was given",
    "PYTHONHOME": "which packages are imported",
    "PYTHONNOUSERSITE": "likewise",
    "PYTHONPATH": "likewise",
    "PYTORCH_ALLOC_CONF": "how GPU memory is had",
    "PYTORCH_CUDA_ALLOC_CONF": "likewise",
    "PYTORCH_ROCM_ARCH": "what is compiled for AMD's GPUs",
    "ROCR_VISIBLE_DEVICES": "which of AMD's GPUs there are",
    "TORCHDYNAMO_DISABLE": "turns torch.compile off",
    "TORCHINDUCTOR_MAX_AUTOTUNE": "which kernels torch.compile tries",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "the precision of single precision products",
    "TORCH_BLAS_PREFER_CUBLASLT": "which library multiplies matrices",
    "TORCH_COMPILE_DISABLE": "turns torch.compile off",
    "TRITON_BACKENDS_IN_TREE": "which of triton's backends are loaded",
    "TRITON_INTERPRET": "triton then interprets its kernels instead of compiling them",
    "TRITON_LIBCUDA_PATH": "which driver library triton uses",
    "TRITON_PTXAS_BLACKWELL_PATH": "which assembler triton uses",
    "TRITON_PTXAS_PATH": "likewise",
}
"""Variable -> why another value could change the answer. Those that number the GPUs count as far
as another kind of GPU comes of them."""

ON_CPU = {
    "KMP_AFFINITY": "which cores the threads run on",
    "MKL_NUM_THREADS": "how many threads multiply",
    "OMP_NUM_THREADS": "likewise",
    "ONEDNN_MAX_CPU_ISA": "which instructions multiply",
}
"""Likewise, for answers about the CPU only: launchers set the threads, and a GPU does not care."""

COMPARED = ("torch", "triton", "bitsandbytes", "torchao")
"""The packages whose versions must agree where a decision is carried to another host."""

_FRESH_SECONDS = 1.0
"""How long one process believes what it read of the machine, if nothing that it watches changed."""


class Machine:
    """What a process has in common with all its calls: all of the key but the GPU and the question.

    ``versions`` are those of the packages; ``lines`` all there is, stamps included.
    """

    __slots__ = ("hardware", "lines", "matrix_version", "read_at", "versions", "watched")

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Read it, in a millisecond or two."""
        found, paths = installed()
        self.hardware = devices.hardware()
        self.versions = {name: version_in(text) for name, text in found.items() if text}
        self.matrix_version = matrix_version()
        own_data = os.path.join(_data_folder(environ), "matrix", "index.json")
        # By its folder: python, python3 and ../venv/bin/python are one file, and one answer.
        python = sys.executable or ""  # None in some programs that embed Python
        folder = os.path.realpath(os.path.dirname(python))
        self.lines = [
            f"qdoctor {__version__} matrix {self.matrix_version} own data {stamp(own_data)}",
            f"python {sys.version.split()[0]} {folder} {stamp(python)}",
            *(f"package {name} {text}" for name, text in sorted(found.items())),
            f"driver {self.hardware.driver}",
        ]
        self.watched = {path: stamp(path) for path in paths}
        self.read_at = time.monotonic()

    def is_fresh(self) -> bool:
        """Say whether it may still be believed."""
        if time.monotonic() - self.read_at > _FRESH_SECONDS:
            return False
        return all(stamp(path) == before for path, before in self.watched.items())


class Key:
    """``text`` is the whole key; ``portable`` what must agree where a decision is carried to."""

    __slots__ = ("device_count", "is_gpu", "portable", "text")

    def __init__(
        self, text: str, portable: dict[str, Any], device_count: int, *, is_gpu: bool
    ) -> None:
        """``device_count`` is how many GPUs CUDA shows; -1: not known from here."""
        self.text, self.portable, self.device_count = text, portable, device_count
        self.is_gpu = is_gpu


_latest: list[tuple[tuple[Any, ...], Machine]] = []


def machine(environ: Mapping[str, str]) -> Machine:
    """Return what this process knows of its machine, read anew where it could have changed."""
    settings = (tuple(sys.path), environ.get("QDOCTOR_DATA_DIR"))
    if _latest and _latest[0][0] == settings and _latest[0][1].is_fresh():
        return _latest[0][1]
    read = Machine(environ)
    _latest[:] = [(settings, read)]
    return read


def key_of(asked: str, device: int | str | None, environ: Mapping[str, str]) -> Key:
    """Return the key of a question.

    ``asked`` is all of it as text but the device, which is a GPU's number for CUDA, ``"cpu"``, or
    None for the first GPU, or the CPU where CUDA shows none.
    """
    here = machine(environ)
    index = device if isinstance(device, int) else None
    kind, name, count = devices.which(here.hardware, index, environ)
    variables, is_gpu = VARIABLES, devices.CPU not in {device, kind}
    if not is_gpu:
        variables = {**VARIABLES, **ON_CPU}
        name, cores = devices.processor()
        kind = f"{name} {cores} cores"
    lines = [
        *here.lines,
        f"device {kind}",
        *(f"set {one}={environ[one]}" for one in variables if one in environ),
        f"asked {asked}",
    ]
    portable = {
        "qdoctor": __version__,
        "python": ".".join(map(str, sys.version_info[:2])),
        "packages": {name: here.versions.get(name, "") for name in COMPARED},
        "driver": here.hardware.driver,
        "device": name,
    }
    return Key("\n".join(lines) + "\n", portable, count, is_gpu=is_gpu)


def matrix_version() -> str:
    """Return the version of the compatibility data, from the first line that states it."""
    package = os.path.dirname(cache.__file__)
    installed_there = os.path.join(package, "_matrix", "index.json")
    checkout = os.path.join(os.path.dirname(package), "matrix", "index.json")
    try:
        with open(installed_there if stamp(installed_there) != "-" else checkout, "rb") as file:
            head = file.read(200).decode("utf-8", "replace")
    except OSError:
        return ""
    return head.partition('"version": "')[2].partition('"')[0]


def _data_folder(environ: Mapping[str, str]) -> str:
    """Where ``local_data`` lies, without loading platformdirs on Linux."""
    if named := environ.get("QDOCTOR_DATA_DIR"):
        return os.path.expanduser(named)
    if sys.platform == "linux" and "ANDROID_ROOT" not in environ:
        base = os.environ.get("XDG_DATA_HOME", "")
        named = base if os.path.isabs(base) else os.path.expanduser("~/.local/share")
        return os.path.join(named, "qdoctor")
    import platformdirs  # noqa: PLC0415 - 20 ms

    return platformdirs.user_data_dir("qdoctor", appauthor=False)
