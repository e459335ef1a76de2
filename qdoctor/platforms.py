"""The machine that ``--platform``, ``--python-version`` and ``--bare`` name instead of this one."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

import msgspec

from qdoctor.model import BadInput, Facts, Host, Python

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdoctor.question import Question

_NAMED: Mapping[str, Host] = {
    "linux_x86_64": Host(os="linux", machine="x86_64"),
    "linux_aarch64": Host(os="linux", machine="aarch64"),
    "win_amd64": Host(os="windows", machine="x86_64", libc=""),
    "win_arm64": Host(os="windows", machine="arm64", libc=""),
    "macos_arm64": Host(os="macos", machine="arm64", libc=""),
    "macos_x86_64": Host(os="macos", machine="x86_64", libc=""),
}
"""Platforms by the names users know; a libc is only stated where the name states it."""
_LINUX = re.compile(r"(?P<kind>many|musl)linux_(?P<libc>[0-9]+_[0-9]+)_(?P<machine>x86_64|aarch64)")
_MACOS = re.compile(r"macosx_\d+_\d+_(?P<machine>x86_64|arm64)")
_LIBCS = {"many": "glibc", "musl": "musl"}
_LEGACY = {"manylinux1": "2_5", "manylinux2010": "2_12", "manylinux2014": "2_17"}
_PYTHON = re.compile(r"3\.[0-9]{1,2}(\.[0-9]{1,2})?")
_JUDGED = ("torch", "triton", "bitsandbytes", "torchao")

_COMPILER = (
    "a C compiler and Python's headers, which triton needs at run time, are taken to be there"
)
_NEW_MACOS = "a macOS new enough for every planned wheel: which one it is plays no part yet"
_LIBC = (
    "a glibc new enough for every planned wheel: the platform's name does not state one "
    "(manylinux_2_28_x86_64 does)"
)


def host(name: str) -> Host:
    """Return the host that a platform's name stands for. Raises ``BadInput`` for an unknown one."""
    plain = name.strip().lower().replace("-", "_").replace(".", "_")
    for old, new in _LEGACY.items():
        plain = plain.replace(f"{old}_", f"manylinux_{new}_")
    if plain in _NAMED:
        return _NAMED[plain]
    if found := _LINUX.fullmatch(plain):
        libc = f"{_LIBCS[found['kind']]} {found['libc'].replace('_', '.')}"
        return Host(os="linux", machine=found["machine"], libc=libc)
    if found := _MACOS.fullmatch(plain):
        return _NAMED[f"macos_{found['machine']}"]
    known = [*_NAMED, "manylinux_2_28_x86_64"]
    near = difflib.get_close_matches(plain, known, n=2, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    raise BadInput(f"--platform {name!r} is no platform that qdoctor knows; {hint}")


def laid_over(present: Facts, question: Question) -> tuple[Facts, list[str]]:
    """Return the facts of the machine that is asked about, and what that assumes.

    Another system, processor or Python has none of this one's packages; another system or
    processor has none of its GPUs, drivers and variables either. A platform that is named has none
    of this machine's toolkit, container, compiler and C++ library; those of a described machine
    (``--facts``) are its own.
    """
    facts, said = _on_platform(present, question)
    facts, said = _with_python(facts, question, said)
    if question.bare:
        facts, said = _bare(facts), ["nothing is installed (--bare)", *said]
    elif _moved(present, facts):
        why = "nothing is installed: what is installed here is for another platform or Python"
        facts, said = _bare(facts), [why, *said]
    if question.platform is not None or question.python_version is not None:
        facts, said = _with_compiler(facts, said)
    return facts, said


def _on_platform(facts: Facts, question: Question) -> tuple[Facts, list[str]]:
    if question.platform is None:
        return facts, []
    here, there = facts.host or Host(), host(question.platform)
    said = [f"{question.platform} as the platform, whatever this machine is"]
    if there.libc is None or there.os == "macos":
        said.append(_LIBC if there.libc is None else _NEW_MACOS)
    if here.os in {None, there.os} and here.machine in {None, there.machine}:
        if question.facts_file is None:
            unread = _unread_beside(facts, ("toolkit_cuda",))
            return msgspec.structs.replace(
                facts, host=there, toolkit_cuda=None, unread=unread
            ), said
        stated = {"os": there.os, "machine": there.machine, "libc": there.libc}
        named = msgspec.structs.replace(here, **stated)
        return msgspec.structs.replace(facts, host=named), said
    return Facts(schema=facts.schema, host=there, python=_elsewhere(facts.python)), said


def _with_compiler(facts: Facts, said: list[str]) -> tuple[Facts, list[str]]:
    """Take what triton needs at run time to be there, where a named machine does not state it."""
    there, python = facts.host or Host(), facts.python or Python()
    if there.os != "linux" or None not in {there.c_compiler, python.headers}:
        return facts, said
    there = msgspec.structs.replace(there, c_compiler=there.c_compiler is not False)
    python = msgspec.structs.replace(python, headers=python.headers is not False)
    return msgspec.structs.replace(facts, host=there, python=python), [*said, _COMPILER]


def _elsewhere(python: Python | None) -> Python | None:
    """The same Python on another machine: its version is all that stays."""
    return None if python is None else Python(version=python.version)


def _with_python(facts: Facts, question: Question, said: list[str]) -> tuple[Facts, list[str]]:
    version = question.python_version
    if version is None:
        return facts, said
    if not _PYTHON.fullmatch(version):
        raise BadInput(f"--python-version {version!r} is no Python version such as 3.11")
    if _minor(facts.python) == _minor(Python(version=version)):
        return facts, said
    named = f"Python {version}, whatever this machine has"
    return msgspec.structs.replace(facts, python=Python(version=version)), [*said, named]


def _bare(facts: Facts) -> Facts:
    """A new environment: no package, and nothing that was read from the packages here."""
    return msgspec.structs.replace(
        facts,
        packages=dict.fromkeys(_JUDGED, ""),
        packages_found=[],
        requires=None,
        torch_cuda=None,
        torch_arch_list=None,
        native=None,
        unread=_unread_beside(facts, ("packages", "requires", "torch", "native")),
    )


def _unread_beside(facts: Facts, about: tuple[str, ...]) -> dict[str, str] | None:
    kept = {key: why for key, why in (facts.unread or {}).items() if not key.startswith(about)}
    return kept or None


def _moved(present: Facts, facts: Facts) -> bool:
    """Say whether the system, the processor or the Python is known to be another one."""
    pairs = zip(_place(present), _place(facts), strict=True)
    return any(here is not None and here != there for here, there in pairs)


def _place(facts: Facts) -> tuple[str | None, str | None, str | None]:
    there = facts.host or Host()
    return there.os, there.machine, _minor(facts.python)


def _minor(python: Python | None) -> str | None:
    if python is None or python.version is None:
        return None
    return ".".join(python.version.split(".")[:2])
