"""Layers of the host: do the installed packages accept this Python and this C library?"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from qdoctor.layers.answer import Answer, no, together, unknown, yes
from qdoctor.layers.bnb_binaries import chosen
from qdoctor.layers.natives import highest, libraries_of
from qdoctor.model import Because
from qdoctor.released import Known, fact, fits, parsed

if TYPE_CHECKING:
    from collections.abc import Callable

    from packaging.version import Version

    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix

_PACKAGES = ("torch", "triton", "bitsandbytes")
_MUSL, _ANY = "musl", "any"
_MANYLINUX = re.compile(r"manylinux_(\d+)_(\d+)_")
_NAMED = {"manylinux1": "2.5", "manylinux2010": "2.12", "manylinux2014": "2.17"}
"""The glibc that the oldest tags stand for (PEP 600)."""
_TAG = re.compile(r"cp(\d)(\d+)(-abi3)?")
"""``cp312`` is for Python 3.12, ``cp312-abi3`` for it and all newer ones (PEP 384)."""


def python_supported(machine: Machine, matrix: Matrix) -> Answer:
    """Do all installed packages that we know accept this Python?"""
    return _all_installed(machine, matrix, package_fits_python)


def libc_new_enough(machine: Machine, matrix: Matrix) -> Answer:
    """Is the C library new enough for all installed packages that we know?"""
    return _all_installed(machine, matrix, package_fits_libc)


def torch_fits_python(machine: Machine, matrix: Matrix) -> Answer:
    """Does torch accept this Python?"""
    return package_fits_python(machine, matrix, "torch")


def torch_fits_libc(machine: Machine, matrix: Matrix) -> Answer:
    """Is the C library new enough for torch?"""
    return package_fits_libc(machine, matrix, "torch")


def triton_fits_python(machine: Machine, matrix: Matrix) -> Answer:
    """Does triton accept this Python?"""
    return package_fits_python(machine, matrix, "triton")


def triton_fits_libc(machine: Machine, matrix: Matrix) -> Answer:
    """Is the C library new enough for triton?"""
    return package_fits_libc(machine, matrix, "triton")


def bnb_fits_python(machine: Machine, matrix: Matrix) -> Answer:
    """Does bitsandbytes accept this Python?"""
    return package_fits_python(machine, matrix, "bitsandbytes")


def bnb_fits_libc(machine: Machine, matrix: Matrix) -> Answer:
    """Is the C library new enough for bitsandbytes' native library?"""
    return package_fits_libc(machine, matrix, "bitsandbytes")


def package_fits_python(machine: Machine, matrix: Matrix, package: str) -> Answer:
    """Does a package's release accept this Python, by its metadata and the tags of its wheels?"""
    version = machine.package(package)
    if not version.value:
        return unknown(version.reason or f"{package} is not installed")
    if not matrix.matching(package, version.value) and _installed_here(machine, package):
        text = f"an installer that checks it put {package} {version.value} into this Python"
        return yes(text, Because(text, f"facts: requires.{package}", "inspected"))
    return release_fits_python(machine, matrix, package, version.value)


def release_fits_python(machine: Machine, matrix: Matrix, package: str, version: str) -> Answer:
    """Does this release accept the machine's Python, whatever is installed?"""
    return _accepts(matrix, package, version, machine.python)


@lru_cache(maxsize=2048)
def _accepts(matrix: Matrix, package: str, version: str, stated: Known[str]) -> Answer:
    spec = fact(matrix, package, version, "requires_python")
    python = stated.value
    if python is None or parsed(python) is None:
        return _checked_by_installer(spec, package, version)
    if spec.value and fits(matrix, "python", python, spec.value) is False:
        text = f"{package} {version} requires Python {spec.value}, this is {python}"
        return no(_python_rule(package), text, spec.because, stated.because)
    return _has_wheel(matrix, package, version, python, spec)


def package_fits_libc(machine: Machine, matrix: Matrix, package: str) -> Answer:
    """Is the C library new enough for a package's native code? Only Linux asks this."""
    if machine.os.value not in (None, "linux"):
        return yes(f"{machine.os.value} has no glibc to be too old")
    version = machine.package(package)
    if not version.value:
        return unknown(version.reason or f"{package} is not installed")
    need = _glibc_needed(machine, matrix, package, version.value)
    if need.value is None:
        return _for_musl(machine, matrix, package) or unknown(need.reason)
    if machine.libc.value is None:
        return _tagged_floor(matrix, package, version.value, need)
    return _compared(machine.libc, f"{package} {version.value}", need)


def _for_musl(machine: Machine, matrix: Matrix, package: str) -> Answer | None:
    """Say no on musl where no known release of a package has a wheel for it; None for unknown."""
    if not (machine.libc.value or "").startswith(_MUSL):
        return None
    known = [fact(matrix, package, str(one), "platforms") for one in matrix.versions(package)]
    tags = [tag for one in known for tag in one.value or ()]
    if not tags or any(tag.startswith(_MUSL) or tag == _ANY for tag in tags):
        return None
    text = f"no known release of {package} has a wheel for musl, this machine's C library"
    return no("glibc-too-old", text, known[-1].because, machine.libc.because)


