"""A file over HTTP ranges, read like a local one: what a ZIP directory and a few members need."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from qdoctor.mining.errors import UnreadableRelease

if TYPE_CHECKING:
    from qdoctor.mining.http import Transport

_BLOCK = 128 * 1024
_STRIDE = 16 * 2**20
_LARGEST_FILE = 8 * 2**30


class RemoteFile(io.RawIOBase):
    """A seekable reader of ``url``; one block is kept, longer stretches are fetched ahead."""

    def __init__(self, url: str, transport: Transport) -> None:
        """Fetch the end of the file first: a ZIP file's directory lies there."""
        self._url = url
        self._transport = transport
        self.length = transport.length(url)
        if not 0 < self.length <= _LARGEST_FILE:
            raise UnreadableRelease(f"{url.rsplit('/', 1)[-1]}: {self.length} bytes")
        self._position = 0
        self._start = max(0, self.length - _BLOCK)
        self._held = transport.range(url, self._start, self.length - self._start)
        self._ahead_until = 0

    def seekable(self) -> bool:
        """Tell that positions can be set."""
        return True

    def readable(self) -> bool:
        """Tell that bytes can be read."""
        return True

    def tell(self) -> int:
        """Give the position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position in bytes."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.length}[whence]
        self._position = max(0, base + offset)
        return self._position

    def expect(self, start: int, length: int) -> None:
        """Say that ``length`` bytes from ``start`` on will be read in order, in long strides."""
        self._ahead_until = min(self.length, start + length)

    def read(self, size: int | None = -1) -> bytes:
        """Read at most ``size`` bytes from the position on."""
        left = max(0, self.length - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        parts: list[bytes] = []
        while wanted:
            held = self._here(wanted)[:wanted]
            parts.append(held)
            self._position += len(held)
            wanted -= len(held)
        return b"".join(parts)

    def _here(self, wanted: int) -> bytes:
        """Give held bytes from the position on, at least one."""
        inside = self._position - self._start
        if not 0 <= inside < len(self._held):
            ahead = min(self._ahead_until - self._position, _STRIDE)
            length = min(max(_BLOCK, wanted, ahead), _STRIDE, self.length - self._position)
            self._start, inside = self._position, 0
            self._held = self._transport.range(self._url, self._position, length)
        return self._held[inside : inside + wanted]
