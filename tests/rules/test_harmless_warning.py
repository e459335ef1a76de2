"""harmless-warning: where it fires, where not, and where nothing else is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor.diagnosis import diagnose
from qdoctor.matrix import shipped
from qdoctor.model import Facts, Finding, Host

Ask = Callable[..., dict[str, Finding]]

NAME = "harmless-warning"
TRITON = (
    "A matching Triton is not available, some optimizations will not be enabled.\n"
    "Error caught was: No module named 'triton'"
)
TEXTS = [
    text
    for row in shipped().table("signatures")["rows"]
    if row["rules"][0] == NAME
    for text in row["examples"]
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_harmless_text_stays_a_note_with_nothing_to_fix(text: str) -> None:
    first, *others = found = diagnose(Facts(), error=text)[1]
    assert (first.rule, first.severity, first.explains_error) == (NAME, "note", True)
    assert {one.rule for one in others} <= {"fp8-needs-sm89"}  # where the text names an older GPU
    assert found[0].undecided is None
    assert found[0].fixes[0].action == "none"


def test_is_no_error_on_a_healthy_machine_either(ask: Ask) -> None:
    found = ask("h100", error=TRITON)
    assert next(iter(found)) == NAME
    assert found[NAME].severity == "note"


def test_is_silent_where_a_failure_stands_in_the_same_log(ask: Ask) -> None:
    log = f"{TRITON}\nModuleNotFoundError: No module named 'triton.ops'"
    assert NAME not in ask("h100", error=log)


def test_is_silent_without_a_text(ask: Ask) -> None:
    assert NAME not in ask("h100")


PARTS = ("flash-attn", "xformers", "triton", "apex", "bitsandbytes", "deepspeed", "liger_kernel")
WAYS = (
    "{} is not installed, falling back to the default implementation",
    "{} not available; using torch's own kernels instead",
    "Warning: {} is not installed. Please install it for faster inference.",
    "Failed to import {}, using the slow path",
    "Install {} to speed up training",
)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("part", PARTS)
def test_an_optional_part_without_which_the_program_goes_on(part: str, way: str) -> None:
    for facts in (Facts(), Facts(host=Host(os="windows"))):
        found = diagnose(facts, error=way.format(part))[1]
        assert [(one.rule, one.severity) for one in found if one.explains_error] == [(NAME, "note")]


@pytest.mark.parametrize(
    "text",
    [
        "ImportError: {} is not installed, which this model requires: install it for faster runs",
        "RuntimeError: {} is not available, cannot go on; using the GPU needs it",
        "{} must be installed to speed up training, aborting",
    ],
)
@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_required_is_no_optional_one(part: str, text: str) -> None:
    found = diagnose(Facts(), error=text.format(part))[1]
    assert not [one for one in found if one.explains_error and one.rule == NAME]


def test_a_caught_message_on_windows_is_a_notice_and_an_exception_is_none() -> None:
    for text, harmless in (
        ("No module named 'triton'", True),
        ("loading\n  No module named 'triton'\nready", True),
        ("ModuleNotFoundError: No module named 'triton'", False),
        ("ModuleNotFoundError:\nNo module named 'triton'", False),
    ):
        for system in ("windows", "linux"):
            found = diagnose(Facts(host=Host(os=system)), error=text)[1]
            rules = [one.rule for one in found if one.explains_error]
            assert (rules == [NAME]) is (harmless and system == "windows"), (text, system)


INTEGRATED = [sm for sm, row in shipped().table("sm")["rows"].items() if row.get("integrated")]
CAPABILITY = """UserWarning:
    Found GPU0 NVIDIA X which is of cuda capability {}.
    Minimum and Maximum cuda capability supported by this version of PyTorch is
    ({}) - ({})
"""


@pytest.mark.parametrize(
    ("gpu", "smallest", "largest"), [("12.1", "8.0", "12.0"), ("12.1", "12.0", "12.0")]
)
def test_a_gpu_above_the_largest_of_its_major_runs_its_code(
    gpu: str, smallest: str, largest: str, ask: Ask
) -> None:
    text = CAPABILITY.format(gpu, smallest, largest)
    assert NAME in ask("cpu", gpus=None, packages={"torch": None}, error=text)


@pytest.mark.parametrize(
    ("gpu", "smallest", "largest"),
    [
        ("6.1", "7.0", "12.0"),
        ("12.1", "5.0", "9.0"),
        ("8.0", "8.6", "8.9"),
        ("7.5", "8.0", "12.0"),
        *((sm, "3.0", f"{sm.partition('.')[0]}.0") for sm in INTEGRATED),
    ],
)
def test_a_gpu_below_the_smallest_of_another_major_or_integrated_has_none(
    gpu: str, smallest: str, largest: str, ask: Ask
) -> None:
    text = CAPABILITY.format(gpu, smallest, largest)
    found = ask("cpu", gpus=None, packages={"torch": None}, error=text)
    assert next(iter(found)) == "torch-no-sm-binary"


@pytest.mark.parametrize(
    "text",
    [
        "UserWarning: Flash Attention is disabled as it requires a GPU with Ampere (8.0).",
        "WARNING: xFormers will be disabled because this GPU has capability 6.1",
    ],
)
def test_a_kernel_that_is_left_out_for_the_gpu_is_no_failure(text: str, ask: Ask) -> None:
    assert next(iter(ask("a100", gpus=None, error=text))) == NAME


def test_an_error_that_asks_for_another_gpu_is_one(ask: Ask) -> None:
    text = "RuntimeError: Flash Attention is disabled as it requires a GPU with Ampere (8.0)."
    assert NAME not in ask("a100", gpus=None, error=text)


def test_a_notice_does_not_answer_for_an_unknown_exception_below_it() -> None:
    notice = "WARNING:root:No ROCm runtime is found, using ROCM_HOME='/opt/rocm'"
    assert diagnose(Facts(), error=notice)[1][0].rule == NAME
    fails = "Traceback (most recent call last):\nBirdError: the nest is empty"
    assert diagnose(Facts(), error=f"{notice}\n{fails}")[1] == []
    assert diagnose(Facts(), error=f"{fails}\n{notice}")[1][0].rule == NAME
