"""What an installer would take today, worked out offline from the matrix.

As pip does it: the newest release that everything asked for accepts and that has a wheel here,
what is installed if it fits, and another choice where requirements of the releases contradict each
other. Only packages that the matrix knows are looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from qdoctor.layers.answer import together, unknown
from qdoctor.layers.wheel import build_of, has_wheel
from qdoctor.layers.wheel_file import file_fits
from qdoctor.released import fact, parsed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from packaging.specifiers import SpecifierSet

    from qdoctor.direct_reference import Told
    from qdoctor.layers import Answer
    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix

_CUDA = "cu"
_STEPS = 2000
"""More choices than any real plan of these packages needs: then it is given up, not hung."""


class Want(msgspec.Struct, frozen=True):
    """One requirement on a package: ``spec`` without build tags, and who asks for it."""

    name: str
    spec: SpecifierSet
    who: str
    exact: str | None = None
    """The version of an exact pin, as written; also for a release that the matrix lacks."""
    by: str | None = None
    """The package whose release requires it; None for what the user asked for."""

    def __str__(self) -> str:
        """Say who wants which versions."""
        wanted = f"{self.name}{'==' + self.exact if self.exact else self.spec}"
        if self.by is not None:
            return f"{self.who} requires {wanted}"
        return f"{wanted} is planned" + (f" ({self.who})" if self.who != wanted else "")


class Conflict(msgspec.Struct, frozen=True):
    """Requirements on one package that no release of it meets together."""

    name: str
    wants: tuple[Want, ...]


class Resolved(msgspec.Struct, frozen=True):
    """The versions of everything wanted and brought along; None where none fit together."""

    versions: dict[str, str] | None
    brought: dict[str, Want] = msgspec.field(default_factory=dict)
    conflict: Conflict | None = None
    given_up: bool = False


class Installer(msgspec.Struct):
    """One machine's installer: ``installed`` is kept where it fits, ``builds`` are torch tags."""

    machine: Machine
    matrix: Matrix
    environment: Mapping[str, str]
    installed: Mapping[str, str]
    build: str | None = None
    files: Mapping[str, Told] = msgspec.field(default_factory=dict)
    """Of packages that are taken from a file, not from an index: what its name tells."""
    unread: frozenset[str] = frozenset()
    """Packages that come in a version that is not known: nothing else is chosen for them."""
    bounds: Sequence[Want] = ()
    """What constrains the versions of packages, and asks for none of them."""
    _first: Conflict | None = None
    _steps: int = 0

    def resolve(self, wants: Sequence[Want]) -> Resolved:
        """Choose a release for everything in ``wants`` and for what those bring along."""
        self._first, self._steps = None, 0
        found = self._chosen({}, list(wants))
        if found is None:
            return Resolved(None, conflict=self._first, given_up=self._steps > _STEPS)
        versions, all_wants = found
        brought = {one.name: one for one in reversed(all_wants) if one.by is not None}
        direct = {one.name for one in all_wants if one.by is None}
        return Resolved(versions, {n: one for n, one in brought.items() if n not in direct})

    def fitting(self, name: str, wants: Sequence[Want]) -> list[str]:
        """Return the known releases that meet ``wants``, newest first, wheel or not."""
        exact = [one.exact for one in wants if one.exact and not self._known(name, one.exact)]
        if exact:
            return exact if all(self._meets(exact[0], one) for one in wants) else []
        known = [str(one) for one in reversed(self.matrix.versions(name))]
        return [one for one in known if all(self._meets(one, want) for want in wants)]

    def wheel(self, name: str, version: str) -> Answer:
        """Would a wheel be found for a release, of the build that was chosen, or does a file fit?

        Of a file that fits it does not count whether an index has one.
        """
        index = self.on_index(name, version)
        file = self.file(name, version)
        if file is None:
            return index
        if file.sources:
            return unknown(
                f"{name} {version} is an archive of sources: whether it builds here is not known"
            )
        fits = file_fits(self.machine, f"the wheel of {name} {file.version}", file.tags)
        return fits if "no" in {fits.value, index.value} else together([fits, index])

    def on_index(self, name: str, version: str) -> Answer:
        """Would an index have a wheel for a release, of the build that was chosen?"""
        return has_wheel(self.machine, self.matrix, name, self.tagged(name, version))

    def file(self, name: str, version: str) -> Told | None:
        """Return what the file that a release is taken from tells; None where there is none."""
        told = self.files.get(name)
        own, asked = parsed(told.version if told else None), parsed(version)
        return told if own and asked and own.public == asked.public else None

    def loads(self, name: str, version: str) -> bool:
        """Say whether a release has a wheel here whose libraries the C library is new enough for.

        The two differ: some wheels need a newer glibc than their tag says.
        """
        need = parsed(fact(self.matrix, name, version, "glibc").value)
        kind, _, libc = (self.machine.libc.value or "").partition(" ")
        have = parsed(libc) if kind == "glibc" else None
        new_enough = need is None or have is None or have >= need
        return new_enough and self.on_index(name, version).value == "yes"

    def tagged(self, name: str, version: str) -> str:
        """Return the version with the build tag that was chosen for torch."""
        tag = f"+{self.build}" if self.build and name == "torch" and "+" not in version else ""
        return version + tag

    def _chosen(
        self, versions: dict[str, str], wants: list[Want]
    ) -> tuple[dict[str, str], list[Want]] | None:
        """Choose for the next package: exact pins first, then what was asked for, then the rest."""
        self._steps += 1
        open_ = [one for one in wants if one.name not in versions]
        if not open_ or self._steps > _STEPS:
            return None if open_ else (versions, wants)
        name = min(open_, key=lambda one: (one.exact is None, one.by is not None)).name
        on_it = [one for one in (*wants, *self.bounds) if one.name == name]
        for version in self._candidates(name, on_it):
            more = list(self._brings(name, version))
            clash = self._clash(versions, wants, more)
            if clash is not None:
                self._first = self._first or clash
                continue
            found = self._chosen({**versions, name: version}, [*wants, *more])
            if found is not None:
                return found
        self._first = self._first or Conflict(name, tuple(on_it))
        return None

    def _candidates(self, name: str, wants: Sequence[Want]) -> Iterator[str]:
        kept = self.installed.get(name)
        if kept and self._stays(kept, wants):
            yield kept
        pinned = any(want.exact for want in wants)
        for version in self.fitting(name, wants):
            built = pinned or self._built(name, version)
            if built and self.wheel(name, version).value != "no":
                yield version

    def _stays(self, kept: str, wants: Sequence[Want]) -> bool:
        """Say whether an installer leaves an installed version alone."""
        if parsed(kept) is None:
            return all(want.by is not None for want in wants)
        return all(self._meets(kept, want) and _same_build(kept, want) for want in wants)

    def _built(self, name: str, version: str) -> bool:
        """Where an index of builds was chosen: only releases that are known to be on it."""
        if name != "torch" or self.build is None or not self._known(name, version):
            return True
        return build_of(self.machine, self.matrix, version, self.build).value == "yes"

    def _clash(
        self, versions: Mapping[str, str], wants: Sequence[Want], more: Sequence[Want]
    ) -> Conflict | None:
        for want in more:
            chosen = versions.get(want.name)
            if chosen is not None and not self._meets(chosen, want):
                return Conflict(want.name, (*(o for o in wants if o.name == want.name), want))
        return None

    def all_held(self, name: str, version: str) -> bool:
        """Say whether the matrix holds every package that a release requires."""
        return all(self.matrix.versions(other) for other in self.names(name, version))

    def names(self, name: str, version: str) -> list[str]:
        """Name the packages that a release requires here."""
        return [canonicalize_name(one.name) for one in self._required(name, version)]

    def _brings(self, name: str, version: str) -> Iterator[Want]:
        """What a release requires, of the packages that the matrix knows."""
        for requirement in self._required(name, version):
            other = canonicalize_name(requirement.name)
            if self.matrix.versions(other) and other not in self.unread:
                yield Want(other, requirement.specifier, f"{name} {version}", by=name)

    def _required(self, name: str, version: str) -> Iterator[Requirement]:
        for line in fact(self.matrix, name, version, "requires_dist").value or []:
            requirement = _requirement(line)
            if requirement is None:
                continue
            marker = requirement.marker
            applies = marker is None or marker.evaluate({**self.environment, "extra": ""})
            if applies and not self._left_out(name, version, requirement):
                yield requirement

    def _left_out(self, name: str, version: str, requirement: Requirement) -> bool:
        """Only torch's CUDA builds require the released triton: others bring none, or their own."""
        build = version.partition("+")[2] or self.build or _CUDA
        return name == "torch" and requirement.name == "triton" and not build.startswith(_CUDA)

    def _known(self, name: str, version: str) -> bool:
        return bool(self.matrix.matching(name, version))

    @staticmethod
    def _meets(version: str, want: Want) -> bool:
        """Compare without build tags; a pre-release only where it is named."""
        if want.exact is not None:
            own, pin = parsed(version), parsed(want.exact)
            return version == want.exact or bool(own and pin and own.public == pin.public)
        own = parsed(version)
        return own is not None and want.spec.contains(own.public)


def _same_build(kept: str, want: Want) -> bool:
    """Say whether a pin with a build tag, if it is one, names the installed build."""
    return want.exact is None or "+" not in want.exact or want.exact == kept


def _requirement(line: str) -> Requirement | None:
    try:
        return Requirement(line)
    except InvalidRequirement:
        return None
