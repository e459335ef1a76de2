"""What every noun is: an immutable record, to and from JSON. Part of ``model``."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, TypeVar

import msgspec

YesNo: TypeAlias = Literal["yes", "no", "unknown"]


class Noun(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of every noun: immutable, strict when read, unknown values left out when written."""


class BadInput(Exception):  # noqa: N818 - it names what the user gave, not a failure of ours
    """Input that cannot be used: says what, why and what to do. Ends with exit code 2."""


AnyNoun = TypeVar("AnyNoun", bound=Noun)


class NoInterpreter(BadInput):
    """A named interpreter did not answer; ``reason`` says why, which may pass (no memory)."""

    def __init__(self, python: str, reason: str) -> None:
        """See the class."""
        super().__init__(
            f"--python: {python} is no interpreter that can be examined: {reason}; "
            "give one that starts, or leave the option out"
        )
        self.reason = reason


def from_json(data: bytes | str, kind: type[AnyNoun], origin: str) -> AnyNoun:
    """Read one noun from JSON text; ``origin`` names the text in errors.

    Raises ``BadInput`` for text that is not JSON or does not have the noun's shape.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise BadInput(f"{origin}: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{origin}: not JSON: {error}") from error


def from_plain(value: Any, kind: type[AnyNoun], origin: str) -> AnyNoun:  # noqa: ANN401
    """Read one noun from plain dicts and lists. Raises ``BadInput`` as ``from_json`` does."""
    try:
        return msgspec.convert(value, type=kind)
    except msgspec.ValidationError as error:
        raise BadInput(f"{origin}: {error}") from error


def to_json(noun: Noun, *, indent: int = 2) -> str:
    """Write one noun as JSON text with sorted-as-declared keys; unknown values are left out."""
    return msgspec.json.format(encoded(noun), indent=indent).decode()


def encoded(noun: Noun) -> bytes:
    """Write one noun as JSON in one line.

    Bytes of paths and variables that are no UTF-8 are replaced: JSON cannot hold them.
    """
    try:
        return msgspec.json.encode(noun)
    except UnicodeEncodeError:
        return msgspec.json.encode(_writable(msgspec.to_builtins(noun)))


def _writable(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {_writable(name): _writable(item) for name, item in value.items()}
    return [_writable(item) for item in value] if isinstance(value, list) else value


def to_plain(noun: Noun) -> dict[str, Any]:
    """Turn one noun into plain dicts and lists, as in its JSON."""
    plain: dict[str, Any] = msgspec.to_builtins(noun)
    return plain
