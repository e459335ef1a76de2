"""The cases are what their README says: one format, known words, each from a public thread."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, get_args

import pytest

from qdoctor.matrix import shipped
from qdoctor.model import Action, Facts, from_plain

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

THREAD = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+/(issues|pull)/\d+")
HOST = re.compile(r"https?://([\w.-]+)")
# What the quoted texts themselves refer to; a package index is written as index.example.
QUOTED = {"github.com", "huggingface.co", "index.example", "pytorch.org", "www.nvidia.com"}
PERSON = re.compile(r"(?:/home/|/Users/|Users\\\\+)([^/\\\\]+)")
AGAIN = "again-"
NOBODY = {"u", "llm", "username", "Admin"}
# Folders that are some machine's own, and an index spelled as a registry's.
PLACE = re.compile(r"/(?:wor[k]|roo[t]|far[m])/|https?://[^ \"]+/simple\b|//registry\.")


@pytest.fixture(scope="module")
def cases(scorer: ModuleType, files: list[Path]) -> list[Any]:
    return [case for path in files for case in scorer.read(path)]


def test_every_line_is_a_case_with_facts_as_the_schema_has_them(cases: list[Any]) -> None:
    for case in cases:
        assert from_plain(case.facts, Facts, case.id).schema == "qdoctor/facts/1"
        assert case.expect.causes
        assert case.confidence in {"high", "medium", "low"}


def test_ids_and_threads_are_told_once(cases: list[Any]) -> None:
    first = [case for case in cases if not case.id.startswith(AGAIN)]
    again = [case for case in cases if case.id.startswith(AGAIN)]
    for told in ([one.id for one in cases], [one.url for one in first], [one.url for one in again]):
        assert len(set(told)) == len(told)
    assert all(THREAD.fullmatch(case.url) for case in cases)
    assert {one.url for one in again} <= {one.url for one in first}


def test_causes_are_of_the_known_ones(cases: list[Any], causes: set[str]) -> None:
    named = {cause for case in cases for cause in case.expect.causes}
    assert named <= causes


def test_fixes_are_of_the_known_actions(cases: list[Any]) -> None:
    named = {fix.action for case in cases for fix in case.expect.fixes}
    assert named <= set(get_args(Action))


def test_accepted_specifiers_allow_something_released(scorer: ModuleType, cases: list[Any]) -> None:
    for fix in (fix for case in cases for fix in case.expect.fixes if fix.spec):
        released = shipped().versions(fix.package) if fix.package else ()
        assert scorer.shares_a_release(fix.spec, fix.spec, released), fix


def test_a_fix_is_judged_wherever_something_is_wrong(cases: list[Any]) -> None:
    unjudged = [case for case in cases if not case.expect.fixes]
    assert all(case.expect.healthy_env and case.error is None for case in unjudged)


def test_enough_of_both_kinds(cases: list[Any]) -> None:
    scorable = [case for case in cases if case.scorable]
    assert len(scorable) >= 60
    assert sum(case.expect.healthy_env for case in scorable) >= 15


def test_no_package_index_and_nobodys_name(files: list[Path]) -> None:
    for path in files:
        content = path.read_text(encoding="utf-8")
        assert set(HOST.findall(content)) <= QUOTED
        assert set(PERSON.findall(content)) <= NOBODY
        # a GitHub project's own name may begin so
        assert {one for one in PLACE.findall(content) if "github.com" not in one} == set(), path
