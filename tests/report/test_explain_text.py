from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
import pytest

from qdoctor.model import Because, Finding, Fix, MissingFact, Report, Target
from qdoctor.report import render

if TYPE_CHECKING:
    from qdoctor.model import Strength

EACH: tuple[Strength, ...] = ("mined", "mined", "mined", "inspected", "documented", "observed")


def shown(report: Report, *findings: Finding, **changes: object) -> str:
    changed = msgspec.structs.replace(report, findings=list(findings), **changes)
    return render(changed, "text", view="explain")


def finding(**parts: object) -> Finding:
    cut_off = Finding("a-rule", "error", "the library is cut off", explains_error=True)
    return msgspec.structs.replace(cut_off, **parts)


def section(text: str, name: str) -> list[str]:
    """The lines under a heading."""
    return re.split(rf"^{name}$", text, flags=re.MULTILINE)[1].split("\n\n")[0].splitlines()[1:]


def test_the_sentence_that_answers_comes_first(report: Report) -> None:
    lines = render(report, "text", view="explain").splitlines()
    assert "bitsandbytes' SwitchBack calls" in lines[lines.index("Answer") + 1]
    order = ["Answer", "Evidence", "Fix", "Also found, not said to explain it"]
    rest = msgspec.structs.replace(report.findings[1], explains_error=False)
    text = shown(report, report.findings[0], rest)
    headings = [line for line in text.splitlines() if line in order]
    assert headings == order


def test_what_is_decided_says_so(report: Report) -> None:
    text = shown(report, finding())
    assert "decided    a-rule" in text
    assert "What would decide" not in text
    assert "undecided" not in text


@pytest.mark.parametrize(
    ("fixes", "opening"),
    [
        ([Fix("none", "nothing to fix: it is caught")], "nothing to fix, because "),
        ([Fix("change-code", "do less")], "nothing to fix in this environment: "),
        ([], "nothing to fix in this environment: "),
    ],
)
def test_harmless_is_an_answer(report: Report, fixes: list[Fix], opening: str) -> None:
    text = shown(report, finding(severity="note", title="all is well", fixes=fixes))
    assert section(text, "Answer")[0].strip() == f"{opening}all is well"


def test_a_harmless_text_may_still_be_avoided(report: Report) -> None:
    fixes = [Fix("none", "nothing to fix: it is caught"), Fix("change-code", "say it otherwise")]
    text = shown(report, finding(severity="note", fixes=fixes))
    assert section(text, "Fix") == ["  nothing to fix: it is caught"]
    assert "say it otherwise" in "".join(section(text, "To be rid of the text"))


def test_an_unknown_text_gets_no_cause(report: Report) -> None:
    other = finding(title="something else", explains_error=False)
    text = shown(report, other)
    assert section(text, "Answer")[0].strip() == "no cause known for this text"
    assert "Fix" not in text.split("\n")
    assert "Tesla V100" in "".join(section(text, "Machine")), "what was checked"
    assert text.index("no cause known") < text.index("something else")
    assert "2>&1 | qdoctor explain -" in text


def test_an_environment_without_torch_is_hardly_the_one_of_the_text(report: Report) -> None:
    asks = "Is the text from another environment?"
    bare = msgspec.structs.replace(report.facts, packages={"torch": ""})
    assert "--python PATH/TO/VENV" in shown(report, facts=bare).partition(asks)[2]
    assert "--python PATH/TO/VENV" in shown(report, finding(), facts=bare).partition(asks)[2]
    described = Target("described", "--facts -", None, [])
    assert asks not in shown(report, finding(), facts=bare, target=described)
    assert asks not in shown(report, finding())
    unknown = msgspec.structs.replace(report.facts, packages={})
    assert asks not in shown(report, finding(), facts=unknown)


def test_what_would_decide_is_named_with_its_command(report: Report) -> None:
    fact = MissingFact("driver.version", "nvidia-smi")
    open_ = finding(undecided="the driver's version is not known", decided_by=fact)
    other = finding(rule="another", title="the other cause", undecided="which GPUs are there")
    text = shown(report, open_, other)
    assert section(text, "Answer")[0].strip() == "most likely: the library is cut off"
    assert "only the text says so: the driver's version is not known" in " ".join(text.split())
    assert section(text, "What would decide") == [
        "  driver.version, which this tells:",
        "    nvidia-smi",
    ]
    assert "the other cause" in "".join(section(text, "Other causes it may have"))
    described = shown(report, open_, target=Target(kind="described", chosen_by="--facts x"))
    assert "`qdoctor facts` in that environment" in described


def test_what_no_fact_decides_is_said_as_it_is(report: Report) -> None:
    text = shown(report, finding(undecided="whether the model was to be split"))
    assert section(text, "What would decide") == ["  whether the model was to be split"]


def test_evidence_is_three_lines_of_every_strength(report: Report) -> None:
    because = [
        Because(f"{strength} {number}", f"source {number}", strength)
        for number, strength in enumerate(EACH)
    ]
    lines = section(shown(report, finding(because=because)), "Evidence")
    assert [line.split()[0] for line in lines] == ["mined", "inspected", "documented", "and"]
    assert lines[0].endswith("mined 0 [source 0]")
    assert lines[-1] == "  and 3 more: --format json"


def test_long_evidence_stays_short_and_says_that_it_was_cut(report: Report) -> None:
    because = [Because("word " * 500, "place " * 500, "mined"), Because("y" * 9000, "z", "mined")]
    lines = section(shown(report, finding(because=because)), "Evidence")
    assert len(lines) < 9
    assert "word …" in " ".join(lines)
    assert sum(line.count("y") for line in lines) < 200
    assert "y …" in " ".join(lines) or "y…" in " ".join(lines)


def test_alternatives_are_labelled(report: Report) -> None:
    fixes = [
        Fix("upgrade", "w", "safe", "peft", ">=0.6", command="python -m pip install 'peft>=0.6'"),
        Fix("change-code", "call it later"),
        Fix("set-env", "it is read", name="X", value="1"),
        Fix("install-build", "w", "unsafe", "torch", command="python -m pip install torch"),
        Fix("upgrade-driver", "it is old"),
    ]
    lines = section(shown(report, finding(fixes=fixes)), "Fix")
    rows = [line.split(maxsplit=1) for line in lines if line[2:4] in {"fi", "or"}]
    assert [label for label, _ in rows] == ["fix", "or", "or", "or", "or"]
    ends = ["w", "(in your program)", "(by hand)", "(unsafe: read before running)"]
    for (_, told), end in zip(rows, ends, strict=False):
        assert told.endswith(end)
    assert " ".join(" ".join(lines).split()).endswith("(changes the machine, not this environment)")


def test_no_fix_is_said(report: Report) -> None:
    assert "none is known" in "".join(section(shown(report, finding()), "Fix"))
