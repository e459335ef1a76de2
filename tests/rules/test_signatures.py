"""Known error texts are recognized by the data, unknown ones by nothing."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from qdoctor import diagnose
from qdoctor.matrix import shipped
from qdoctor.rules import error_text
from qdoctor.rules.signatures import recognize

ROWS: list[dict[str, Any]] = shipped().table("signatures")["rows"]
EXAMPLES = [(row["id"], text) for row in ROWS for text in row["examples"]]
TYPED_MISMATCH = (
    "the detected cuda version (11.8) mismatches the version that was used to compile\n"
    "      pytorch (12.1). please make sure to use the same cuda versions"
)
FILLER = "step 17: loss 0.25, 31 tokens/s\n" * 20_000


def ids(text: str) -> list[str]:
    return [signal.signature for signal in recognize(text, shipped())]


@pytest.mark.parametrize(("row", "text"), EXAMPLES)
def test_an_example_is_recognized_as_its_own_row(row: str, text: str) -> None:
    assert ids(text)[0] == row


def test_rows_have_names_of_their_own() -> None:
    assert len({row["id"] for row in ROWS}) == len(ROWS)


def test_an_unknown_text_is_recognized_as_nothing() -> None:
    assert ids("ValueError: the cat sat on the keyboard") == []
    assert ids("") == []


def test_the_first_failure_of_a_log_comes_first() -> None:
    log = (
        "ModuleNotFoundError: No module named 'triton.ops'\n"
        "During handling of the above exception, another exception occurred:\n"
        "RuntimeError: CUDA is required but not available for bitsandbytes.\n"
    )
    assert ids(log) == ["triton-ops-missing", "cuda-required"]


def test_an_echo_counts_only_where_no_failure_is_known() -> None:
    echo = "AttributeError: 'NoneType' object has no attribute 'cquantize_blockwise_fp16_nf4'"
    failure = (
        "Could not load bitsandbytes native library: libcusparse.so.11: cannot open shared object "
        "file: No such file or directory"
    )
    assert ids(f"{failure}\n{echo}") == ["cuda-library-unopened"]
    assert ids(echo) == ["bnb-no-library-object"]


def test_a_special_text_outranks_a_general_one_on_its_line() -> None:
    text = (
        "Error no kernel image is available for execution on the device at line 479 in file ops.cu"
    )
    assert ids(text) == ["bnb-no-kernel-image"]


def test_a_retyped_text_is_known_and_a_log_in_other_letters_is_not() -> None:
    text = "oserror: libcusparse.so.11: cannot open SHARED object file"
    assert ids(text) == ["cuda-library-unopened"]
    assert not ids(text + "\n" + "nothing\n" * 400)


def test_what_a_text_states_is_kept() -> None:
    text = "CUDA SETUP: Required library version not found: libbitsandbytes_cuda122.so."
    assert recognize(text, shipped())[0].said == {"cuda": "122"}


@pytest.mark.parametrize(("row", "text"), EXAMPLES)
def test_an_example_is_found_in_the_middle_of_a_long_log(
    row: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which also says that the table's cues cover every row: the middle is kept for them alone."""
    monkeypatch.setattr(error_text, "_WHOLE", 16 * 1024)  # 0.3 s each with what is kept of a log
    monkeypatch.setattr(error_text, "_END", 4 * 1024)
    assert row in ids(FILLER[: 16 * 1024] + "\n" + text + "\n" + FILLER[: 8 * 1024])


@pytest.mark.parametrize(("row", "text"), EXAMPLES[::40])
def test_an_example_is_found_in_the_middle_of_a_huge_log(row: str, text: str) -> None:
    assert len(FILLER) > error_text._WHOLE
    assert row in ids(FILLER + text + "\n" + FILLER)


@pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])
def test_no_pattern_runs_away(row: dict[str, Any]) -> None:
    """A hostile text must not take longer than its length: tested with the pattern's own words."""
    words = re.sub(r"\\.|\(\?[^)]*\)|[^\w .']+", "", row["pattern"])
    text = (words * 40 + "\n") * 50 + "a" * 30_000  # and a line without an end
    began = time.perf_counter()
    re.compile(row["pattern"], re.MULTILINE).findall(text)
    assert time.perf_counter() - began < 20  # seconds: a pattern that runs away takes hours


