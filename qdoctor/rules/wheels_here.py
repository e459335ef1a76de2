"""Which releases an installer finds here: by the wheels that are known, or as pip lists them.

What is not stated of the machine refuses nothing.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from qdoctor.layers.host import package_fits_libc, release_fits_python
from qdoctor.layers.wheel import platform_has_wheel
from qdoctor.machine import complete
from qdoctor.model import Host
from qdoctor.released import fact, parsed
from qdoctor.rules.what_if import Span, nearest, runs, with_package

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packaging.version import Version

    from qdoctor.layers import Answer
    from qdoctor.matrix import Matrix
    from qdoctor.model import Action
    from qdoctor.rules.case import Case, Signal

_ANY = "any"
_LINUX = "linux"
_COMMON = "x86_64"
"""The processor that a machine has of which only the system is stated."""
_ALSO = (_COMMON, "AMD64", "amd64")
_LIBC = "glibc-too-old"
_LISTED = re.compile(r"[\w.+!]+")


class Refusal(msgspec.Struct, frozen=True):
    """Why no release that was asked for is found: ``answer`` says no of the one named last.

    ``platform``: there is no wheel for this system and processor; else there is none for this
    Python.
    """

    answer: Answer
    platform: bool


def asked_for(case: Case, package: str, wanted: str) -> list[Version]:
    """Return the known releases that a requirement accepts; [] where it cannot be read."""
    return list(_accepted(case.matrix, package, wanted.strip(" ,")))


@lru_cache(maxsize=1024)
def _accepted(matrix: Matrix, package: str, wanted: str) -> tuple[Version, ...]:
    try:
        spec = SpecifierSet(wanted)
    except InvalidSpecifier:
        return ()
    return tuple(one for one in matrix.versions(package) if spec.contains(one, prereleases=False))


def refusal(case: Case, package: str, wanted: str) -> Refusal | None:
    """Return why every release that was asked for is refused here; None where that is not known."""
    found: list[Refusal] = []
    for one in reversed(asked_for(case, package, wanted)):  # a newer one is likelier to be found
        refused = _refused(case, package, str(one))
        if refused is None:
            return None
        found.append(refused)
    platform = [one for one in found if one.platform]
    return platform[-1] if platform else next(iter(found), None)


def libc_refuses(case: Case, package: str, wanted: str) -> Answer | None:
    """Return why the C library keeps the newest of what was asked for away, and no other is found.

    None where it does not, or where that is not known.
    """
    asked = asked_for(case, package, wanted)
    if not asked or refusal(case, package, wanted) is None:
        return None
    refused = [_refused(case, package, str(one)) for one in asked]
    return next((one.answer for one in refused if one and one.answer.rule == _LIBC), None)


def nearest_with_libc(case: Case, package: str, wanted: str) -> tuple[Action, Span] | None:
    """Return the way to releases found here that were built for this C library or an older one."""
    known = [one for one in case.matrix.versions(package) if not one.is_prerelease]
    good = [
        _refused(case, package, str(one)) is None
        and package_fits_libc(
            with_package(case.machine, case.matrix, package, str(one)), case.matrix, package
        ).value
        != "no"
        for one in known
    ]
    asked = asked_for(case, package, wanted)
    way = nearest(runs(known, good), str(asked[-1]) if asked else None)
    return None if way is None or way[0] == "reinstall" else way


def none_here(case: Case, package: str, wanted: str, *, any_system: bool = False) -> str:
    """Say that no release that is asked for has a wheel here; ``""`` where one may have.

    ``any_system``: of which systems there are wheels is not known, of which Pythons it is.
    """
    why = refusal(case, package, wanted)
    if why is None or (why.platform and any_system):
        return ""
    machine = case.machine
    system = f"{machine.os.value or ''} {machine.arch.value or ''}".strip()
    place = system if why.platform else f"Python {machine.python.value}"
    if why.answer.rule == _LIBC:
        place = f"{machine.libc.value}"
    return f"no release of {package}{wanted} has a wheel for {place}"


def has_other_reason(case: Case, package: str, wanted: str) -> bool:
    """Say whether this system is served on the common processor: then something else is refused."""
    machine, asked = case.machine, asked_for(case, package, wanted)
    if machine.arch.value is None and machine.os.value is not None:
        host = msgspec.structs.replace(machine.facts.host or Host(), machine=_COMMON)
        facts = msgspec.structs.replace(machine.facts, host=host)
        machine = complete(facts, case.matrix, assume_driver=machine.driver_assumed)
    return machine.arch.value in _ALSO and any(
        (machine.os.value == _LINUX or _is_tagged(case, package, str(one)))
        and platform_has_wheel(machine, case.matrix, package, str(one)).value == "yes"
        for one in asked
    )


def _is_tagged(case: Case, package: str, version: str) -> bool:
    """Say whether a release's wheels name their platforms: ``any`` is for what Linux loads."""
    return _ANY not in (fact(case.matrix, package, version, "platforms").value or ())


def found_here(case: Case, package: str) -> list[Span]:
    """Return the runs of known releases that nothing stated refuses, ascending."""
    known = [one for one in case.matrix.versions(package) if not one.is_prerelease]
    return runs(known, [_refused(case, package, str(one)) is None for one in known])


def nearest_here(case: Case, package: str, wanted: str) -> Span | None:
    """Return the run of releases that are found here and nearest to those asked for."""
    first = next(iter(asked_for(case, package, wanted)), None)
    way = nearest(found_here(case, package), str(first) if first else None)
    return way[1] if way is not None and way[0] != "reinstall" else None


def listed(signals: Iterable[Signal]) -> list[Version]:
    """Return the releases that pip says it found instead, ascending."""
    names = (name for one in signals for name in _LISTED.findall(one.said.get("listed", "")))
    found = {one for name in names if (one := parsed(name)) and not one.is_prerelease}
    return sorted(found)


def never_released(case: Case, package: str, wanted: str, signals: Iterable[Signal]) -> bool:
    """Say whether pip lists releases, and what was asked for is none that is known.

    Then it is not this Python that is refused: the pinned one is gone (a nightly) or mistyped.
    """
    return (
        bool(listed(signals)) and wanted.startswith("==") and not asked_for(case, package, wanted)
    )


def nearest_listed(found: list[Version], wanted: str) -> Version | None:
    """Return the first release listed above a pinned one, else the newest; None for none."""
    pinned = parsed(wanted.removeprefix("==")) if wanted.startswith("==") else None
    above = [one for one in found if pinned is not None and one > pinned]
    return above[0] if above else next(reversed(found), None)


def _refused(case: Case, package: str, version: str) -> Refusal | None:
    here = platform_has_wheel(case.machine, case.matrix, package, version)
    if here.value == "no":
        return Refusal(here, platform=True)
    if case.machine.python.value is None:
        return None
    accepts = release_fits_python(case.machine, case.matrix, package, version)
    return Refusal(accepts, platform=False) if accepts.value == "no" else None
