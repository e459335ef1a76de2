"""Which native library an installed bitsandbytes loads here, as its own Python code chooses it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from qdoctor import released
from qdoctor.layers.answer import Answer, no, unknown, yes
from qdoctor.model import Because
from qdoctor.released import Known, parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix

PACKAGE = "bitsandbytes"
OVERRIDE = "BNB_CUDA_VERSION"
_CUDA_NAME = re.compile(r"cuda(\d+)(\d)(_nocublaslt)?\d*\.(?:so|dll)$")
_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}


class Binary(msgspec.Struct, frozen=True):
    """One native library for CUDA: ``sm`` and ``ptx`` are None where they could not be read."""

    file: str
    cuda: str
    cublaslt: bool
    sm: tuple[str, ...] | None
    ptx: tuple[str, ...] | None
    glibc: str | None
    missing: tuple[str, ...] | None = None
    """CUDA libraries that it needs and would not be given here; None: not known."""


class Choice(msgspec.Struct, frozen=True):
    """The library that is loaded, why that one, and the glibc it needs."""

    binary: Binary | None
    answer: Answer
    glibc: Known[str]


class _Asked(msgspec.Struct, frozen=True):
    """What of a machine decides which library is loaded, where none was read.

    ``os`` and ``arch`` of a wheel; ``below_turing``: its most capable GPU has no int8 matrix units.
    """

    bitsandbytes: Known[str]
    os: Known[str]
    arch: Known[str]
    torch_cuda: Known[str]
    override: str | None
    below_turing: bool
    knows_sm: bool


def chosen(machine: Machine, matrix: Matrix) -> Choice:
    """Return the CUDA library that bitsandbytes loads with this torch; None: none, or unknown."""
    asked = _asked(machine, matrix)
    if read := _read(machine):
        return _choice(asked, matrix, read)
    if machine.facts.native and machine.os.value is None:
        return _choice(asked, matrix, _released(asked, matrix))
    return _of_wheel(asked, matrix)


@lru_cache(maxsize=2048)
def _of_wheel(asked: _Asked, matrix: Matrix) -> Choice:
    """Choose where nothing was read of any library: then the system decides which wheel it is."""
    choice = _choice(asked, matrix, _released(asked, matrix))
    if asked.os.value is None and choice.answer.value == "yes":
        return Choice(None, unknown(asked.os.reason), released.unknown(asked.os.reason))
    return choice


def _choice(asked: _Asked, matrix: Matrix, found: Known[tuple[Binary, ...]]) -> Choice:
    if found.value is None:
        return Choice(None, unknown(found.reason), released.unknown(found.reason))
    picked, answer = _pick(asked, matrix, found.value, found.because)
    if picked is None:
        return Choice(None, answer, released.unknown(answer.reason))
    glibc = Known(picked.glibc, found.because, f"the glibc that {picked.file} needs is not known")
    return Choice(picked, answer, glibc)


def _asked(machine: Machine, matrix: Matrix) -> _Asked:
    return _Asked(
        bitsandbytes=machine.bitsandbytes,
        os=machine.os,
        arch=machine.arch,
        torch_cuda=machine.torch_cuda,
        override=(machine.facts.env or {}).get(OVERRIDE),
        below_turing=_below_turing(machine, matrix),
        knows_sm=machine.sm.value is not None,
    )


def shipped_here(machine: Machine, matrix: Matrix) -> Answer:
    """Does bitsandbytes ship any library for CUDA for this system?"""
    asked = _asked(machine, matrix)
    found = _read(machine) or _released(asked, matrix)
    if found.value is None or machine.os.value is None:
        return unknown(found.reason or machine.os.reason)
    if not found.value:
        return _no_library_at_all(asked, matrix, found.because)
    return yes(f"{PACKAGE} has libraries for CUDA for {machine.os.value}", found.because)


def _pick(
    asked: _Asked, matrix: Matrix, found: Sequence[Binary], because: Because | None
) -> tuple[Binary | None, Answer]:
    if not found:
        return None, _no_library_at_all(asked, matrix, because)
    if asked.override:
        return _overridden(asked.override, found, because)
    wanted = asked.torch_cuda
    if wanted.value is None:
        return None, unknown(wanted.reason)
    if wanted.value == "":
        return None, no("torch-cpu-only", "torch is a build without CUDA", wanted.because)
    return _by_rule(asked, matrix, found, because)


def _by_rule(
    asked: _Asked, matrix: Matrix, found: Sequence[Binary], because: Because | None
) -> tuple[Binary | None, Answer]:
    """Choose as the release does (table ``bnb_binaries``)."""
    table = matrix.table("bnb_binaries")
    version, cuda = asked.bitsandbytes.value or "", asked.torch_cuda.value or ""
    row = released.row_for(matrix, table["rows"], PACKAGE, version)
    if row is None:
        return None, unknown(f"which library bitsandbytes {version or '?'} loads is not known")
    plain = row["without_cublaslt"] and asked.below_turing
    fitting = [one for one in found if one.cublaslt is not plain]
    binary = _nearest(fitting, cuda) if row["choice"] == "same-major" else _exact(fitting, cuda)
    if binary is not None:
        text = f"bitsandbytes {version} loads {binary.file} with torch's CUDA {cuda}"
        return binary, yes(text, because, released.cited(table, row, text))
    if row["choice"] == "system-runtime" and (fitting or not asked.knows_sm):
        text = f"bitsandbytes {version} goes by the libcudart it finds, which is not known"
        return None, unknown(text)
    held = ", ".join(sorted({one.cuda for one in fitting}))
    held = held or f"none {'without' if plain else 'with'} cuBLASLt"
    text = f"bitsandbytes {version} has no library for CUDA {cuda}, torch's (it has {held})"
    return None, no("bnb-cuda-binary-missing", text, because, asked.torch_cuda.because)


def _overridden(
    value: str, found: Sequence[Binary], because: Because | None
) -> tuple[Binary | None, Answer]:
    binary = next((one for one in found if one.cuda.replace(".", "") == value), None)
    source = Because(f"{OVERRIDE} is {value}", f"facts: env.{OVERRIDE}", "inspected")
    if binary is None:
        text = f"{OVERRIDE}={value} names a library that this bitsandbytes does not have"
        return None, no("bnb-override-wrong", text, source, because)
    return binary, yes(f"{OVERRIDE} makes bitsandbytes load {binary.file}", source, because)


def _exact(found: Sequence[Binary], cuda: str) -> Binary | None:
    return next((one for one in found if one.cuda == cuda), None)


def _nearest(found: Sequence[Binary], cuda: str) -> Binary | None:
    """Return the same CUDA version, else the newest older, else the oldest newer of its major."""
    wanted = parsed(cuda)
    known = [(version, one) for one in found if (version := parsed(one.cuda))]
    known.sort(key=lambda pair: (pair[0], pair[1].file))
    same = [(version, one) for version, one in known if wanted and version.major == wanted.major]
    older = [one for version, one in same if wanted and version <= wanted]
    return older[-1] if older else next((one for _, one in same), None)


def _read(machine: Machine) -> Known[tuple[Binary, ...]] | None:
    """Return the CUDA libraries as read from the installed package; None where none was read."""
    read = [one for one in machine.facts.native or () if one.package == PACKAGE]
    read = [one for one in read if one.file is not None]
    if not read:
        return None
    because = Because(
        "the installed bitsandbytes' libraries were read", "facts: native", "inspected"
    )
    return Known(tuple(_binaries([_plain(one) for one in read])), because)


def _released(asked: _Asked, matrix: Matrix) -> Known[tuple[Binary, ...]]:
    """Return the CUDA libraries in the wheel of the installed release for this platform.

    Of all its wheels where the platform is not known: what none of them has, is missing here too.
    """
    version = asked.bitsandbytes
    if not version.value:
        return released.unknown(version.reason or "bitsandbytes is not installed")
    native = released.fact(matrix, PACKAGE, version.value, "native")
    if native.value is None:
        return released.unknown(native.reason)
    platform = "" if asked.os.value is None else f"{asked.os.value}_{_architecture(asked)}"
    return Known(_in_wheels(matrix, version.value, platform), native.because)


@lru_cache(maxsize=256)
def _in_wheels(matrix: Matrix, version: str, platform: str) -> tuple[Binary, ...]:
    native = released.fact(matrix, PACKAGE, version, "native").value or ()
    return tuple(_binaries([one for one in native if platform in {"", one["platform"]}]))


def _binaries(libraries: list[dict[str, Any]]) -> list[Binary]:
    named = [(one, _CUDA_NAME.search(one["file"])) for one in libraries]
    return [
        Binary(
            file=one["file"],
            cuda=f"{name[1]}.{name[2]}",
            cublaslt=not name[3],
            sm=None if one.get("sm") is None else tuple(one["sm"]),
            ptx=None if one.get("ptx") is None else tuple(one["ptx"]),
            glibc=one.get("glibc"),
            missing=one.get("missing"),
        )
        for one, name in named
        if name
    ]


def _plain(library: Any) -> dict[str, Any]:  # noqa: ANN401 - a NativeLibrary, as a mined one looks
    plain = {key: getattr(library, key) for key in ("file", "sm", "ptx", "glibc")}
    if library.resolved is not None:
        plain["missing"] = tuple(need for need, file in library.resolved.items() if not file)
    return plain


def _architecture(asked: _Asked) -> str:
    name = (asked.arch.value or "x86_64").lower()
    return _ARCHITECTURES.get(name, name)


def _below_turing(machine: Machine, matrix: Matrix) -> bool:
    """Say whether the most capable GPU has no int8 matrix units: the old choice looks at that."""
    return _without_int8(tuple([gpu.sm for gpu in machine.usable_gpus]), matrix)


@lru_cache(maxsize=256)
def _without_int8(sms: tuple[str | None, ...], matrix: Matrix) -> bool:
    rows = [row for sm in sms if sm and (row := matrix.row("sm", sm))]
    return bool(rows) and not any(row["int8_mma"] for row in rows)


def _no_library_at_all(asked: _Asked, matrix: Matrix, because: Because | None) -> Answer:
    """Say whether the release has none for this platform, or the installed copy lacks them."""
    if because is not None and because.strength == "inspected":
        wheel = _released(asked, matrix)
        if wheel.value or (wheel.value is None and _is_source_build(asked, matrix)):
            text = "the installed bitsandbytes holds no native library for CUDA"
            return no("bnb-source-build-incomplete", text, because, wheel.because)
    system = asked.os.value or "this system"
    text = f"bitsandbytes {asked.bitsandbytes.value or '?'} ships no CUDA library for {system}"
    if asked.os.value == "windows":
        return no("bnb-windows-unsupported", text, because)
    return no("bnb-platform-unsupported", f"{text} on {_architecture(asked)}", because)


def _is_source_build(asked: _Asked, matrix: Matrix) -> bool:
    """Say whether this version was never released: somebody built it, where CUDA exists."""
    version = asked.bitsandbytes.value
    never = bool(version) and not matrix.matching(PACKAGE, version or "")
    return never and asked.os.value in {"linux", "windows"}
