"""Would an installer take a wheel that lies at hand? Its name says what it is for (PEP 425)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from qdoctor.layers.answer import Answer, no, together, unknown, yes
from qdoctor.layers.wheel import tagged
from qdoctor.model import Because
from qdoctor.released import Known, parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packaging.version import Version

    from qdoctor.machine import Machine

_WORDS = ("is not for", "is for")
_PYTHON_TAG = re.compile(r"(?P<kind>cp|py)(?P<major>\d)(?P<minor>\d*)")
"""Other kinds (``pp39``, PyPy's) are for another interpreter."""


def file_fits(machine: Machine, who: str, tags: Sequence[str]) -> Answer:
    """Would an installer take a wheel with these tags (``cp310-cp310-linux_x86_64``) here?"""
    parts = [tag.split("-", 2) for tag in tags]
    named = Because(f"its tags are {', '.join(tags)}", "the name of the file", "inspected")
    platforms: Known[Any] = Known(list(dict.fromkeys(part[2] for part in parts)), named)
    platform = tagged(machine, who, platforms, _WORDS)
    return together([_for_python(machine, who, parts, named), platform])


def _for_python(
    machine: Machine, who: str, parts: Sequence[Sequence[str]], named: Because
) -> Answer:
    own = parsed(machine.python.value)
    if own is None:
        return unknown(machine.python.reason)
    if any(abi.endswith("t") and abi != "t" for _, abi, _ in parts):
        return unknown(f"whether this Python is free-threaded, as {who} needs it, is not known")
    if any(_takes(own, python, abi) for python, abi, _ in parts):
        return yes(f"{who} is for this Python", named)
    meant = ", ".join(dict.fromkeys(f"{python}-{abi}" for python, abi, _ in parts))
    return no(None, f"{who} is for another Python ({meant}), this is {own}", named)


def _takes(own: Version, python: str, abi: str) -> bool:
    """Say whether CPython takes what is tagged so; ``abi3`` is for it and for all that follow."""
    found = _PYTHON_TAG.fullmatch(python)
    if found is None or int(found["major"]) != own.major:
        return False
    minor = int(found["minor"] or 0)
    newer = abi == "abi3" or found["kind"] == "py"
    return minor <= own.minor if newer else minor == own.minor
