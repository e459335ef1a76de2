"""Releases that look broken, found by holding the files against one another: candidates to look at.

``python -m qdoctor.mining.suspects`` prints them. What is confirmed goes into the table
``known_bad`` by hand, with its evidence: a candidate may have a harmless reason.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.tags import parse_tag
from packaging.version import Version

from qdoctor.matrix import shipped
from qdoctor.mining.errors import UnreadableRelease
from qdoctor.mining.index import configured, wheels

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qdoctor.matrix import Matrix, Release
    from qdoctor.mining.index import WheelFile

_NAMED = {
    "manylinux1": "2.5",
    "manylinux2010": "2.12",
    "manylinux2014": "2.17",
}  # PEP 513, 571, 599
_NUMBERED = re.compile(r"manylinux_(\d+)_(\d+)_")


@dataclass(frozen=True)
class Suspect:
    """One candidate: a release, the wheel, and what is odd about it."""

    package: str
    version: str
    wheel: str
    why: str

    def __str__(self) -> str:
        """Give it as one line."""
        return f"{self.package} {self.version}: {self.wheel or 'the release'}: {self.why}"


def needing_more_glibc(matrix: Matrix) -> Iterator[Suspect]:
    """Find libraries that need a newer glibc than the oldest that their wheel's tags accept."""
    for package in matrix.packages:
        for version in matrix.versions(package):
            release = matrix.release(package, str(version))
            if release is not None:
                yield from _of_release(release)


def promising_any_platform(matrix: Matrix) -> Iterator[Suspect]:
    """Find wheels tagged for any platform that hold native libraries, which fit only some."""
    for package in matrix.packages:
        for version in matrix.versions(package):
            release = matrix.release(package, str(version))
            places = release.evidence.get("native", ()) if release else ()
            for wheel in sorted(
                {one["wheel"] for one in places if one["wheel"].endswith("-any.whl")}
            ):
                libraries = sum(one["wheel"] == wheel for one in places)
                why = f"holds {libraries} native libraries, the tag accepts any platform"
                yield Suspect(package, str(version), wheel, why)


def lacking_a_library(matrix: Matrix) -> Iterator[Suspect]:
    """Find releases that lack a native library which the ones before and after both have."""
    for package in matrix.packages:
        held = [one for v in matrix.versions(package) if (one := matrix.release(package, str(v)))]
        for before, release, after in zip(held, held[1:], held[2:], strict=False):
            lacking = (_libraries(before) & _libraries(after)) - _libraries(release)
            for platform, file in sorted(lacking):
                why = f"lacks {file} for {platform}, which the releases around it have"
                yield Suspect(package, release.version, "", why)


def needing_more_cxx(matrix: Matrix) -> Iterator[Suspect]:
    """Find releases that need a newer libstdc++ than the ones before and after do."""
    for package in matrix.packages:
        held = [one for v in matrix.versions(package) if (one := matrix.release(package, str(v)))]
        for before, release, after in zip(held, held[1:], held[2:], strict=False):
            around = [one for one in (_newest_cxx(before), _newest_cxx(after)) if one]
            own = _newest_cxx(release)
            if own and len(around) == 2 and own > max(around):  # noqa: PLR2004 - both sides
                why = f"needs GLIBCXX_{own}, the releases around it GLIBCXX_{max(around)}"
                yield Suspect(package, release.version, "", why)


def withdrawn(files: Iterable[WheelFile]) -> Iterator[Suspect]:
    """Find the wheels that their makers withdrew (PEP 592), with the reason they gave."""
    for file in files:
        if file.yanked and not file.version.is_prerelease:
            project = file.name.partition("-")[0].replace("_", "-")
            why = f"withdrawn: {file.why_yanked or 'no reason given'}"
            yield Suspect(project, str(file.version), file.name, why)


def floor_of(wheel: str) -> Version | None:
    """Give the oldest glibc that the tags of a wheel's name accept; None: they name none."""
    floors = []
    for tag in parse_tag("-".join(wheel.removesuffix(".whl").split("-")[-3:])):
        named = next((one for start, one in _NAMED.items() if tag.platform.startswith(start)), "")
        numbered = _NUMBERED.match(tag.platform)
        text = named or (f"{numbered[1]}.{numbered[2]}" if numbered else "")
        floors += [Version(text)] if text else []
    return min(floors, default=None)


def _libraries(release: Release) -> set[tuple[str, str]]:
    return {(one["platform"], one["file"]) for one in release.facts.get("native", ())}


def _newest_cxx(release: Release) -> Version | None:
    read = (one.get("glibcxx") for one in release.facts.get("native", ()))
    return max((Version(one) for one in read if one), default=None)


def _of_release(release: Release) -> Iterator[Suspect]:
    asked = [
        (library["file"], library.get("glibc"), place["wheel"])
        for library, place in zip(
            release.facts.get("native", ()), release.evidence.get("native", ()), strict=True
        )
    ]
    if "glibc" in release.facts:
        place = release.evidence["glibc"][0]
        asked.append((place["member"], release.facts["glibc"], place["wheel"]))
    for member, glibc, wheel in asked:
        floor = floor_of(wheel)
        if glibc and floor and Version(glibc) > floor:
            why = f"{member} needs glibc {glibc}, the tag accepts {floor}"
            yield Suspect(release.package, release.version, wheel, why)


def main() -> int:
    """Print every candidate; 1 where the index does not answer."""
    matrix = shipped()
    by_facts = (needing_more_glibc, needing_more_cxx, promising_any_platform, lacking_a_library)
    found = [suspect for find in by_facts for suspect in find(matrix)]
    try:
        index_url, transport = configured()
        for package in matrix.packages:
            found += withdrawn(wheels(index_url, package, transport))
    except UnreadableRelease as error:
        _say(f"error: {error}")
        return 1
    for one in found:
        _say(str(one))
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - a program of its own


if __name__ == "__main__":
    sys.exit(main())
