"""Requirements as users write them: ``SPEC`` arguments and requirements files, read strictly.

Options that choose a build of torch (an index that ends in ``/whl/cu126``), that name further
files and that name editable packages are understood; every other option is named as not followed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from qdoctor import direct_reference, other_files
from qdoctor.byte_order import encoding_of
from qdoctor.model import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qdoctor.direct_reference import Told

_LARGEST = 4 * 1024 * 1024
_LONGEST = 4000  # characters of one requirement: Python reads no number of more than 4300 digits
_DEEPEST = 50  # parentheses: packaging recurses, and torch.compile lifts the limit of recursion
_MOST_FILES = 200  # that a file includes, and those include: two lines can name millions
_INCLUDE = re.compile(
    r"(?:-r|--requirement|(?P<bound>-c|--constraint))(?:\s+|=)?"
    r"(?P<quote>[\"']?)(?P<file>.+)(?P=quote)"
)
_EDITABLE = re.compile(r"(?:-e|--editable)(?:\s+|=)?(?P<quote>[\"']?)(?P<place>.+)(?P=quote)")
_COMMENT = re.compile(r"(?:^|\s)#.*$")
_COMMENT_LINE = re.compile(r"\s*#")
_ADDRESS = re.compile(r"[a-zA-Z][\w+.-]+://")
_NOT_FOLLOWED = "this option is not followed"
NOTHING_TOLD = "which package it installs is not told without opening it"
_HASHES = re.compile(r"\s--(?:hash|config-settings?|global-option)\b.*$")
_INDEX = re.compile(
    r"(?:-i|--index-url|--extra-index-url)(?:\s+|=)\S+/whl/(?P<tag>[a-z]+[\d.]*)/?$"
)


class Asked(msgspec.Struct, frozen=True):
    """One requirement and where it stands, for messages.

    ``told`` is what the URL or path tells in place of a version; a ``bound`` requirement, of
    ``-c``, asks for nothing: it only bounds the versions of what others ask for.
    """

    requirement: Requirement
    origin: str
    told: Told | None = None
    bound: bool = False

    @property
    def name(self) -> str:
        """The name of the package, the one way."""
        return canonicalize_name(self.requirement.name)


class Lines(msgspec.Struct, frozen=True):
    """Everything that was asked for; ``build`` is the torch build that an index option chooses.

    ``unfetched`` are the lines that name constraints by a URL.
    """

    asked: tuple[Asked, ...]
    remarks: tuple[str, ...] = ()
    build: str | None = None
    unfetched: tuple[str, ...] = ()


class _Line(msgspec.Struct, frozen=True):
    text: str
    origin: str
    in_file: bool = False
    bound: bool = False

    @property
    def is_option(self) -> bool:
        """Whether it is an option of a file; on the command line it is a requirement misspelt."""
        return self.text.startswith("-") and self.in_file

    @property
    def is_bare_option(self) -> bool:
        """Whether it is one that installs nothing."""
        return self.is_option and _EDITABLE.fullmatch(self.text) is None


def read(specs: Sequence[str], files: Sequence[str]) -> Lines:
    """Read requirements. Raises ``BadInput`` for what is none, or a file that is none."""
    asked = [_asked(_Line(spec, direct_reference.without_secrets(spec))) for spec in specs]
    held: list[tuple[_Line, Asked | None]] = []
    for name in files:
        _refuse_no_file(name)
        lines = [(line, _asked(line)) for line in _file_lines(Path(name), above=(), every=[])]
        if all(one is None or one.bound for _, one in lines):
            raise BadInput(f"{name}: names no package; write one requirement a line")
        held += lines
    asked += [one for _, one in held]
    found = [(line, _INDEX.match(line.text)) for line, one in held if one is None]
    builds = [index["tag"] for _, index in found if index is not None]
    unfetched = [line for line, _ in found if _is_bound_at_url(line.text)]
    remarks = [
        f"{line.origin}: {_NOT_FOLLOWED if line.is_bare_option else NOTHING_TOLD}"
        for line, index in found
        if index is None and line not in unfetched
    ]
    named = tuple(one for one in asked if one is not None)
    build = builds[-1] if builds else None
    return Lines(named, tuple(remarks), build, tuple(line.origin for line in unfetched))


def _refuse_no_file(name: str, origin: str | None = None) -> None:
    if not name:
        raise BadInput("-r names no file: is a variable empty that it is made of?")
    if _ADDRESS.match(name):
        raise BadInput(
            f"{origin or direct_reference.without_secrets(name)}: a requirements file is not "
            "fetched; download it, and name the file"
        )


def _is_bound_at_url(text: str) -> bool:
    found = _INCLUDE.fullmatch(text)
    return found is not None and bool(found["bound"]) and bool(_ADDRESS.match(found["file"]))


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
        origin = f"{path.name}, requirement {number} ({_shown(text)})"
        found = _INCLUDE.fullmatch(text)
        if found and not _is_bound_at_url(text):
            _refuse_no_file(found["file"], origin)
            below = _file_lines(path.parent / found["file"].strip(), (*above, own), every)
            bound = found["bound"] is not None
            yield from (msgspec.structs.replace(one, bound=one.bound or bound) for one in below)
        elif text:
            yield _Line(text, origin, in_file=True)


def _shown(text: str) -> str:
    return _short(direct_reference.without_secrets(text))


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
        other_files.refuse_named(path)
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
    other_files.refuse_content(path, text)
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


def _asked(line: _Line) -> Asked | None:
    """Return the requirement that a line is; None where it names no package."""
    editable = _EDITABLE.fullmatch(line.text) if line.is_option else None
    if line.is_option and editable is None:
        return None
    text = line.text if editable is None else editable["place"]
    direct = direct_reference.split(text) if len(text) <= _LONGEST else None
    if direct is None:
        return _parsed(line) if editable is None else None
    where, marker = direct
    told = direct_reference.read(where)
    if told.name is None and not line.in_file:
        raise BadInput(f"{_short(line.origin)}: {NOTHING_TOLD}; write NAME==VERSION")
    if told.name is None:
        return None
    return _of_told(line, _valid(line, told.name + (f" ; {marker}" if marker else "")), told)


def _parsed(line: _Line) -> Asked:
    requirement = _valid(line, line.text)
    if not requirement.url:
        return Asked(requirement, line.origin, bound=line.bound)
    return _of_told(line, requirement, direct_reference.read(requirement.url, requirement.name))


def _of_told(line: _Line, requirement: Requirement, told: Told) -> Asked:
    """Put the version that a URL or path tells into the requirement, as if it were pinned."""
    name = canonicalize_name(requirement.name)
    if told.name not in {None, name}:
        raise BadInput(f"{line.origin}: that is a wheel of {told.name}, not of {name}: pip refuses")
    requirement.url = None
    requirement.specifier = SpecifierSet(f"=={told.version}" if told.version else "")
    return Asked(requirement, line.origin, told, line.bound)


def _valid(line: _Line, text: str) -> Requirement:
    try:
        return _requirement(text)
    except InvalidRequirement as error:
        hint = "write NAME==VERSION or NAME and a specifier, such as 'bitsandbytes>=0.45'"
        origin = _short(line.origin) or repr(line.origin)
        raise BadInput(
            f"{origin}: is no requirement; {hint} ({str(error).splitlines()[0]})"
        ) from error
