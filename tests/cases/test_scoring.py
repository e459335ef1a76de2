"""Each clause of the scoring rule (README.md here) has a case that it decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from packaging.version import Version

from qdoctor.matrix import shipped
from qdoctor.model import Diagnosis, Finding, Fix

if TYPE_CHECKING:
    from types import ModuleType

    from qdoctor.model import Action, Severity

RELEASED = [Version(v) for v in ("2.0.0", "2.1.0", "2.3.1", "3.0.0")]


def _finding(rule: str, severity: Severity = "error", *, explains: bool = False) -> Finding:
    return Finding(rule=rule, severity=severity, title=rule, explains_error=explains)


def _fix(action: Action, **given: str) -> Fix:
    return Fix(action=action, why="", **given)  # type: ignore[arg-type]


@pytest.fixture
def answer(scorer: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401
    """Score one case whose diagnosis is given."""

    def _answer(findings: list[Finding], *, error: str | None = None, **expect: Any) -> Any:  # noqa: ANN401
        given = Diagnosis(findings=findings, verdicts=[])
        monkeypatch.setattr("qdoctor.diagnose", lambda *_: given, raising=False)
        wanted = {"causes": ["right"], "healthy_env": False, "fixes": [], **expect}
        case: dict[str, Any] = {
            "id": "x",
            "url": "",
            "topic": "a",
            "facts": {},
            "error": error,
            "expect": wanted,
        }
        case |= {"scorable": True, "confidence": "high"}
        return scorer.score(msgspec.convert(case, scorer.Case), shipped())

    return _answer


def test_with_a_text_the_first_that_explains_it_counts(answer: Any) -> None:  # noqa: ANN401
    loud = _finding("wrong")
    assert answer([loud, _finding("right", explains=True)], error="text").cause
    assert not answer([_finding("right"), _finding("wrong", explains=True)], error="text").cause
    assert not answer([_finding("right")], error="text").cause


def test_without_a_text_the_first_error_or_warning_counts(answer: Any) -> None:  # noqa: ANN401
    note = _finding("wrong", "note")
    assert answer([note, _finding("right", "warning"), _finding("wrong")]).cause
    assert not answer([_finding("wrong", "warning"), _finding("right", "note")]).cause


def test_without_any_the_first_note_counts(answer: Any) -> None:  # noqa: ANN401
    assert answer([_finding("right", "note"), _finding("wrong", "note")]).cause
    assert not answer([]).cause


def test_the_third_is_among_the_first_three_and_the_fourth_is_not(answer: Any) -> None:  # noqa: ANN401
    wrong = [_finding(f"wrong{n}") for n in range(3)]
    third = answer([*wrong[:2], _finding("right")])
    assert (third.cause, third.top3) == (False, True)
    assert not answer([*wrong, _finding("right")]).top3


def test_a_healthy_environment_wants_silence(answer: Any) -> None:  # noqa: ANN401
    silent = answer([], healthy_env=True)
    assert silent.cause
    assert not silent.alarms
    assert answer([_finding("wrong", "note")], healthy_env=True).cause
    assert answer([_finding("right", explains=True)], error="text", healthy_env=True).cause


@pytest.mark.parametrize("severity", ["error", "warning"])
def test_anything_else_said_about_it_is_a_false_alarm(answer: Any, severity: Severity) -> None:  # noqa: ANN401
    right = _finding("right", explains=True)
    loud = answer([right, _finding("wrong", severity)], error="text", healthy_env=True)
    assert not loud.cause
    assert loud.alarms == ["wrong"]


def test_a_note_that_explains_is_said_too(answer: Any) -> None:  # noqa: ANN401
    said = _finding("wrong", "note", explains=True)
    assert answer([said], error="text", healthy_env=True).alarms == ["wrong"]


def test_the_first_fix_of_the_first_answer_counts(answer: Any) -> None:  # noqa: ANN401
    wanted = [{"action": "disable"}]
    good, bad = _fix("disable"), _fix("rebuild")
    for fixes, right in (([good, bad], True), ([bad, good], False), ([], False)):
        first = Finding(rule="right", severity="error", title="", fixes=fixes)
        assert answer([first, _finding("other")], fixes=wanted).fix is right


def test_without_an_accepted_fix_none_is_judged(answer: Any) -> None:  # noqa: ANN401
    assert answer([_finding("right")], fixes=[]).fix is None


@pytest.mark.parametrize(
    ("offered", "wanted", "agrees"),
    [
        ("reinstall", "install", True),
        ("install-build", "install-matching", True),
        ("install-system", "reinstall", True),
        ("upgrade", "upgrade", True),
        ("upgrade", "downgrade", False),
        ("install", "upgrade", False),
        ("upgrade", "upgrade-driver", False),
        ("uninstall", "install", False),
    ],
)
def test_the_installing_words_count_as_one(
    scorer: ModuleType, offered: Action, wanted: str, *, agrees: bool
) -> None:
    assert scorer.agrees(_fix(offered), scorer.Wanted(action=wanted), shipped()) is agrees


@pytest.mark.parametrize(
    ("offered", "wanted", "agrees"),
    [
        ({"package": "mamba-ssm"}, {"package": "mamba_ssm"}, True),
        ({"package": "torch"}, {"package": "triton"}, False),
        ({}, {"package": "triton"}, False),
        ({"package": "triton"}, {}, True),
        ({"package": "python3.12-dev"}, {"package": "python3-dev"}, True),
        ({"package": "python3-dev"}, {"package": "python3.12-dev"}, False),
        ({"package": "gcc"}, {"package": "gcc / build-essential"}, True),
        ({"package": "libstdcxx-ng"}, {"package": "libstdcxx-ng (conda) / libstdc++6"}, True),
        ({"package": "libstdcxx-ng"}, {"package": "sysroot libstdcxx-ng (conda)"}, False),
        ({"backend": "bnb-nf4"}, {"backend": "nf4"}, True),
        ({"backend": "bnb-int8"}, {"backend": "Linear8bitLt"}, True),
        ({"backend": "bnb-fp4"}, {"backend": "nf4"}, False),
        ({"name": "CC"}, {"name": "CC"}, True),
        ({"name": "LIBRARY_PATH"}, {"name": "LD_LIBRARY_PATH"}, False),
        ({"index": "cu118"}, {"package": None}, True),
    ],
)
def test_package_backend_and_name_are_compared_where_given(
    scorer: ModuleType, offered: dict[str, str], wanted: dict[str, Any], *, agrees: bool
) -> None:
    accepted = scorer.Wanted(action="use", **wanted)
    assert scorer.agrees(_fix("use", **offered), accepted, shipped()) is agrees


@pytest.mark.parametrize(
    ("offered", "wanted", "shares"),
    [
        (None, ">=2.0", False),
        (">=2.1,<3", ">=2.0", True),
        ("==2.2.0", ">=2.0", False),  # lies in the range, was never released
        ("==3.0.0", "<3", False),
        (">=2.2,<2.3", ">=2.1", False),
        ("==2.3.*", "<3", True),
        ("==1.1", "<2", True),  # older than what is known
        ("==2.0.0", "==2.0.0 (released wheel)", True),
        ("==2.1.0", "==2.0.0 (released wheel)", False),
        (">=3", "that of the container", True),
        (None, "that of the container", False),
    ],
)
def test_specifiers_share_a_released_version(
    scorer: ModuleType, offered: str | None, wanted: str, *, shares: bool
) -> None:
    assert scorer.shares_a_release(offered, wanted, RELEASED) is shares


@pytest.mark.parametrize(
    ("offered", "wanted", "shares"),
    [
        (">=1.2", ">=1.0,<1.3", True),
        (">=1.3", "<1.3", False),
        ("<2", "<2.1", True),
        ("<2", ">=2", False),
        (">0.16", "<0.17", True),
        ("==1.26.*", "<2", True),
    ],
)
def test_of_an_unknown_package_the_versions_named_decide(
    scorer: ModuleType, offered: str, wanted: str, *, shares: bool
) -> None:
    assert scorer.shares_a_release(offered, wanted, ()) is shares


def test_the_matrix_is_asked_for_the_accepted_package(scorer: ModuleType) -> None:
    accepted = scorer.Wanted(action="upgrade", package="bitsandbytes", spec=">=0.45.0")
    assert scorer.agrees(
        _fix("upgrade", package="bitsandbytes", spec=">=0.44"), accepted, shipped()
    )
    unreleased = _fix("upgrade", package="bitsandbytes", spec="==0.45.9")
    assert not scorer.agrees(unreleased, accepted, shipped())


def test_a_package_of_the_system_may_be_written_in_words(answer: Any) -> None:  # noqa: ANN401
    toolkit = _finding("right", explains=True)
    toolkit = msgspec.structs.replace(
        toolkit, fixes=[_fix("install-system", package="cuda-toolkit")]
    )
    for name, right in (("CUDA toolkit 11.7", True), ("cuda toolkit", True), ("gcc", False)):
        wanted = [{"action": "install-system", "package": name}]
        assert answer([toolkit], error="text", fixes=wanted).fix is right
