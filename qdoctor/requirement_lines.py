"""Requirements as users write them: ``SPEC`` arguments and requirements files, read strictly.

Options that choose a build of torch (an index that ends in ``/whl/cu126``) are understood; every
other option is named as not followed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from packaging.requirements import InvalidRequirement, Requirement

from qdoctor.model import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LARGEST = 4 * 1024 * 1024
_INCLUDE = re.compile(r"(?:-r|--requirement)(?:\s+|=)?(?P<file>.+)")
_COMMENT = re.compile(r"(?:^|\s)#.*$")
_HASHES = re.compile(r"\s--(?:hash|config-settings?|global-option)\b.*$")
_INDEX = re.compile(
    r"(?:-i|--index-url|--extra-index-url)(?:\s+|=)\S+/whl/(?P<tag>[a-z]+[\d.]*)/?$"
)


class Asked(msgspec.Struct, frozen=True):
    """One requirement and where it stands, for messages."""

    requirement: Requirement
    origin: str


class Lines(msgspec.Struct, frozen=True):
    """Everything that was asked for; ``build`` is the torch build that an index option chooses."""

    asked: tuple[Asked, ...]
    remarks: tuple[str, ...] = ()
    build: str | None = None


class _Line(msgspec.Struct, frozen=True):
    text: str
    origin: str


def read(specs: Sequence[str], files: Sequence[str]) -> Lines:
    """Read requirements. Raises ``BadInput`` for what is none, or a file that is none."""
    lines = [_Line(spec, spec) for spec in specs]
    for name in files:
        held = list(_file_lines(Path(name), seen=()))
        if not held:
            raise BadInput(f"{name}: names no package; write one requirement a line")
        lines += held
    options = [line for line in lines if line.text.startswith("-") and line.origin != line.text]
    builds = {line.origin: found["tag"] for line in options if (found := _INDEX.match(line.text))}
    remarks = [
        f"{line.origin}: this option is not followed"
        for line in options
        if line.origin not in builds
    ]
    asked = [_parsed(line) for line in lines if line not in options]
    return Lines(tuple(asked), tuple(remarks), next(reversed(builds.values()), None))


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
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: is not UTF-8 text: {error.reason}") from error
    if len(data) > _LARGEST:
        raise BadInput(f"{path}: larger than 4 MiB, so it is no requirements file")
    if "\0" in text:
        raise BadInput(f"{path}: holds zero bytes, so it is no requirements file")
    return text


def _joined(text: str) -> list[str]:
    """Lines with those that end in a backslash put together."""
    return re.sub(r"\\\r?\n", " ", text).splitlines()


def _parsed(line: _Line) -> Asked:
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
    return Asked(requirement, line.origin)
