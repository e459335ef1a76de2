"""What a machine's stated packages imply: the CUDA and SMs of its torch, and its triton."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import Version

from qdoctor import released
from qdoctor.model import Because, Facts, Host, Python
from qdoctor.released import Known, unknown

if TYPE_CHECKING:
    from qdoctor.matrix import Matrix

SOME_VERSION = "?"
"""A package that is installed in a version that is not known (the contract's facts)."""

Value = TypeVar("Value", str, bool)
_BUILD = re.compile(r"cu(\d+)(\d)(?:\.|$)")
_NO_CUDA = re.compile(r"(?:cpu|rocm|hip|xpu)")
_PYTHONS = [Version(f"3.{minor}") for minor in range(7, 17)]
_TRITONS = ("triton", "pytorch-triton", "triton-windows")


class _Platform(NamedTuple):
    """A system's names in requirement markers (PEP 508)."""

    system: str
    sys: str
    os: str


_SYSTEMS = {
    "linux": _Platform("Linux", "linux", "posix"),
    "windows": _Platform("Windows", "win32", "nt"),
    "macos": _Platform("Darwin", "darwin", "posix"),
}


@dataclass(frozen=True)
class Contradiction:
    """Two sources that disagree about ``subject``: the stronger was kept."""

    subject: str
    kept: Because
    dropped: Because


def stated(facts: Facts, name: str) -> Known[str]:
    """Return the stated version of a package; ``""``: known to be absent."""
    version = (facts.packages or {}).get(name)
    if version is None:
        return unknown(f"whether {name} is installed is not known")
    if version == SOME_VERSION:
        return unknown(f"{name} is installed, its version is not known")
    text = f"{name} {version} is installed" if version else f"{name} is not installed"
    return Known(version, Because(text, f"facts: packages.{name}", "inspected"))


def os_of(facts: Facts, matrix: Matrix) -> Known[str]:
    """Return the operating system; an installed triton whose wheels are all Linux's implies it."""
    host = facts.host or Host()
    if host.os is not None:
        text = f"the operating system is {host.os}"
        return Known(host.os, Because(text, "facts: host.os", "inspected"))
    if host.libc or host.wsl:
        return Known("linux", Because("only Linux has this libc", "facts: host.libc", "inspected"))
    version = stated(facts, "triton").value
    platforms = released.fact(matrix, "triton", version, "platforms") if version else unknown("")
    if platforms.value and all("linux" in tag for tag in platforms.value):
        return Known("linux", platforms.because)
    return unknown("the operating system is not known")


def torch_cuda(
    facts: Facts, matrix: Matrix, system: Known[str], disagreed: list[Contradiction]
) -> Known[str]:
    """Return the CUDA version that torch was built for: as stated, by its build tag, by default."""
    version = stated(facts, "torch")
    if version.value == "":
        return Known("", version.because)
    read = _stated_cuda(facts)
    tagged = _tagged_cuda(version.value or "")
    if read is None:
        return tagged or _default_cuda(facts, matrix, version, system)
    if tagged and tagged.because and read.because and tagged.value != read.value:
        disagreed.append(Contradiction("torch_cuda", read.because, tagged.because))
    return read


def torch_sm(
    facts: Facts, matrix: Matrix, cuda: Known[str], disagreed: list[Contradiction]
) -> Known[list[str]]:
    """Return the SMs that torch holds machine code or PTX for, as ``sm_80``, ``compute_80``."""
    mined = _released_sm(facts, matrix, cuda)
    if facts.torch_arch_list is None:
        return mined
    text = f"this torch holds {', '.join(facts.torch_arch_list) or 'no CUDA code'}"
    read = Because(text, "facts: torch_arch_list", "inspected")
    differs = mined.value is not None and set(mined.value) != set(facts.torch_arch_list)
    if mined.because and differs:
        disagreed.append(Contradiction("torch_sm", read, mined.because))
    return Known(facts.torch_arch_list, read)


def triton_pin(facts: Facts, matrix: Matrix, system: Known[str]) -> Known[str]:
    """Return the triton that torch requires, a specifier set; ``""`` where it requires none."""
    version = stated(facts, "torch")
    if not version.value:
        return Known(version.value, version.because, version.reason)
    for requirement in _triton_requirements((facts.requires or {}).get("torch", [])):
        text = f"torch {version.value} requires {requirement}"
        read = Because(text, "facts: requires.torch", "inspected")
        return Known(
            str(requirement.specifier) if _applies(requirement, facts, system) else "", read
        )
    if system.value in _SYSTEMS and system.value != "linux":
        return _no_triton(matrix, version.value, system.value)
    return released.fact(matrix, "torch", version.value, "triton_pin")


def triton(facts: Facts, matrix: Matrix, system: Known[str]) -> Known[str]:
    """Return the installed triton; where it is not stated, the one that came with torch on Linux."""
    names = [name for name in _TRITONS if (facts.packages or {}).get(name)]
    if names or "triton" in (facts.packages or {}):
        return stated(facts, names[0] if names else "triton")
    torch = stated(facts, "torch")
    if not torch.value or system.value is None:
        missing = torch.reason or system.reason or "torch, which would bring it, is not installed"
        return unknown(f"whether triton is installed is not known: {missing}")
    if system.value != "linux":
        return _no_triton(matrix, torch.value, system.value)
    return _brought_along(facts, matrix, torch.value, system)


def _brought_along(facts: Facts, matrix: Matrix, torch: str, system: Known[str]) -> Known[str]:
    requires = (facts.requires or {}).get("torch")
    mined = released.fact(matrix, "torch", torch, "requires_dist")
    because = mined.because
    found = _triton_requirements(requires if requires is not None else mined.value or [])
    if not found:
        return unknown(f"which triton came with torch {torch} is not known")
    if not any(_applies(requirement, facts, system) for requirement in found):
        return Known("", because)
    exact = [one.version for one in found[0].specifier if one.operator == "=="]
    if not exact:
        return unknown(f"torch {torch} requires {found[0]}, which fits several releases")
    text = f"torch {torch} requires {found[0].name} {found[0].specifier}, and pip installs it along"
    return Known(exact[0], because and Because(text, because.source, because.strength))


def _stated_cuda(facts: Facts) -> Known[str] | None:
    if facts.torch_cuda is None:
        return None
    text = (
        f"torch is built for CUDA {facts.torch_cuda}"
        if facts.torch_cuda
        else "torch is a CPU build"
    )
    return Known(facts.torch_cuda, Because(text, "facts: torch_cuda", "inspected"))


def _tagged_cuda(version: str) -> Known[str] | None:
    tag = version.partition("+")[2]
    build = _BUILD.match(tag)
    if not build and not _NO_CUDA.match(tag):
        return None
    cuda = f"{build[1]}.{build[2]}" if build else ""
    text = f"torch {version} is a build " + (f"for CUDA {cuda}" if cuda else "without CUDA")
    return Known(cuda, Because(text, "facts: packages.torch", "inspected"))


def _default_cuda(
    facts: Facts, matrix: Matrix, torch: Known[str], system: Known[str]
) -> Known[str]:
    """Take the CUDA version of the wheel that the package index serves by default."""
    if torch.value is None or system.value is None:
        return unknown(f"torch's CUDA version is not known: {torch.reason or system.reason}")
    if "+" in torch.value:
        return unknown(f"what CUDA version the build torch {torch.value} has is not known")
    table = matrix.table("torch_defaults")
    machine = (facts.host or Host()).machine or table["usual_machine"]
    rows = [one for one in table["rows"] if one["os"] == system.value]
    row = released.row_for(
        matrix, [one for one in rows if one["machine"] in ("*", machine)], "torch", torch.value
    )
    if row is None:
        return unknown(
            f"which build torch {torch.value} is on {system.value} {machine} is not known"
        )
    if row["cuda"] == "as-released":
        return released.fact(matrix, "torch", torch.value, "cuda")
    return Known(row["cuda"], released.cited(table, row, row["text"]))


def _released_sm(facts: Facts, matrix: Matrix, cuda: Known[str]) -> Known[list[str]]:
    version = stated(facts, "torch")
    if version.value == "" or cuda.value == "":
        return Known([], cuda.because or version.because)
    if version.value is None or cuda.value is None:
        return unknown(f"torch's SMs are not known: {version.reason or cuda.reason}")
    default = released.fact(matrix, "torch", version.value, "cuda").value
    if default == cuda.value and (facts.host or Host()).machine in (None, "x86_64"):
        return released.fact(matrix, "torch", version.value, "sm")
    builds = released.fact(matrix, "torch", version.value, "builds")
    build = (builds.value or {}).get("cu" + cuda.value.replace(".", ""))
    if not build or build.get("sm") is None:
        return unknown(f"the SMs of torch {version.value} for CUDA {cuda.value} are not known")
    return Known(list(build["sm"]), builds.because)


def _no_triton(matrix: Matrix, torch: str, system: str) -> Known[str]:
    """Say that torch requires no triton on a system for which its requirement has a marker."""
    mined = released.fact(matrix, "torch", torch, "requires_dist")
    found = _triton_requirements(mined.value or [])
    if mined.value is None or any(
        _applies(one, Facts(host=Host(os=system)), Known(system)) for one in found
    ):
        return unknown(f"whether torch {torch} brings a triton along on {system} is not known")
    text = f"torch {torch} brings no triton along on {system}"
    return Known("", mined.because and Because(text, mined.because.source, mined.because.strength))


def _triton_requirements(lines: list[str]) -> list[Requirement]:
    found = []
    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.name in _TRITONS and "extra" not in str(requirement.marker or ""):
            found.append(requirement)
    return found


def _applies(requirement: Requirement, facts: Facts, system: Known[str]) -> bool:
    """Evaluate a requirement's marker on the described machine; what is not stated excludes nothing.

    Every value a marker may ask for is given, so that our own interpreter's never leaks in.
    """
    if requirement.marker is None:
        return True
    platform = _SYSTEMS[system.value if system.value in _SYSTEMS else "linux"]
    stated = released.parsed((facts.python or Python()).version)
    pythons = [stated] if stated else _PYTHONS
    environments: list[dict[str, Any]] = [
        {
            "platform_system": platform.system,
            "sys_platform": platform.sys,
            "os_name": platform.os,
            "platform_machine": (facts.host or Host()).machine or "x86_64",
            "python_version": f"{python.major}.{python.minor}",
            "python_full_version": str(python),
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
            "extra": "",
        }
        for python in pythons
    ]
    return any(requirement.marker.evaluate(one) for one in environments)
