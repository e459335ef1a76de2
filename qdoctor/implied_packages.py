"""What a machine's packages and host state: versions as given, and the operating system."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from qdoctor import released
from qdoctor.model import Because, Facts, Host
from qdoctor.released import Known, unknown

if TYPE_CHECKING:
    from qdoctor.matrix import Matrix

SOME_VERSION = "?"
"""A package that is installed in a version that is not known (the contract's facts)."""


class Contradiction(msgspec.Struct, frozen=True):
    """Two sources that disagree about ``subject``: the stronger was kept."""

    subject: str
    kept: Because
    dropped: Because


def stated(facts: Facts, name: str) -> Known[str]:
    """Return the stated version of a package, however its name is spelt; ``""``: is absent."""
    packages = facts.packages or {}
    if name in packages:
        return _stated(packages[name], name)
    spelt = (name.replace("_", "-"), name.replace("-", "_"))
    return _stated(next((packages[one] for one in spelt if one in packages), None), name)


@lru_cache(maxsize=4096)
def _stated(version: str | None, name: str) -> Known[str]:
    if version is None:
        return unknown(f"whether {name} is installed is not known")
    if version == SOME_VERSION:
        return unknown(f"{name} is installed, its version is not known")
    text = f"{name} {version} is installed" if version else f"{name} is not installed"
    return Known(version, Because(text, f"facts: packages.{name}", "inspected"))


def os_of(facts: Facts, matrix: Matrix) -> Known[str]:
    """Return the operating system; an installed triton whose wheels are all Linux's implies it."""
    host = facts.host or Host()
    if host.os is not None:
        text = f"the operating system is {host.os}"
        name = matrix.table("systems")["names"].get(host.os.lower(), host.os)
        return Known(name, Because(text, "facts: host.os", "inspected"))
    if host.libc or host.wsl:
        return Known("linux", Because("only Linux has this libc", "facts: host.libc", "inspected"))
    version = stated(facts, "triton").value
    platforms = released.fact(matrix, "triton", version, "platforms") if version else unknown("")
    if platforms.value and all("linux" in tag for tag in platforms.value):
        return Known("linux", platforms.because)
    return unknown("the operating system is not known")
