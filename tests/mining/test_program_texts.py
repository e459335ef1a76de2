"""Which texts of a package's files are kept as notices and refusals."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING

import pytest

from qdoctor.mining.program_texts import kept_of, read, table_of, texts_in, words_of

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = """
logger.warning(f"The adapter {name} was already merged into this model, nothing to do")
warnings.warn("Setting the parameter to its default, as it " "was not given here")
raise ValueError("The number of heads has to divide %d evenly, as a rule of it" % size)
raise ValueError("Please install the newest version of this very nice package")
raise OddError("Some other kind of exception that says quite a lot of it")
logger.info("too short")
"""


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("notices", "was already merged into this model nothing to do"),
        ("notices", "setting the parameter to its default as it was not given here"),
        ("refusals", "the number of heads has to divide"),
    ],
)
def test_a_text_is_kept_without_what_differs(kind: str, text: str) -> None:
    assert (kind, text) in list(texts_in(SOURCE))


def test_installing_other_exceptions_and_few_words_are_left_out() -> None:
    assert len(list(texts_in(SOURCE))) == 3
    assert not list(texts_in("this is no Python"))


def test_a_wheel_is_read_without_its_tests(tmp_path: Path) -> None:
    path = tmp_path / "pkg-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("pkg/core.py", SOURCE)
        wheel.writestr("pkg/tests/test_core.py", SOURCE.replace("heads", "tails"))
    found = read(path)
    assert found["refusals"] == {"the number of heads has to divide"}
    table = table_of({"a": found, "b": found}, {"a": "1.0", "b": "1.0"})
    assert table["rows"]["b"]["refusals"] == []
    assert json.dumps(table)


def test_words_are_compared_without_letters_case_and_marks() -> None:
    assert words_of("`r` should be: A Number!") == ["r", "should", "be", "a", "number"]


def test_a_short_text_is_kept_with_its_exception() -> None:
    source = 'raise ValueError("SGD without momentum, today")\nassert fits, "Odd size"'
    assert list(texts_in(source)) == [("refusals", "valueerror sgd without momentum today")]


def test_an_assertion_with_a_text_is_a_refusal() -> None:
    source = 'assert a == b, f"the inner dimensions of both do not match: {a}"'
    text = "the inner dimensions of both do not match"
    assert list(texts_in(source)) == [("refusals", text)]


def test_modules_about_arguments_may_speak_of_support() -> None:
    source = 'raise RuntimeError("this sort of block size is not supported by the layer")'
    assert not list(texts_in(source, "pkg/core.py"))
    assert list(texts_in(source, "bitsandbytes/optim/adam.py"))
    assert list(texts_in(source.replace("RuntimeError", "ValueError"), "pkg/core.py"))
    of_gpu = source.replace("the layer", "this GPU")
    assert not list(texts_in(of_gpu, "bitsandbytes/optim/adam.py"))


def test_of_a_package_of_thousands_what_lasts_is_kept() -> None:
    release: dict[str, set[str]] = {
        "notices": {"a notice"},
        "refusals": {"a refusal"},
        "shapes": set(),
    }
    other: dict[str, set[str]] = {
        "notices": set(),
        "refusals": {"a refusal", "another"},
        "shapes": set(),
    }
    assert not any(kept_of("vllm", [release, other]).values())
    assert kept_of("vllm", [release] * 4)["refusals"] == {"a refusal"}
    assert kept_of("peft", [release, other])["refusals"] == {"a refusal", "another"}


@pytest.mark.parametrize(
    ("call", "shape"),
    [
        (
            'ValueError(f"Expected {a} == {b}, but got {c} instead")',
            "valueerror expected * but got * instead",
        ),
        ('ValueError(f"no {kind}Config fits here today")', "valueerror no * fits here today"),
        ('ValueError("the state is odd")', ""),
        ('ValueError(f"{a} and {b}")', ""),
        ("AttributeError(f\"'{a}' object has no attribute '{b}'\")", ""),
    ],
)
def test_the_course_of_a_text_of_few_fixed_words_is_kept(call: str, shape: str) -> None:
    found = [text for kind, text in texts_in(f"raise {call}") if kind == "shapes"]
    assert found == ([shape] if shape else [])


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("an early stop here requires that steps are logged", True),
        ("an early stop here requires peft in this program", False),
        ("an early stop here requires another device than this", False),
        ("an early stop here needs release >= 2.1 of it", False),
    ],
)
def test_what_an_argument_requires_is_a_refusal_and_a_package_is_not(
    said: str,
    kept: bool,  # noqa: FBT001
) -> None:
    assert bool(list(texts_in(f"raise ValueError({said!r})"))) is kept
