"""Which functions refuse a GPU: read from assertions, not from what merely chooses another way."""

from __future__ import annotations

import ast

import pytest

from qdoctor.matrix import shipped
from qdoctor.mining.gpu_demands import demands_of
from qdoctor.sources.modules import Module

SOURCE = '''
from here import is_sm_at_least_89, is_sm_at_least_100

assert is_sm_at_least_89(), "at import: no function"


def by_assertion(weight):
    """Take fp8."""
    if weight is not None:
        assert torch.cuda.is_available() and is_sm_at_least_89() or is_MI300(), (
            "needs 8.9"
        )


class Packed:
    @classmethod
    def from_hp(cls, weight):
        if not torch.cuda.get_device_capability()[0] >= 8:
            raise ValueError(f"not on {torch.cuda.get_device_name()}, from 8.0 on")


def chooses(weight):
    if is_sm_at_least_100():
        return "fast"
    if not is_sm_at_least_89():
        return "slow"
    assert weight.dim() == 2
    assert torch.cuda.get_device_capability()[0] >= minimum
    return "medium"


def wordless():
    def inner():
        assert utils.is_sm_at_least_100()
    return inner
'''


def test_refusals_are_read_with_their_words_and_lines() -> None:
    member = "package/quantize.py"
    found = demands_of(Module.of(member, ast.parse(SOURCE)))
    lines = SOURCE.splitlines()
    assert [one.function for one in found] == [
        "package.quantize.by_assertion",
        "package.quantize.Packed.from_hp",
        "package.quantize.wordless.inner",
    ]
    assert [(one.sm, one.text) for one in found] == [
        ("8.9", "needs 8.9"),
        ("8.0", "not on …, from 8.0 on"),
        ("10.0", ""),
    ]
    for one in found:
        assert one.member == member
        assert one.symbol in lines[one.line - 1]


def test_a_module_without_refusals_has_none() -> None:
    assert demands_of(Module.of("package/__init__.py", ast.parse("x = 1\n"))) == []


def _stated(version: str) -> dict[str, str]:
    release = shipped().release("torchao", version)
    assert release is not None
    return {one["function"].rpartition(".")[2]: one["sm"] for one in release.facts["gpu_demands"]}


@pytest.mark.parametrize("version", ["0.12.0", "0.15.0", "0.18.0"])
def test_the_shipped_releases_say_what_their_formats_ask_for(version: str) -> None:
    stated = _stated(version)
    assert stated["_check_hardware_support"] == "8.9"
    assert stated["_nvfp4_inference_linear_transform"] == "10.0"


def test_only_one_early_release_refuses_mxfp4_by_itself() -> None:
    assert _stated("0.13.0")["_mx_inference_linear_transform"] == "10.0"
    assert "_mx_inference_linear_transform" not in _stated("0.18.0")
