from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qdoctor.probes import answer

if TYPE_CHECKING:
    from pathlib import Path

WHOLE: dict[str, Any] = {
    "variant": "col32",
    "outcome": "wrong",
    "detail": "off\nby \x1b[31mone",
    "code": "wrong-value",
    "numbers": {"max_rel_error": 0.5, "values": 3},
    "path_taken": "x.y",
    "device": "cuda:0",
    "ran": True,
    "evidence": ["line\x00"],
}

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def test_an_answer_is_read_whole_and_made_printable(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps({"outcomes": [WHOLE], "later": "keys are let pass"}))
    read = answer.read(path)
    assert read.garbage is None
    assert read.outcomes is not None
    (one,) = read.outcomes
    assert (one.detail, one.evidence) == ("off by [31mone", ["line"])
    assert one.numbers == {"max_rel_error": 0.5, "values": 3.0}
    assert (one.variant, one.outcome, one.code) == ("col32", "wrong", "wrong-value")
    assert (one.path_taken, one.device, one.ran) == ("x.y", "cuda:0", True)


def test_a_missing_answer_is_none_and_no_garbage(tmp_path: Path) -> None:
    assert answer.read(tmp_path / "result.json") == answer.Answer()


def test_texts_and_lists_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    long = {"outcome": "failed", "detail": "x" * 100_000, "evidence": ["y" * 5000] * 100}
    path.write_text(json.dumps({"outcomes": [long]}))
    (one,) = answer.read(path).outcomes or []
    assert len(one.detail) < 2000
    assert len(one.evidence) < 100
    assert max(map(len, one.evidence)) < 2000


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary() | JSON.map(lambda value: json.dumps({"outcomes": value}).encode()))
def test_no_bytes_raise(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(data)
    read = answer.read(path)
    assert (read.outcomes is None) == (read.garbage is not None)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(sorted(WHOLE)), value=JSON)
def test_no_value_of_another_type_gets_through(tmp_path: Path, key: str, value: object) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps({"outcomes": [{**WHOLE, key: value}]}))
    for one in answer.read(path).outcomes or []:
        assert one.outcome in {"passed", "wrong", "failed", "skipped"}
        assert all(type(number) is float for number in one.numbers.values())
        assert one.detail.isprintable()
