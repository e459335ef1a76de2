"""A file seen through bounds: no read allocates more than the file really holds."""

from __future__ import annotations

import io
import os
import stat
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, TypeAlias

from qdoctor.binaries.errors import UnreadableBinary

if TYPE_CHECKING:
    from collections.abc import Iterator

Source: TypeAlias = "str | os.PathLike[str] | IO[bytes] | io.RawIOBase"
"""A path, or any seekable binary reader (a file, a ZIP member, a remote file)."""

LARGEST_READ = 64 * 2**20
"""Bytes. Tables of a library (sections, symbols, strings) are smaller; only code is larger."""


class Window(io.RawIOBase):
    """A seekable reader that clamps each read to the file's end and refuses absurd ones."""

    def __init__(self, file: IO[bytes] | io.RawIOBase) -> None:
        """Wrap ``file``; its length is measured once."""
        self._file = file
        self.length = file.seek(0, io.SEEK_END)
        self._position = 0

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
        """Move; a position beyond the end is allowed and reads as empty."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.length}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Read at most ``size`` bytes; fewer at the end of the file."""
        left = max(0, self.length - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        if wanted > LARGEST_READ:
            raise UnreadableBinary(f"one table claims {wanted} bytes at offset {self._position}")
        if not wanted or self._position < 0:
            return b""
        self._file.seek(self._position)
        data = self._file.read(wanted) or b""
        self._position += len(data)
        return data

    def read_at(self, offset: int, size: int, what: str) -> bytes:
        """Read exactly ``size`` bytes at ``offset``; ``what`` names them in the error."""
        self.seek(offset)
        data = self.read(size)
        if len(data) != size:
            raise UnreadableBinary(f"{what} at offset {offset} reaches past the end of the file")
        return data


@contextmanager
def opened(source: Source) -> Iterator[Window]:
    """Open ``source`` as a Window; a reader given by the caller stays open.

    Raises ``UnreadableBinary`` where the path cannot be opened.
    """
    if isinstance(source, (str, os.PathLike)):
        try:
            # Unbuffered: headers of a few bytes are read far from one another.
            with open(source, "rb", buffering=0, opener=_at_once) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise UnreadableBinary("no regular file")
                _expect_jumps(file.fileno())
                yield Window(file)
        except OSError as error:
            raise UnreadableBinary(f"cannot be read: {error.strerror or error}") from error
    else:
        yield Window(source)


def _at_once(path: str, flags: int) -> int:
    """Open without waiting: a FIFO would wait for whoever writes to it, for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _expect_jumps(number: int) -> None:
    """Have the system read no more than what is asked for: headers lie far from one another."""
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):  # advice only; some file systems take none
            os.posix_fadvise(number, 0, 0, os.POSIX_FADV_RANDOM)
