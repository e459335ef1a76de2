"""The reports of described machines.

Changed on purpose? ``python tests/golden/test_golden.py`` writes them anew; read the difference.
"""

from __future__ import annotations

import io
import json
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from qdoctor.doctor import examine
from qdoctor.matrix import shipped
from qdoctor.question import Question
from qdoctor.report import render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Report

FOLDER = Path(__file__).resolve().parent
FORMATS = {"text": ".txt", "json": ".report.json"}


def cases() -> list[str]:
    """The described machines, by name."""
    return sorted(path.name.removesuffix(".facts.json") for path in FOLDER.glob("*.facts.json"))


def rendered(name: str) -> Iterator[tuple[Path, str]]:
    """Each expected file of a case, and what it should hold now."""
    report = _report(name)
    view = "explain" if (FOLDER / f"{name}.error.txt").exists() else "check"
    for form, suffix in FORMATS.items():
        yield FOLDER / f"{name}{suffix}", render(report, form, width=80, view=view)


def _report(name: str) -> Report:
    error, options = FOLDER / f"{name}.error.txt", FOLDER / f"{name}.options.json"
    extra: dict[str, Any] = json.loads(options.read_text("utf-8")) if options.exists() else {}
    question = Question(
        facts_file="-",
        error=error.read_text("utf-8") if error.exists() else None,
        specs=tuple(extra.get("specs", ())),
        need=tuple(extra.get("need", ())),
    )
    facts = io.BytesIO((FOLDER / f"{name}.facts.json").read_bytes())
    report = examine(question, stdin=facts, matrix=shipped(), day=date.min)
    # Versions change with every release; what they would say here is tested elsewhere.
    return msgspec.structs.replace(report, tool_version="VERSION", matrix_version="VERSION")


@pytest.mark.parametrize("name", cases())
def test_the_report_of_a_described_machine_is_as_expected(name: str) -> None:
    for path, text in rendered(name):
        assert text == path.read_text("utf-8")


if __name__ == "__main__":
    for case in cases():
        for path, text in rendered(case):
            path.write_text(text, encoding="utf-8")
