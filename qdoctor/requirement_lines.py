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

from qdoctor.byte_order import encoding_of
from qdoctor.model import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LARGEST = 4 * 1024 * 1024
_LONGEST = 4000  # characters of one requirement: Python reads no number of more than 4300 digits
_DEEPEST = 50  # parentheses: packaging recurses, and torch.compile lifts the limit of recursion
_MOST_FILES = 200  # that a file includes, and those include: two lines can name millions
_INCLUDE = re.compile(r"(?:-r|--requirement)(?:\s+|=)?(?P<quote>[\"']?)(?P<file>.+)(?P=quote)")
_COMMENT = re.compile(r"(?:^|\s)#.*$")
_COMMENT_LINE = re.compile(r"\s*#")
_ADDRESS = re.compile(r"[a-zA-Z][\w+.-]+://")
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

    @property
    def is_option(self) -> bool:
        """Whether it is an option of a file; on the command line it is a requirement misspelt."""
        return self.text.startswith("-") and self.origin != self.text


def read(specs: Sequence[str], files: Sequence[str]) -> Lines:
    """Read requirements. Raises ``BadInput`` for what is none, or a file that is none."""
    lines = [_Line(spec, spec) for spec in specs]
    for name in files:
        _refuse_no_file(name)
        held = list(_file_lines(Path(name), above=(), every=[]))
        if all(line.text.startswith("-") for line in held):
            raise BadInput(f"{name}: names no package; write one requirement a line")
        lines += held
    options = [line for line in lines if line.is_option]
    builds = {line.origin: found["tag"] for line in options if (found := _INDEX.match(line.text))}
    remarks = [
        f"{line.origin}: this option is not followed"
        for line in options
        if line.origin not in builds
    ]
    asked = [_parsed(line) for line in lines if not line.is_option]
    return Lines(tuple(asked), tuple(remarks), next(reversed(builds.values()), None))


def _refuse_no_file(name: str) -> None:
    if not name:
        raise BadInput("-r names no file: is a variable empty that it is made of?")
    if _ADDRESS.match(name):
        raise BadInput(
            f"{name}: a requirements file is not fetched; download it, and name the file"
        )


def _file_lines(path: Path, above: tuple[Path, ...], every: list[Path]) -> Iterator[_Line]:
    """Lines of a file and of those it includes: ``above`` include it, ``every`` was read so far."""
    lines = _joined(_content(path))
    own = path.resolve()
    if own in above:
        raise BadInput(f"{path}: includes itself through -r")
    every.append(own)
    if len(every) > _MOST_FILES:
        raise BadInput(f"{every[0]}: includes more than {_MOST_FILES} files through -r")
    for number, line in enumerate(lines, start=1):
        text = _HASHES.sub("", _COMMENT.sub("", line)).strip()
        if found := _INCLUDE.fullmatch(text):
            _refuse_no_file(found["file"])
            yield from _file_lines(path.parent / found["file"].strip(), (*above, own), every)
        elif text:
            yield _Line(text, f"{path.name}, requirement {number} ({_short(text)})")


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise BadInput(f"{path}: larger than 4 MiB, so it is no requirements file")
        text = data.decode(encoding_of(data))
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: is not UTF-8 text: {error.reason}") from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        why = getattr(error, "strerror", None) or str(error)
        raise BadInput(f"{_short(str(path))}: cannot be read: {why}") from error
    if "\0" in text:
        raise BadInput(f"{path}: holds zero bytes, so it is no requirements file")
    return text


def _joined(text: str) -> list[str]:
    """Put lines that end in a backslash together, as pip does: a comment ends with its line."""
    joined: list[str] = []
    held = ""
    for line in text.splitlines():
        comment = _COMMENT_LINE.match(line)
        if line.endswith("\\") and not comment:
            held += line.rstrip("\\")
            continue
        joined.append(held + (f" {line}" if comment else line))
        held = ""
    return [*joined, held]


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}..."  # noqa: PLR2004 - as a line holds


def _requirement(text: str) -> Requirement:
    if len(text) > _LONGEST:
        raise InvalidRequirement(f"longer than {_LONGEST} characters")
    if text.count("(") > _DEEPEST:
        raise InvalidRequirement(f"more than {_DEEPEST} parentheses")
    return Requirement(text)


def _parsed(line: _Line) -> Asked:
    try:
        requirement = _requirement(line.text)
    except InvalidRequirement as error:
        hint = "write NAME==VERSION or NAME and a specifier, such as 'bitsandbytes>=0.45'"
        origin = _short(line.origin) or repr(line.origin)
        raise BadInput(
            f"{origin}: is no requirement; {hint} ({str(error).splitlines()[0]})"
        ) from error
    if requirement.url:
        raise BadInput(
            f"{line.origin}: what lies at a URL cannot be judged unread; name its version"
        )
    return Asked(requirement, line.origin)
