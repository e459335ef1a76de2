"""The machine under the interpreter: system, C library, WSL, container, CUDA toolkit, environment.

Everything is read from files below ``root`` and from ``environ``; nothing is started, except a
musl loader, which tells its version in no other way.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from qdoctor import process
from qdoctor.facts import file_kinds
from qdoctor.model import Host

if TYPE_CHECKING:
    from collections.abc import Mapping

_SYSTEMS = {"Linux": "linux", "Windows": "windows", "Darwin": "macos"}
_MACHINES = {"amd64": "x86_64", "x64": "x86_64"}

# What makes a container visible, the more telling first: Kubernetes runs on some other runtime.
_CONTAINER_VARIABLES = (
    ("KUBERNETES_SERVICE_HOST", "kubernetes"),
    ("APPTAINER_CONTAINER", "apptainer"),
    ("SINGULARITY_CONTAINER", "singularity"),
)
_CONTAINER_FILES = (
    ("var/run/secrets/kubernetes.io", "kubernetes"),
    ("run/.containerenv", "podman"),
    (".dockerenv", "docker"),
    (".singularity.d", "singularity"),
    (".flatpak-info", "flatpak"),
)
_CONTAINER_CGROUPS = (
    ("kubepods", "kubernetes"),
    ("libpod", "podman"),
    ("docker", "docker"),
    ("containerd", "containerd"),
    ("lxc", "lxc"),
)

# Only these leave the machine: what the packages examined here, the CUDA driver, the loader and the
# compiler listen to. Tokens and whatever else the environment holds stay out.
_VARIABLES = frozenset(
    {
        "CC",
        "CONDA_PREFIX",
        "CPATH",
        "CUBLAS_WORKSPACE_CONFIG",
        "C_INCLUDE_PATH",
        "DYLD_LIBRARY_PATH",
        "HIP_VISIBLE_DEVICES",
        "HSA_OVERRIDE_GFX_VERSION",
        "LD_LIBRARY_PATH",
        "LD_PRELOAD",
        "LIBRARY_PATH",
        "NVIDIA_DISABLE_REQUIRE",
        "NVIDIA_DRIVER_CAPABILITIES",
        "NVIDIA_TF32_OVERRIDE",
        "NVIDIA_VISIBLE_DEVICES",
        "PYTHONHOME",
        "PYTHONNOUSERSITE",
        "PYTHONPATH",
        "ROCM_HOME",
        "ROCM_PATH",
        "ROCR_VISIBLE_DEVICES",
        "VIRTUAL_ENV",
    }
)
_PREFIXES = ("BNB_", "CUDA_", "PYTORCH_", "TORCH_", "TORCHINDUCTOR_", "TRITON_")
_FIRST_PROCESSOR = 16384
"""Bytes of /proc/cpuinfo that hold its first entry (1.5 KB today), read at once."""
_SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|AUTH", re.IGNORECASE)


def read_host(
    environ: Mapping[str, str],
    *,
    root: Path = Path("/"),
    libc: str | None = None,
    c_compiler: bool | None = None,
) -> Host:
    """Read the host; ``libc`` and ``c_compiler`` as the examined interpreter answered, or None."""
    system = platform.system()
    machine = platform.machine()
    on_linux = system == "Linux"
    return Host(
        os=_SYSTEMS.get(system, system.lower()) or None,
        machine=_MACHINES.get(machine.lower(), machine) or None,
        libc=libc_version(libc if libc is not None else own_libc()) if on_linux else "",
        wsl=is_wsl(root) if on_linux else False,
        container=container(environ, root) if on_linux else "",
        c_compiler=c_compiler,
        cpu_features=cpu_features(root) if on_linux else None,
    )


def cpu_features(root: Path = Path("/")) -> list[str] | None:
    """Vector extensions of an x86 CPU, sorted; None where Linux does not list them.

    The first processor stands for all: /proc/cpuinfo repeats the list for each, and hundreds of
    them would take as many milliseconds.
    """
    try:
        with (root / "proc/cpuinfo").open("rb") as listed:
            first = listed.read(_FIRST_PROCESSOR)
    except OSError:
        return None
    flags = re.search(rb"^flags\s*:(.*)\n", first, re.MULTILINE)
    if flags is None:
        return None
    names = flags.group(1).decode("ascii", "replace").split()
    return sorted(name for name in names if name.startswith(("avx", "amx_")))


def own_libc() -> str | None:
    """C library of our own interpreter: the host's, unless one of them is statically built."""
    if sys.platform == "win32":
        return None
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):  # musl does not know the name
        return None


def libc_version(stated: str | None) -> str | None:
    """Turn ``musl LOADER`` into ``musl VERSION`` by asking the loader; leave ``glibc 2.35``."""
    if stated is None or not stated.startswith("musl /"):
        return stated
    loader = stated.removeprefix("musl ")
    said = process.run([loader], seconds=5.0).stderr.decode("utf-8", "replace")
    version = re.search(r"^Version (\S+)", said, re.MULTILINE)
    return f"musl {version.group(1)}" if version else "musl"


def is_wsl(root: Path = Path("/")) -> bool:
    """Whether this Linux runs in the Windows Subsystem for Linux: its kernel's name says so."""
    return "microsoft" in read_text(root / "proc/sys/kernel/osrelease").lower()


def container(environ: Mapping[str, str], root: Path = Path("/")) -> str:
    """Kind of container around us, ``""`` where nothing shows one."""
    for variable, kind in _CONTAINER_VARIABLES:
        if environ.get(variable):
            return kind
    for name, kind in _CONTAINER_FILES:
        if file_kinds.exists(root / name):
            return kind
    systemd = read_text(root / "run/systemd/container").strip()
    groups = read_text(root / "proc/1/cgroup")
    return systemd or next((kind for word, kind in _CONTAINER_CGROUPS if word in groups), "")


def relevant(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that can change how CUDA code is found, built or run; never a secret.

    Bytes that are no UTF-8 are replaced: JSON cannot hold them.
    """
    return {
        name: value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        for name, value in sorted(environ.items())
        if (name in _VARIABLES or name.startswith(_PREFIXES)) and not _SECRET.search(name)
    }


def read_text(path: Path) -> str:
    """Text of a small file; ``""`` where it is absent or not ours to read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return ""
