"""The packages that somebody plans to install: ``SPEC`` arguments and requirements files.

Nothing is downloaded: an exact pin is taken as it is, a looser specifier becomes the newest
release that the matrix knows to fit it, and everything assumed on the way is said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.markers import UndefinedEnvironmentName, default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from qdoctor.model import BadInput, Facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from qdoctor.matrix import Matrix

_LARGEST = 4 * 1024 * 1024
_INCLUDE = re.compile(r"(?:-r|--requirement)(?:\s+|=)?(?P<file>.+)")
_COMMENT = re.compile(r"(?:^|\s)#.*$")
_HASHES = re.compile(r"\s--(?:hash|config-settings?|global-option)\b.*$")
_PLATFORMS = {"linux": "linux", "windows": "win32", "macos": "darwin"}


@dataclass
class Plan:
    """Planned package versions by canonical name, and what was assumed to arrive at them."""

    packages: dict[str, str] = field(default_factory=dict)
    assumptions: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Line:
    text: str
    origin: str


def read(specs: Sequence[str], files: Sequence[str], facts: Facts, matrix: Matrix) -> Plan:
    """Resolve planned packages for the machine of ``facts`` (environment markers apply to it).

    Raises ``BadInput`` for what is no requirement, contradicts another one, or has no release.
    """
    plan = Plan()
    environment = _environment(facts)
    for requirement, origin in _requirements(_lines(specs, files), plan):
        if not _applies(requirement, environment, origin):
            plan.assumptions.append(f"{origin}: not for this machine (marker {requirement.marker})")
            continue
        _add(plan, requirement, _version(requirement, origin, matrix, plan), origin)
    return plan


def _lines(specs: Sequence[str], files: Sequence[str]) -> Iterator[_Line]:
    for spec in specs:
        yield _Line(spec, spec)
    for name in files:
        yield from _file_lines(Path(name), seen=())


def _file_lines(path: Path, seen: tuple[Path, ...]) -> Iterator[_Line]:
    if path.resolve() in seen:
        raise BadInput(f"{path}: includes itself through -r")
    for number, line in enumerate(_joined(_content(path)), start=1):
        text = _HASHES.sub("", _COMMENT.sub("", line)).strip()
        if found := _INCLUDE.fullmatch(text):
            yield from _file_lines(path.parent / found["file"].strip(), (*seen, path.resolve()))
        elif text:
            yield _Line(text, f"{path.name}, requirement {number} ({text})")


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise BadInput(f"{path}: larger than 4 MiB, so it is no requirements file")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: is not UTF-8 text: {error.reason}") from error


def _joined(text: str) -> list[str]:
    """Lines with those that end in a backslash put together."""
    return re.sub(r"\\\r?\n", " ", text).splitlines()


def _requirements(lines: Iterable[_Line], plan: Plan) -> Iterator[tuple[Requirement, str]]:
    for line in lines:
        if line.text.startswith("-"):
            plan.assumptions.append(f"{line.origin}: this option is not followed")
            continue
        yield _parsed(line), line.origin


def _parsed(line: _Line) -> Requirement:
    try:
        requirement = Requirement(line.text)
    except InvalidRequirement as error:
        hint = "write NAME==VERSION or NAME and a specifier, such as 'bitsandbytes>=0.45'"
        raise BadInput(
            f"{line.origin}: is no requirement; {hint} ({str(error).splitlines()[0]})"
        ) from error
    if requirement.url:
        raise BadInput(
            f"{line.origin}: what lies at a URL cannot be judged unread; name its version"
        )
    return requirement


def _environment(facts: Facts) -> dict[str, str]:
    """Marker values of the examined machine; its unknown ones are taken from this one."""
    values = {key: str(value) for key, value in default_environment().items()}
    if facts.python is not None and facts.python.version:
        values["python_full_version"] = facts.python.version
        values["python_version"] = ".".join(facts.python.version.split(".")[:2])
    host = facts.host
    if host is not None and host.os in _PLATFORMS:
        values["sys_platform"] = _PLATFORMS[host.os]
        values["platform_system"] = {"macos": "Darwin"}.get(host.os, host.os.capitalize())
        values["os_name"] = "nt" if host.os == "windows" else "posix"
    if host is not None and host.machine:
        values["platform_machine"] = host.machine
    return values


def _applies(requirement: Requirement, environment: Mapping[str, str], origin: str) -> bool:
    try:
        return requirement.marker is None or requirement.marker.evaluate(dict(environment))
    except UndefinedEnvironmentName as error:
        raise BadInput(f"{origin}: its marker cannot be evaluated: {error}") from error


def _version(requirement: Requirement, origin: str, matrix: Matrix, plan: Plan) -> str:
    pinned = _pinned(requirement)
    if pinned is not None:
        return pinned
    name = canonicalize_name(requirement.name)
    known = matrix.versions(name)
    if not known:
        plan.assumptions.append(
            f"{origin}: the matrix knows no release of {name}; its version stays unknown"
        )
        return "?"
    fitting = list(requirement.specifier.filter(known)) if requirement.specifier else list(known)
    if not fitting:
        raise BadInput(
            f"{origin}: no release of {name} that the matrix knows fits: it knows {known[0]} to "
            f"{known[-1]}. Pin an exact version (NAME==VERSION) to have a newer one judged"
        )
    newest = str(max(fitting))
    plan.assumptions.append(
        f"{origin}: taken as {name} {newest}, the newest known release that fits"
    )
    return newest


def _pinned(requirement: Requirement) -> str | None:
    """The version of an exact pin; None for anything looser."""
    specifiers = list(requirement.specifier)
    if len(specifiers) != 1 or specifiers[0].operator not in {"==", "==="}:
        return None
    version = specifiers[0].version
    return None if version.endswith(".*") else version


def _add(plan: Plan, requirement: Requirement, version: str, origin: str) -> None:
    name = canonicalize_name(requirement.name)
    earlier = plan.packages.get(name, version)
    if earlier != version:
        raise BadInput(f"{origin}: {name} is planned twice, as {earlier} and as {version}")
    plan.packages[name] = version
    if requirement.extras:
        extras = ", ".join(sorted(requirement.extras))
        plan.assumptions.append(f"{origin}: what its extras ({extras}) bring is not looked at")