@lru_cache(maxsize=8192)
def _compared(stated: Known[str], who: str, need: Known[str]) -> Answer:
    libc = stated.value or ""
    kind, _, have = libc.partition(" ")
    held, wanted = parsed(have), parsed(need.value)
    text = f"{who} needs glibc {need.value}, this machine has {libc}"
    if kind == "glibc" and (held is None or wanted is None):
        return unknown(f"this machine's {libc!r} cannot be compared with {need.value!r}")
    if kind != "glibc" or (held and wanted and held < wanted):
        return no("glibc-too-old", text, need.because, stated.because)
    return yes(text, need.because)


def _has_wheel(matrix: Matrix, package: str, version: str, python: str, spec: Known[str]) -> Answer:
    tags = fact(matrix, package, version, "pythons")
    exact = [match for tag in tags.value or () if (match := _TAG.fullmatch(tag))]
    own = parsed(python)
    generic = any(tag.startswith("py") for tag in tags.value or ())
    if exact and not generic and own:
        named = f"{own.major}.{own.minor}"
        if not any(_serves(match, (own.major, own.minor)) for match in exact):
            text = f"{package} {version} has no wheel for Python {named}"
            return no(_python_rule(package), text, tags.because)
        return yes(f"{package} {version} has a wheel for Python {named}", tags.because)
    if spec.value is None:
        return unknown(spec.reason)
    return yes(f"{package} {version} accepts Python {python}", spec.because)


def _serves(tag: re.Match[str], python: tuple[int, int]) -> bool:
    """Say whether a wheel with this Python tag is for CPython ``python``."""
    built = int(tag[1]), int(tag[2])
    return built <= python if tag[3] else built == python


def _checked_by_installer(spec: Known[str], package: str, version: str) -> Answer:
    """Trust the installer where Python is not stated: it installs no release that refuses it."""
    if spec.value is None:
        return unknown(spec.reason)
    return yes(f"the installer checked that {package} {version} accepts this Python", spec.because)


def _glibc_needed(machine: Machine, matrix: Matrix, package: str, version: str) -> Known[str]:
    """Return the glibc a package's code needs: of the library that is loaded, for bitsandbytes."""
    if package == "bitsandbytes":
        return machine.ask(chosen, matrix).glibc
    known = fact(matrix, package, version, "glibc")
    read = {one.glibc: one.file for one in libraries_of(machine, package)}
    newest = highest(read)
    floor, own = parsed(known.value), parsed(newest)
    if own is None or (floor is not None and own < floor):  # only what links CUDA was read
        return known
    text = f"the installed {read[newest]} needs glibc {newest}"
    return Known(newest, Because(text, "facts: native", "inspected"))


@lru_cache(maxsize=512)
def _tagged_floor(matrix: Matrix, package: str, version: str, need: Known[str]) -> Answer:
    """Compare with the wheel's tag where glibc is not stated: the installer checked the tag."""
    tags = fact(matrix, package, version, "platforms")
    floors = [floor for tag in tags.value or () if (floor := glibc_of_tag(tag))]
    wanted, oldest = parsed(need.value), matrix.row("host_floors", "linux")
    if wanted and floors and min(floors) >= wanted:
        return yes(
            f"the installer checked that glibc is new enough for {package} {version}", tags.because
        )
    served = parsed(oldest["glibc"]) if oldest else None
    if wanted and served and served >= wanted:
        text = (
            f"every Linux that CUDA serves has glibc {served}, {package} {version} needs {wanted}"
        )
        return yes(text, need.because, matrix.because_row("host_floors", "linux", text))
    return unknown(f"{package} {version} needs glibc {need.value}; this machine's is not known")


def glibc_of_tag(tag: str) -> Version | None:
    """Return the oldest glibc that a wheel's platform tag promises to run on; None for no Linux."""
    if found := _MANYLINUX.match(tag):
        return parsed(f"{found[1]}.{found[2]}")
    return parsed(_NAMED.get(tag.split("_", 1)[0]))


def _installed_here(machine: Machine, package: str) -> bool:
    """Say whether the package's own metadata was read in the examined interpreter."""
    return package in (machine.facts.requires or {})


def _all_installed(
    machine: Machine, matrix: Matrix, fits: Callable[[Machine, Matrix, str], Answer]
) -> Answer:
    """Ask about each package that is there, until one says no."""
    present = [package for package in _PACKAGES if machine.package(package).value]
    if not present:
        return unknown(machine.torch.reason or "no package is known")
    return together(fits(machine, matrix, package) for package in present)


def _python_rule(package: str) -> str | None:
    return "triton-missing-for-python" if package == "triton" else None
