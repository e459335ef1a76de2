"""How reading a library's bytes fails."""

from __future__ import annotations


class UnreadableBinary(Exception):  # noqa: N818 - it names what was read, not a failure of ours
    """A file that is truncated, lies about itself, or is no native library: says where and why."""


class NotALibrary(UnreadableBinary):
    """A file of another kind: a script, a linker script, data."""
