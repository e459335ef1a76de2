"""Reads a described machine (``--facts FILE`` or ``-``): facts/1, or a report/1 to replay."""

from __future__ import annotations

import re
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from qdoctor.byte_order import encoding_of
from qdoctor.model import (
    FACTS_SCHEMA,
    REPORT_SCHEMA,
    BadInput,
    Facts,
    Observation,
    Report,
    from_plain,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST = 16 << 20  # bytes; a full report has some 50 KB
_SM = re.compile(r"[0-9]{1,2}\.[0-9]")
_ENDLESS = re.compile(r"[0-9]{1000}")  # Python reads no number of more than 4300 digits
_ADVICE = "`qdoctor facts` prints facts of the right form"


def read(path: str, stdin: IO[bytes] | None = None) -> tuple[Facts, list[Observation]]:
    """Read the facts, and the observations where a report is given; ``-`` means ``stdin``.

    Raises ``BadInput`` for everything that is not such a description.
    """
    origin = "--facts: standard input" if path == "-" else f"--facts: {path}"
    plain = _plain(_bytes(path, stdin, origin), origin)
    schema = plain.get("schema")
    if schema == REPORT_SCHEMA:
        report = from_plain(plain, Report, origin)
        return checked(report.facts, f"{origin}, facts"), report.observations
    if schema is not None and schema != FACTS_SCHEMA:
        raise BadInput(
            f"{origin}: its schema is {schema!r:.80}; this release reads {FACTS_SCHEMA} and "
            f"{REPORT_SCHEMA}; {_ADVICE}"
        )
    return checked(from_plain(plain, Facts, origin), origin), []


def checked(facts: Facts, origin: str) -> Facts:
    """Return the facts with canonical package names. Raises ``BadInput`` for impossible values."""
    for index, gpu in enumerate(facts.gpus or []):
        if gpu.sm is not None and not _SM.fullmatch(gpu.sm):
            raise BadInput(
                f"{origin}: gpus[{index}].sm is {gpu.sm!r}; a compute capability looks like '8.6'"
            )
        if gpu.memory_mib is not None and gpu.memory_mib < 0:
            raise BadInput(f"{origin}: gpus[{index}].memory_mib is negative: {gpu.memory_mib}")
    if facts.packages is None:
        return facts
    return msgspec.structs.replace(facts, packages=_canonical(facts.packages, origin))


def _canonical(packages: Mapping[str, str], origin: str) -> dict[str, str]:
    named: dict[str, str] = {}
    for name, version in packages.items():
        plain = re.sub(r"[-_.]+", "-", name).lower()
        if named.setdefault(plain, version) != version:
            raise BadInput(f"{origin}: packages gives {plain} two versions")
    return named


def _bytes(path: str, stdin: IO[bytes] | None, origin: str) -> bytes:
    """Read at most one byte more than is allowed, so that no size and no device can fill memory."""
    if not path:
        raise BadInput("--facts names no file: is a variable empty that it is made of?")
    try:
        if path == "-":
            if stdin is None:
                raise BadInput(f"{origin}: there is none; name a file")
            data = stdin.read(LARGEST + 1)
        else:
            with Path(path).open("rb") as file:
                data = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path, a closed stdin
        why = getattr(error, "strerror", None) or str(error)
        raise BadInput(f"{origin}: cannot be read: {why}; {_ADVICE}") from error
    if len(data) > LARGEST:
        raise BadInput(f"{origin}: larger than {LARGEST >> 20} MiB, so no description; {_ADVICE}")
    return data


def _plain(data: bytes, origin: str) -> dict[str, Any]:
    if not data.strip():
        raise BadInput(f"{origin}: it is empty; {_ADVICE}")
    try:
        text = data.decode(encoding_of(data))
        plain = msgspec.json.decode(text)
    except UnicodeDecodeError as error:
        where = f"{error.reason} at byte {error.start}"
        raise BadInput(f"{origin}: not UTF-8 text: {where}; {_ADVICE}") from error
    except RecursionError as error:
        raise BadInput(f"{origin}: nested too deeply to be a description; {_ADVICE}") from error
    except msgspec.DecodeError as error:
        raise BadInput(f"{origin}: not JSON: {error}; {_ADVICE}") from error
    if not isinstance(plain, dict):
        raise BadInput(f"{origin}: not a JSON object; {_ADVICE}")
    if _ENDLESS.search(text):
        raise BadInput(f"{origin}: holds a number of a thousand digits or more; {_ADVICE}")
    return plain
