"""The package index that pip is configured with: which wheels a release has.

Only pip's one ``index-url`` is asked. Extra indexes and find-links folders hold whatever this
machine's owner put there, often other builds under the same name and version, so they are not
read; and a file whose version has a local part (``2.13.0+cpu``) is another build than the public
release and is left out wherever it is found.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from qdoctor import process
from qdoctor.mining.errors import UnreadableRelease
from qdoctor.mining.http import Transport

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from packaging.tags import Tag
    from packaging.version import Version

JSON = "application/vnd.pypi.simple.v1+json"
_ACCEPT = f"{JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_LARGEST_PAGE = 64 * 2**20
_PIP_SECONDS = 60.0
_ASK_PIP = """
import sys
sys.path = [one for one in sys.path if one]  # the folder that we stand in is nobody's program
import json
from pip._internal.commands import create_command  # there is no other way to ask it
options, _ = create_command("download").parse_args(["none"])
print(json.dumps([str(options.index_url), options.cert or None]))
"""


@dataclass(frozen=True)
class WheelFile:
    """One wheel as the index lists it; ``sha256`` and ``uploaded`` (ISO 8601), ``""`` for none."""

    name: str
    url: str
    sha256: str
    version: Version
    build: tuple[int | str, ...]
    tags: frozenset[Tag]
    requires_python: str
    yanked: bool
    uploaded: str = ""
    why_yanked: str = ""

    @property
    def platforms(self) -> frozenset[str]:
        """Platform tags of the file name."""
        return frozenset(tag.platform for tag in self.tags)


def configured() -> tuple[str, Transport]:
    """Give pip's index URL and how pip reaches it, from pip's own options, files and environment.

    A process of its own asks: pip, once imported, changes what others import after it (setuptools
    gives ``distutils`` back to the standard library). Raises ``UnreadableRelease`` where pip is not
    installed beside us, or does not say.
    """
    ended = process.run([sys.executable, "-c", _ASK_PIP], seconds=_PIP_SECONDS)
    if ended.returncode != 0:
        said = ended.stderr.decode("utf-8", "replace").strip().splitlines()
        why = ended.start_error or (said[-1] if said else "it said nothing")
        raise UnreadableRelease(f"mining needs pip, whose configured index it reads: {why}")
    index_url, certificate = json.loads(ended.stdout.splitlines()[-1])
    return f"{index_url.rstrip('/')}/", Transport(certificate=certificate)


def wheels(index_url: str, package: str, transport: Transport) -> list[WheelFile]:
    """List the public wheels of ``package``, those without a local version part."""
    url = urljoin(index_url, f"{canonicalize_name(package)}/")
    body, kind = transport.get(url, accept=_ACCEPT, largest=_LARGEST_PAGE)
    rows = _from_json(body, package) if kind.endswith("json") else _from_html(body)
    return [file for row in rows if (file := _wheel(row, url, package)) is not None]


def by_release(files: Iterable[WheelFile]) -> dict[Version, list[WheelFile]]:
    """Group wheels by release, ascending; files of one release by name.

    Of two builds of one file (``triton-3.0.0-1-cp310-...``) installers take the highest build
    number, so only that one is kept. A release that was withdrawn (yanked) whole is left out.
    """
    best: dict[tuple[Version, frozenset[Tag]], WheelFile] = {}
    for file in sorted(files, key=lambda each: each.name):
        key = (file.version, file.tags)
        if not file.yanked and (key not in best or best[key].build < file.build):
            best[key] = file
    grouped: dict[Version, list[WheelFile]] = {}
    for file in sorted(best.values(), key=lambda each: (each.version, each.name)):
        grouped.setdefault(file.version, []).append(file)
    return grouped


def _wheel(row: dict[str, Any], page: str, package: str) -> WheelFile | None:
    name = str(row.get("filename", ""))
    try:
        project, version, build, tags = parse_wheel_filename(name)
    except InvalidWheelFilename:
        return None
    if project != canonicalize_name(package) or version.local:
        return None
    return WheelFile(
        name=name,
        url=urljoin(page, str(row["url"])),
        sha256=str((row.get("hashes") or {}).get("sha256", "")),
        version=version,
        build=tuple(build),
        tags=tags,
        requires_python=row.get("requires-python") or "",
        yanked=row.get("yanked", False) not in (False, None),
        uploaded=str(row.get("upload-time") or ""),
        why_yanked=row["yanked"] if isinstance(row.get("yanked"), str) else "",
    )


def _from_json(body: bytes, package: str) -> list[dict[str, Any]]:
    try:
        page = json.loads(body)
        return [row for row in page["files"] if isinstance(row["url"], str)]
    except (ValueError, LookupError, TypeError) as error:
        raise UnreadableRelease(f"the index page of {package} is no PEP 691 answer") from error


class _Links(HTMLParser):
    """Collects the links of a PEP 503 page in the shape of PEP 691's ``files``."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep each ``<a href>``."""
        given = dict(attrs)
        href = given.get("href")
        if tag != "a" or not href:
            return
        parts = urlsplit(href)
        algorithm, _, digest = parts.fragment.partition("=")
        self.rows.append(
            {
                "filename": parts.path.rsplit("/", 1)[-1].replace("%2B", "+"),
                "url": href.split("#", 1)[0],
                "hashes": {algorithm: digest},
                "requires-python": given.get("data-requires-python"),
                "yanked": "data-yanked" in given,
            },
        )


def _from_html(body: bytes) -> Iterator[dict[str, Any]]:
    links = _Links()
    links.feed(body.decode("utf-8", "replace"))
    yield from links.rows
