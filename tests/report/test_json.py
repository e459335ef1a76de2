from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import jsonschema
import msgspec
import pytest

from qdoctor import model
from qdoctor.model import BadInput, Report
from qdoctor.report import FORMATS, VIEWS, render
from qdoctor.report.redaction import redact


def test_a_report_can_be_read_back(report: Report) -> None:
    text = render(report, "json")
    assert model.from_json(text, Report, "report") == redact(report)
    assert json.loads(text)["schema"] == "qdoctor/report/1"


def test_the_report_fits_its_schema(report: Report) -> None:
    schema = json.loads(Path(str(files("qdoctor.schema") / "report.json")).read_text("utf-8"))
    jsonschema.validate(json.loads(render(report, "json")), schema)


def test_the_contracts_keys_are_there(report: Report) -> None:
    plain = json.loads(render(report, "json"))
    assert {
        *("schema", "tool_version", "matrix_version", "target", "facts", "observations"),
        *("findings", "verdicts", "selected", "exit_code"),
    } <= set(plain)
    assert {"rule", "severity", "title", "because", "fixes", "explains_error"} <= set(
        plain["findings"][0]
    )
    assert {"backend", "usable", "reason", "rule", "rel_error", "milliseconds"} <= set(
        plain["verdicts"][0]
    )


def test_what_a_terminal_would_obey_is_escaped(report: Report) -> None:
    hostile = "\x1b[2J\x9b2J\u202ereversed\x7f"
    bad = msgspec.structs.replace(
        report, findings=[msgspec.structs.replace(report.findings[0], title=hostile)]
    )
    text = render(bad, "json")
    assert not {"\x1b", "\x9b", "\u202e", "\x7f"} & set(text)
    assert json.loads(text)["findings"][0]["title"] == hostile


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("view", VIEWS)
def test_every_format_is_redacted_and_ends_its_last_line(
    report: Report, form: str, view: str
) -> None:
    text = render(report, form, view=view)
    assert "/home/ada" not in text
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def test_an_unknown_format_is_refused(report: Report) -> None:
    with pytest.raises(BadInput, match="text, json"):
        render(report, "yaml")
