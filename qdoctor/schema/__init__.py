"""JSON Schemas of what qdoctor reads and writes, drawn from the nouns, so they cannot disagree.

``facts.json``, ``report.json`` and ``selection.json`` are what other programs validate against.
After a change of the nouns, ``python -m qdoctor.schema`` writes them anew; a test holds them to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from qdoctor.model import (
    FACTS_SCHEMA,
    REPORT_SCHEMA,
    SELECTION_SCHEMA,
    Facts,
    Noun,
    Report,
    Selection,
)

NOUNS: dict[str, tuple[type[Noun], str, str]] = {
    "facts": (Facts, FACTS_SCHEMA, "A machine as qdoctor reads and describes it"),
    "report": (Report, REPORT_SCHEMA, "What one examination learned; a complete replay"),
    "selection": (Selection, SELECTION_SCHEMA, "Which backend to use, and why no other"),
}
"""Schema name -> the noun, its identifier, and its title."""


def schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of one of ``NOUNS``."""
    noun, identifier, title = NOUNS[name]
    drawn = msgspec.json.schema(noun)
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{identifier.replace('/', ':')}",
        "title": title,
    }
    return {**head, **drawn}


def text(name: str) -> str:
    """Return the schema as it stands in its file."""
    return msgspec.json.format(msgspec.json.encode(schema(name)), indent=2).decode() + "\n"


def path(name: str) -> Path:
    """Return the file that ships the schema."""
    return Path(__file__).with_name(f"{name}.json")


def write() -> None:
    """Write every schema to its file."""
    for name in NOUNS:
        path(name).write_text(text(name), encoding="utf-8")
