"""Questions about one release: what the matrix knows of it, and whether it has a name.

Pure: ``PACKAGE[==VERSION]`` and a name in, an answer with its evidence out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
from packaging.utils import InvalidName, canonicalize_name
from packaging.version import Version

from qdoctor import released
from qdoctor.model import BadInput

if TYPE_CHECKING:
    from qdoctor.matrix import Matrix, Release
    from qdoctor.model import YesNo

_NAME_FACTS = ("names", "public_names")
_PREFIX = re.compile(r"\d+(\.\d+)*\.[xX*]")
_FORM = "write PACKAGE or PACKAGE==VERSION, such as triton==3.0.0"


class Asked(msgspec.Struct, frozen=True):
    """The release that a question is about; no version: the newest that the matrix knows."""

    package: str
    version: str | None

    def __str__(self) -> str:
        """Return it as a person writes it."""
        return f"{self.package} {self.version}" if self.version else self.package


class HasAnswer(msgspec.Struct, frozen=True):
    """Whether ``version`` has a name; ``reason`` says why where that is unknown."""

    answer: YesNo
    version: str | None
    evidence: list[dict[str, Any]] = msgspec.field(default_factory=list)
    reason: str = ""


def read(text: str) -> Asked:
    """Read ``PACKAGE[==VERSION]``. Raises ``BadInput`` for anything else."""
    package, equal, version = (part.strip() for part in text.partition("=="))
    try:
        named = canonicalize_name(package, validate=True)
        if equal and not _PREFIX.fullmatch(version):
            Version(version)
    except InvalidName as error:
        raise BadInput(f"{text!r} names no package: {_FORM}") from error
    except ValueError as error:  # InvalidVersion, or a number of thousands of digits
        raise BadInput(f"{text!r} names no version: {_FORM}") from error
    return Asked(named, version if equal else None)


def find(matrix: Matrix, asked: Asked) -> Release | None:
    """Return what is known of the release asked about; None for one the matrix does not know."""
    version = asked.version or _newest(matrix, asked.package)
    return matrix.release(asked.package, version) if version else None


def plain(found: Release | None, package: str, version: str | None) -> dict[str, Any]:
    """Return a release as the contract writes it; facts are empty where it is not known."""
    if found is None:
        return {"package": package, "version": version, "facts": {}, "evidence": {}}
    return {name: getattr(found, name) for name in ("package", "version", "facts", "evidence")}


def why_unknown(matrix: Matrix, asked: Asked) -> str:
    """Say why there is no answer about a release, and how to get one."""
    known = matrix.versions(asked.package)
    if not known:
        return f"the matrix knows no release of {asked.package}: {', '.join(matrix.packages)} only"
    return (
        f"the matrix {matrix.version} does not know {asked}, only {known[0]} to {known[-1]}; "
        f"to learn a release: qdoctor matrix mine --only {asked.package}=={asked.version}"
    )


def why_no_build(found: Release, asked: Asked) -> str:
    """Say that no such build (``+cu999``) of a release is known; ``""`` where it is, or none asked.

    A release's facts are those of its wheels without a tag; of other builds the matrix knows
    CUDA's. The names of a release are taken to be those of all its builds.
    """
    tag = (asked.version or "").partition("+")[2]
    default = found.facts.get("cuda")
    own = f"cu{default.replace('.', '')}" if default else ""
    known = sorted({*found.facts.get("builds", {}), *([own] if own else [])})
    if not tag or tag.lower() in known:
        return ""
    others = f"it knows {', '.join(known)}" if known else "it knows none by a tag"
    return (
        f"the matrix knows no build {tag} of {found.package} {found.version}: {others}; what it "
        "knows of that release is of the one without a tag"
    )


def has(matrix: Matrix, asked: Asked, name: str) -> HasAnswer:
    """Say whether a release has a public dotted name, written from its package on."""
    if not all(part.isidentifier() for part in name.split(".")):
        raise BadInput(f"{name!r} is no dotted name, such as triton.language.libdevice")
    found = find(matrix, asked)
    if found is None:
        return HasAnswer("unknown", asked.version, reason=why_unknown(matrix, asked))
    answer = released.has(matrix, found.package, asked.version or found.version, name)
    if answer == "unknown":
        return HasAnswer(answer, found.version, reason=_why_open(found, asked, name))
    places = [place for key in _NAME_FACTS for place in found.evidence.get(key, ())]
    return HasAnswer(answer, found.version, places)


def spans(matrix: Matrix, package: str, name: str) -> list[tuple[str, str, YesNo]]:
    """Return from which to which release the answer is the same: (first, last, answer)."""
    spans: list[tuple[str, str, YesNo]] = []
    for version in map(str, matrix.versions(package)):
        answer = released.has(matrix, package, version, name)
        if spans and spans[-1][2] == answer:
            spans[-1] = (spans[-1][0], version, answer)
        else:
            spans.append((version, version, answer))
    return spans


def _why_open(found: Release, asked: Asked, name: str) -> str:
    names = [one for key in _NAME_FACTS for one in found.facts.get(key, ())]
    if not names:
        return f"the matrix does not list the names of {found.package} {found.version}"
    top = names[0].partition(".")[0]
    if name.partition(".")[0] != top:
        return f"names of {found.package} begin with {top}, as in {top}.{name}"
    if any(part.startswith("_") for part in name.split(".")):
        return f"{name} is private: the matrix lists public names"
    if asked.version and _PREFIX.fullmatch(asked.version):
        return f"{asked} fits several releases, which differ in it"
    return f"what holds {name} cannot all be listed without running {found.package}"


def _newest(matrix: Matrix, package: str) -> str | None:
    known = matrix.versions(package)
    return str(known[-1]) if known else None
