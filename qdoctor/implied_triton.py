"""What the stated torch implies of triton: the one it requires, and the one that came with it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from packaging.markers import Marker
from packaging.version import Version

from qdoctor import released
from qdoctor.implied_packages import stated
from qdoctor.model import Because, Facts, Host, Python
from qdoctor.released import Known, unknown

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from qdoctor.matrix import Matrix

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
    """Return the installed triton; where none is stated, the one that came with torch on Linux."""
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


@lru_cache(maxsize=256)
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
    found = (released.requirement(line) for line in lines if "triton" in line)
    return [one for one in found if one is not None and one.name in _TRITONS]


def _applies(requirement: Requirement, facts: Facts, system: Known[str]) -> bool:
    """Evaluate a requirement's marker for a machine; what is not stated excludes nothing."""
    if requirement.marker is None:
        return True
    name = system.value if system.value in _SYSTEMS else "linux"
    machine = (facts.host or Host()).machine or "x86_64"
    return _holds(str(requirement.marker), name, machine, (facts.python or Python()).version)


@lru_cache(maxsize=1024)
def _holds(line: str, system: str, machine: str, python: str | None) -> bool:
    """Evaluate a marker for a Python, for any where none is stated."""
    marker, stated = Marker(line), released.parsed(python)
    pythons = [stated] if stated else _PYTHONS
    return any(_evaluated(marker, system, machine, one) for one in pythons)


def _evaluated(marker: Marker, system: str, machine: str, python: Version) -> bool:
    """Evaluate with a value for all that a marker may ask: our own interpreter's never leak in."""
    platform = _SYSTEMS[system]
    environment: dict[str, Any] = {
        "platform_system": platform.system,
        "sys_platform": platform.sys,
        "os_name": platform.os,
        "platform_machine": machine,
        "python_version": f"{python.major}.{python.minor}",
        "python_full_version": str(python),
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "extra": "",
    }
    return marker.evaluate(environment)
