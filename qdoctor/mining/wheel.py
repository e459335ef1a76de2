"""A wheel read member by member, with the care that a file from elsewhere needs.

What is refused: members whose names leave the archive, more members or larger ones than any real
wheel has, members that grow far beyond what they claim, and archives that are cut short.
"""

from __future__ import annotations

import re
import struct
import tempfile
import zipfile
import zlib
from contextlib import contextmanager
from email.parser import Parser
from typing import IO, TYPE_CHECKING, Any

from qdoctor.mining.errors import UnreadableRelease
from qdoctor.mining.remote import RemoteFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message

    from qdoctor.mining.http import Transport
    from qdoctor.mining.index import WheelFile

_MOST_MEMBERS = 100_000
_LARGEST_TEXT = 16 * 2**20
_LARGEST_MEMBER = 4 * 2**30
_IN_MEMORY = 48 * 2**20
_CHUNK = 2**20
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, struct.error, ValueError)


class Wheel:
    """One opened wheel. Every way in which it can be broken raises ``UnreadableRelease``."""

    def __init__(self, file: WheelFile, reader: IO[bytes] | RemoteFile) -> None:
        """Read the archive's directory from ``reader`` and check it."""
        self.file = file
        self._reader = reader
        try:
            self._zip = zipfile.ZipFile(reader)
        except (*_BROKEN, OSError) as error:
            raise UnreadableRelease(f"{file.name}: not a sound ZIP archive: {error}") from error
        self._members = {member.filename: member for member in self._zip.infolist()}
        self._check()

    def _check(self) -> None:
        if len(self._zip.infolist()) > _MOST_MEMBERS:
            raise UnreadableRelease(f"{self.file.name}: more than {_MOST_MEMBERS} members")
        for name in self._members:
            if name.startswith(("/", "\\")) or ":" in name or ".." in re.split(r"[/\\]", name):
                raise UnreadableRelease(f"{self.file.name}: the member {name!r} leaves the archive")

    @property
    def names(self) -> list[str]:
        """Member names, sorted."""
        return sorted(self._members)

    def text(self, name: str) -> str:
        """Read a small text member."""
        with self.opened(name, _LARGEST_TEXT) as stream:
            return stream.read().decode("utf-8", "replace")

    @contextmanager
    def opened(self, name: str, largest: int = _LARGEST_MEMBER) -> Iterator[IO[bytes]]:
        """Unpack one member into a temporary file, seekable, at most ``largest`` bytes."""
        member = self._members.get(name)
        if member is None:
            raise UnreadableRelease(f"{self.file.name} has no member {name}")
        if member.file_size > largest:
            raise UnreadableRelease(f"{self.file.name}: {name} claims {member.file_size} bytes")
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as target:
            self._unpack(member, target)
            target.seek(0)
            yield target

    def _unpack(self, member: zipfile.ZipInfo, target: Any) -> None:  # noqa: ANN401 - spooled file
        """Write a member's bytes to ``target``; their number and checksum must be as claimed."""
        if isinstance(self._reader, RemoteFile):
            self._reader.expect(member.header_offset, member.compress_size + 2**12)
        try:
            with self._zip.open(member) as stream:
                while chunk := stream.read(_CHUNK):
                    target.write(chunk)
        except (*_BROKEN, RuntimeError, OSError) as error:
            raise UnreadableRelease(f"{self.file.name}: {member.filename}: {error}") from error
        if target.tell() != member.file_size:
            said = f"claims {member.file_size} bytes and holds {target.tell()}"
            raise UnreadableRelease(f"{self.file.name}: {member.filename} {said}")

    def metadata_member(self) -> str:
        """Name the METADATA member."""
        found = [n for n in self._members if re.fullmatch(r"[^/]+\.dist-info/METADATA", n)]
        if len(found) != 1:
            raise UnreadableRelease(f"{self.file.name} has {len(found)} METADATA members")
        return found[0]

    def metadata(self) -> Message:
        """Read the METADATA headers."""
        return Parser().parsestr(self.text(self.metadata_member()), headersonly=True)


@contextmanager
def open_wheel(file: WheelFile, transport: Transport) -> Iterator[Wheel]:
    """Open a released wheel over HTTP ranges."""
    yield Wheel(file, RemoteFile(file.url, transport))
