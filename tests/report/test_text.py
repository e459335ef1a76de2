from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdoctor.model import Because, Facts, Finding, Report
from qdoctor.report import VIEWS, render
from qdoctor.report.paper import Paper

STYLE = re.compile(r"\x1b\[[0-9;]*m")


def test_the_first_line_names_the_target(report: Report) -> None:
    first = render(report, "text").splitlines()[0]
    assert first == "qdoctor examined ~/venv/bin/python ($VIRTUAL_ENV)"


def test_everything_that_decides_is_on_the_page(report: Report) -> None:
    text = " ".join(render(report, "text").split())
    for part in (
        *("a new driver", "glibc 2.35", "Tesla V100", "SM 7.0", "CUDA up to 12.2", "torch 2.1.2"),
        *("triton-libdevice-removed", "explains the error", "[mined: triton-2.1.0.whl]"),
        *("unsafe: read before running", "follows from triton-libdevice-removed", "python.headers"),
        *("compiled, not run", "cublaslt_igemm/col32", "as expected", "0.19 ms"),
        *("bnb-int8", "no int8 tensor cores", "2 bytes a weight", "Selected: half"),
        *("2>&1 | qdoctor explain -", "qdoctor 0.1.0, matrix 2026.11.22"),
    ):
        assert part in text


@pytest.mark.parametrize("width", [60, 80, 100])
def test_only_commands_pass_the_margin(report: Report, width: int) -> None:
    commands = {fix.command for finding in report.findings for fix in finding.fixes}
    for line in render(report, "text", width=width).splitlines():
        assert len(line) <= width or line.strip() in commands
        assert line == line.rstrip()


@pytest.mark.parametrize("width", [40, 80, 300])
def test_a_command_is_one_line_to_copy(report: Report, width: int) -> None:
    lines = [line.strip() for line in render(report, "text", width=width).splitlines()]
    for finding in report.findings:
        for fix in finding.fixes:
            assert fix.command is None or fix.command in lines


def test_colour_changes_nothing_but_colour(report: Report) -> None:
    plain, coloured = render(report, "text"), render(report, "text", color=True)
    assert STYLE.search(coloured)
    assert not STYLE.search(plain)
    bare = [line.rstrip() for line in STYLE.sub("", coloured).splitlines()]
    assert bare == plain.splitlines()


@pytest.mark.parametrize("name", ["NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE"])
def test_the_environment_decides_nothing_here(
    report: Report, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before = render(report, "text"), render(report, "text", color=True)
    monkeypatch.setenv(name, "1")
    assert (render(report, "text"), render(report, "text", color=True)) == before


def test_unknown_is_said_and_none_is_said(report: Report) -> None:
    bare = msgspec.structs.replace(report, facts=Facts(gpus=[], packages={"torch": ""}))
    text = render(bare, "text")
    assert re.search(r"^  gpu +none$", text, re.MULTILINE)
    assert re.search(r"^  driver +unknown$", text, re.MULTILINE)
    assert "no torch" in text
    assert re.search(
        r"^  gpu +unknown$",
        render(msgspec.structs.replace(report, facts=Facts()), "text"),
        re.MULTILINE,
    )


def test_nothing_found_is_green_only_where_something_works(report: Report) -> None:
    clean = msgspec.structs.replace(report, findings=[])
    assert "nothing is wrong with what was examined" in render(clean, "text")
    unknown = msgspec.structs.replace(clean, selected=None)
    assert "what is unknown decides" in render(unknown, "text")


def test_backends_that_one_reason_keeps_out_share_a_line(report: Report) -> None:
    yes = report.verdicts[0]
    keep = msgspec.structs.replace
    shown = [
        keep(yes, backend="a", usable="no", reason="torchao is not installed"),
        keep(yes, backend="b", usable="unknown", reason="torchao is not installed"),
        keep(yes, backend="c", usable="no", reason="torchao is not installed"),
        *(keep(yes, backend=name, usable="yes", reason="it fits") for name in "de"),
    ]
    text = render(keep(report, verdicts=shown, selected="d"), "text")
    assert "  no       a, c - torchao is not installed\n  unknown  b - torchao" in text
    assert "d - " in text
    assert "e - " in text


def test_the_toolkit_stands_beside_the_driver_where_there_is_one(report: Report) -> None:
    for cuda, shown in (("12.4", True), ("", False), (None, False)):
        facts = msgspec.structs.replace(report.facts, toolkit_cuda=cuda)
        text = render(msgspec.structs.replace(report, facts=facts), "text")
        assert ("  toolkit   CUDA 12.4\n" in text) is shown
        assert ("  toolkit" in text) is shown


def test_a_selection_by_preference_names_the_command_that_measures(report: Report) -> None:
    assert "qdoctor select" in render(report, "text", view="check")
    assert "qdoctor select" not in render(report, "text", view="explain")
    nothing = msgspec.structs.replace(report, selected=None)
    assert "qdoctor select" not in render(nothing, "text", view="check")


def test_a_typical_figure_is_not_shown_as_a_measured_one(report: Report) -> None:
    typical = msgspec.structs.replace(report.verdicts[0], rel_error=0.0029)
    measured = msgspec.structs.replace(typical, measured_on="Tesla V100")
    shown = [
        render(msgspec.structs.replace(report, verdicts=[one]), "text")
        for one in (typical, measured)
    ]
    assert "rel. error near 0.0029" in shown[0]
    assert "rel. error 0.0029" in shown[1]


@pytest.mark.parametrize("view", VIEWS)
def test_no_backend_selected_is_no_bare_green(report: Report, view: str) -> None:
    none = msgspec.structs.replace(report, selected=None)
    assert "Selected: none" in render(none, "text", view=view)


@given(st.text(max_size=60))
def test_nothing_drives_the_terminal(hostile: str) -> None:
    because = [Because(hostile, hostile, "observed")]
    finding = Finding(rule="r", severity="note", title=hostile, because=because)
    paper = Paper(color=False, width=80)
    paper.line((finding.title, ""), indent=4)
    paper.row([("because", "", 9)], (because[0].text, ""), (because[0].source, ""))
    paper.command(hostile, indent=2)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", paper.written())
