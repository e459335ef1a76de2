"""What a URL or a path tells of the package behind it, without being opened.

The name of a wheel tells package, version, build, Python and platform (PEP 427), that of an archive
of sources, or of the folder that it unpacks to, package and version (PEP 625); a repository, or the
folder that conda built in, tells no version.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec.structs import replace
from packaging.utils import (
    InvalidName,
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

_SCHEME = re.compile(r"[a-zA-Z][\w+.-]+://")
_REPOSITORY = re.compile(r"(?:git|hg|svn|bzr)\+")
_PATH = re.compile(r"\.{0,2}[/\\]|~[/\\]|\.{1,2}$|[a-zA-Z]:[/\\]")
_ARCHIVE = re.compile(r"\.(?:whl|tar\.gz|tar\.bz2|tar\.xz|tgz|zip)$")
_CONDA = re.compile(r"[/\\](?:croot|conda-bld|feedstock_root)[/\\]|_\d{10,13}[/\\]work\b")
_WHEEL = ".whl"
_LONGEST = 255  # characters of a file's name, on every system
_EXTRAS = re.compile(r"\[[\w\s.,-]*\]$")
_MARKER = re.compile(r"\s+;\s*|;\s+")
_EGG = re.compile(r"(?:^|&)egg=(?P<name>[A-Za-z0-9][\w.-]*)")
_SECRET = re.compile(r"(?<=://)(?!git@)[^/@\s]+@")


class Told(msgspec.Struct, frozen=True):
    """What is told of a package; None is not told.

    ``tags`` are those of a wheel, such as ``cp310-cp310-linux_x86_64``; ``sources`` says that it
    is built from them; a ``guessed`` name is that of a repository, which may hold another package;
    ``release`` is the version that a repository's tag suggests; ``conda`` says that conda built it
    at that place, which need not be on this machine.
    """

    name: str | None
    version: str | None = None
    tags: tuple[str, ...] = ()
    sources: bool = False
    guessed: bool = False
    release: str | None = None
    conda: bool = False


def split(text: str) -> tuple[str, str] | None:
    """Split a line that is a URL or a path into it and its marker; None where it is neither."""
    where, *marker = _MARKER.split(text, maxsplit=1)
    plain = _EXTRAS.sub("", where)
    found = _SCHEME.match(plain) or _PATH.match(plain) or _REPOSITORY.match(plain)
    archive = "://" not in plain and _ARCHIVE.search(plain.partition("#")[0])
    if not found and not archive:
        return None
    return plain, "".join(marker)


def read(where: str, name: str | None = None) -> Told:
    """Return what a URL or a path tells; ``name`` is the one before its ``@``, if there is one."""
    place, _, fragment = where.partition("#")
    egg = _EGG.search(fragment)
    given = name or (egg["name"] if egg else None)
    path = _path(place)
    if _REPOSITORY.match(place):
        return _of_repository(path, given)
    last = path.replace("\\", "/").rstrip("/").rpartition("/")[2]
    if len(last) > _LONGEST:  # tags are multiplied with one another
        return Told(_name(given))
    if last.endswith(_WHEEL):
        return _of_wheel(last, given)
    told = _of_sources(last, given)
    return replace(told, conda=told.version is None and _CONDA.search(path) is not None)


def _path(place: str) -> str:
    try:
        return unquote(urlsplit(place).path if _SCHEME.match(place) else place)
    except ValueError:  # a bracket, as of an IPv6 address, that is not closed
        return ""


def without_secrets(text: str) -> str:
    """Take user names, passwords and tokens out of the URLs of a text, as pip does."""
    return _SECRET.sub("****@", text)


def _of_repository(path: str, given: str | None) -> Told:
    """Of ``/huggingface/transformers.git@v4.40.0``: a tag is no proof of what it holds."""
    repository, _, tag = path.partition("@")
    last = repository.rstrip("/").rpartition("/")[2].removesuffix(".git")
    return Told(_name(given or last), sources=True, guessed=given is None, release=_version(tag))


def _of_wheel(file: str, given: str | None) -> Told:
    try:
        name, version, _, tags = parse_wheel_filename(file)
    except InvalidWheelFilename:
        return Told(_name(given))
    return Told(name, str(version), tuple(sorted(map(str, tags))))


def _of_sources(file: str, given: str | None) -> Told:
    unpacked = given is not None and not _ARCHIVE.search(file)
    try:
        name, version = parse_sdist_filename(f"{file}.tar.gz" if unpacked else file)
    except InvalidSdistFilename:
        return Told(_name(given), sources=True)
    if given is not None and canonicalize_name(given) != name:  # a repository's, packed by its host
        return Told(_name(given), sources=True)
    return Told(name, str(version), sources=True)


def _name(text: str | None) -> str | None:
    try:
        return None if text is None else canonicalize_name(text, validate=True)
    except InvalidName:
        return None


def _version(tag: str) -> str | None:
    try:
        return str(Version(tag))
    except InvalidVersion:
        return None