@pytest.mark.parametrize(("row", "text"), [one for one in EXAMPLES if one[1].count("`") > 1])
def test_a_forum_that_takes_backticks_as_markup_hides_nothing(row: str, text: str) -> None:
    assert row in ids(text.replace("`", ""))


@pytest.mark.parametrize(
    ("row", "text"), [one for one in EXAMPLES if re.search(r"__(?:init|new|call)__\(\)", one[1])]
)
@pytest.mark.parametrize("shown", [r"\1", r"**\1**"])
def test_a_page_that_takes_underscores_as_bold_type_hides_nothing(
    row: str, text: str, shown: str
) -> None:
    assert ids(re.sub(r"(?<!\w)__(init|new|call)__(?=\(\))", shown, text))[0] == row


def test_a_text_that_a_terminal_wrapped_is_known() -> None:
    text = "RuntimeError: CUDA error: no kernel image is available for\nexecution on the device"
    assert ids(text) == ["no-kernel-image"]
    framed = "│ CUDA error: no kernel image is     │\n│ available for execution on the device │"
    assert ids(framed) == ["no-kernel-image"]


def test_a_notice_in_small_letters_outweighs_the_failure_that_it_quotes() -> None:
    text = (
        "could not load dynamic library 'libnvinfer.so.7'; dlerror: libnvinfer.so.7: cannot open "
    )
    found = recognize(f"{text}shared object file: no such file or directory", shipped())
    assert {one.rules for one in found} == {("harmless-warning",)}


def test_a_crash_is_left_to_what_facts_confirm() -> None:
    text = "Segmentation fault (core dumped)"
    old = {"packages": {"torch": "2.5.1+cu124"}, "gpus": [{"index": 0, "name": "RTX 5090"}]}
    new = {**old, "packages": {"torch": "2.9.1+cu128"}}
    told = [one.rule for one in diagnose(old, text).findings if one.explains_error]
    assert told == ["torch-no-sm-binary"]
    assert not any(one.explains_error for one in diagnose(new, text).findings)
    assert not any(one.explains_error for one in diagnose({}, text).findings)


def test_what_else_is_known_comes_before_a_crash() -> None:
    text = "RuntimeError: CUDA error\nAssertionError: Torch not compiled with CUDA enabled"
    old = {"packages": {"torch": "2.5.1+cu124"}, "gpus": [{"index": 0, "name": "RTX 5090"}]}
    assert "torch-no-sm-binary" not in [
        one.rule for one in diagnose(old, text).findings if one.explains_error
    ]


def test_a_line_that_a_terminal_broke_amid_a_word_is_read_whole() -> None:
    text = (
        "NVIDIA GeForce RTX 5070 Ti with CUDA capability sm_120 is not compatible with the "
        "current PyTorch installation."
    )
    broken = "\n".join(text[at : at + 62] for at in range(0, len(text), 62))
    assert [one.signature for one in recognize(broken, shipped())] == ["sm-not-compatible"]


@pytest.mark.parametrize(
    ("typed", "rule"),
    [
        ("cuda out of memory", "not-environment"),
        (TYPED_MISMATCH, "toolkit-torch-mismatch-build"),
    ],
)
def test_a_notice_hides_no_failure_that_was_retyped_below_it(typed: str, rule: str) -> None:
    notice = "Loading checkpoint shards: 100%|####| 2/2 [00:05<00:00,  2.6s/it]"
    assert diagnose({}, notice).findings[0].rule == "harmless-warning"
    assert diagnose({}, f"{notice}\n{typed}").findings[0].rule == rule


def test_what_a_notice_quotes_to_the_letter_is_no_failure_beside_it() -> None:
    found = (
        "CUDA_SETUP: WARNING! libcudart.so not found in any environmental path.\n"
        "CUDA SETUP: CUDA runtime path found: /usr/local/cuda/lib64/libcudart.so.11.0\n"
        "CUDA SETUP: Loading binary /x/bitsandbytes/libbitsandbytes_cuda118.so..."
    )
    assert set(ids(found)) == {"bnb-greeting", "bnb-greeting-library"}
