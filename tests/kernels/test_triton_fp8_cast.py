"""Triton's fp8 casts: the reference against torch's, compiled without a GPU, run with one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

KERNELS = Path(__file__).resolve().parents[2] / "kernels"
Start = Callable[..., Any]
Load = Callable[[str], Any]
VARIANTS = ("e4m3", "e5m2", "e4m3-from-bf16", "e5m2-from-bf16")
DIRECT = "cvt.rn.satfinite.{}x2.f32"


@pytest.mark.parametrize(
    ("sm", "conversion"), [("9.0", DIRECT), ("8.9", "cvt.rn.satfinite.{}x2.f16x2")]
)
def test_newer_gpus_convert_in_hardware_each_in_its_own_way(
    start: Start, sm: str, conversion: str
) -> None:
    pytest.importorskip("triton")
    answer = start("triton_fp8_cast", mode="compile", sms=[sm])
    for variant in VARIANTS[:2]:
        one = answer.one(variant, "sm_" + sm.replace(".", ""))
        assert (one["outcome"], one["ran"]) == ("passed", False)
        assert one["path_taken"].endswith(": " + conversion.format(variant))


def test_before_ada_e4m3_is_refused_in_tritons_own_words_and_e5m2_is_arithmetic(
    start: Start,
) -> None:
    pytest.importorskip("triton")
    answer = start("triton_fp8_cast", mode="compile", sms=["8.0"])
    refused = answer.one("e4m3")
    assert (refused["outcome"], refused["code"]) == ("failed", "failed")
    assert "type fp8e4nv not supported in this architecture" in refused["detail"]
    software = answer.one("e5m2")
    assert software["outcome"] == "passed"
    assert software["path_taken"] == "triton.language.float8e5: by integer arithmetic"


def test_the_order_of_the_sms_does_not_change_the_answers(start: Start) -> None:
    """A process that compiled for SM 9.0 would give SM 8.0 instructions that it does not have."""
    pytest.importorskip("triton")
    answer = start("triton_fp8_cast", mode="compile", sms=["9.0", "8.0"])
    assert [one["device"] for one in answer.outcomes or []] == ["sm_90"] * 4 + ["sm_80"] * 4
    for variant, kind in (("e5m2", "e5m2"), ("e5m2-from-bf16", "e5m2")):
        assert DIRECT.format(kind) in answer.one(variant, "sm_90")["path_taken"]
        one = answer.one(variant, "sm_80")
        assert one["outcome"] == "passed"
        assert one["path_taken"].endswith("by integer arithmetic")


def test_a_compiler_that_ends_its_process_keeps_what_was_answered_before(
    start: Start, tmp_path: Path
) -> None:
    pytest.importorskip("triton")
    folder = tmp_path / "forged"
    folder.mkdir()
    for part in KERNELS.glob("_*.py"):
        (folder / part.name).write_text(part.read_text())
    text = (KERNELS / "triton_fp8_cast.py").read_text()
    before = "    works = [(kernels[0]"
    assert text.count(before) == 1
    abort = '    if (variant, sm) == ("e5m2", "8.9"):\n        __import__("os").abort()\n'
    (folder / "triton_fp8_cast.py").write_text(text.replace(before, abort + before))
    answer = start(folder / "triton_fp8_cast.py", mode="compile", sms=["8.9", "9.0"])
    assert [(one["variant"], one["outcome"]) for one in answer.outcomes or []][:3] == [
        ("e4m3", "passed"), ("e5m2", "failed"), ("e4m3", "passed"),
    ]  # fmt: skip
    broke = answer.one("e5m2", "sm_89")
    assert "the compiler ended its process (status -6)" in broke["detail"]
    assert not broke["ran"]


def test_a_triton_without_the_type_is_skipped(start: Start, tmp_path: Path) -> None:
    language = tmp_path / "site" / "triton" / "language"
    language.mkdir(parents=True)
    (language.parent / "__init__.py").write_text("from . import language\n")
    (language / "__init__.py").touch()
    one = start("triton_fp8_cast", mode="compile", sms=["9.0"], paths=[tmp_path / "site"])
    assert one.one("e4m3")["code"] == "not-shipped"


def judged(load: Load, variant: str, change: Callable[[list[int]], None], path: str) -> Any:  # noqa: ANN401
    kernel, fp8 = load("triton_fp8_cast"), load("_fp8")
    kind, source = kernel.CASTS[variant]
    bits = [fp8.encode(value, kind)[0] for value in fp8.values(kind, source)]
    back = [fp8.decode(byte, kind) for byte in range(256)] if variant == kind else None
    change(bits)
    return kernel.judged(load("_outcomes"), variant, bits, back, path)


@pytest.mark.parametrize("variant", VARIANTS)
def test_right_bytes_pass_and_say_what_becomes_of_large_numbers(load: Load, variant: str) -> None:
    one = judged(load, variant, lambda _bits: None, "...x2.f32")
    assert one["outcome"] == "passed"
    assert one["detail"].endswith("past the largest number: saturating")
    assert one["numbers"]["wrong_casts"] == one["numbers"]["rounded_twice"] == 0


def test_one_bit_that_is_off_is_wrong_and_named(load: Load) -> None:
    def flip(bits: list[int]) -> None:
        bits[100] ^= 1

    one = judged(load, "e4m3", flip, "...x2.f32")
    assert (one["outcome"], one["code"]) == ("wrong", "wrong-value")
    assert " became 0x" in one["detail"]
    assert one["numbers"]["wrong_casts"] == 1


@pytest.mark.parametrize(("path", "outcome"), [("...x2.f32", "wrong"), ("...x2.f16x2", "passed")])
def test_rounding_by_way_of_float16_is_right_only_where_nothing_converts_directly(
    load: Load, path: str, outcome: str
) -> None:
    fp8 = load("_fp8")
    values = fp8.values("e4m3", "float32")

    def twice(bits: list[int]) -> None:
        bits[:] = [fp8.by_float16(value, "e4m3")[0] for value in values]

    one = judged(load, "e4m3", twice, path)
    assert one["outcome"] == outcome
    if outcome == "passed":
        assert one["numbers"]["rounded_twice"] > 100


INTERPRETED = """
import importlib.util, json, sys, torch
spec = importlib.util.spec_from_file_location("kernel", sys.argv[1])
kernel = importlib.util.module_from_spec(spec)
sys.modules["kernel"] = kernel
spec.loader.exec_module(kernel)
made, found = kernel._beside("_outcomes"), []
for variant in ("e4m3", "e5m2"):
    narrow, widen = kernel._kernels(made, variant)
    bits = torch.arange(kernel.BLOCK).to(torch.uint8).view(torch.int8)
    target = torch.full((kernel.BLOCK,), -7.0)
    widen[(1,)](bits, target, BLOCK=kernel.BLOCK)
    fp8 = kernel._beside("_fp8")
    found.append(sum(not fp8.same(x, fp8.decode(i, variant))
                     for i, x in enumerate(target.tolist()[:256])
                     if fp8.decode(i, variant) in (0.0, 1.0, -2.0, 448.0, 0.5)))
print(json.dumps(found))
"""


def test_the_triton_source_widens_on_the_cpu_too(interpret: Callable[..., str]) -> None:
    """Of the interpreter's own casts only plain numbers are asked: it is no reference."""
    pytest.importorskip("triton")
    pytest.importorskip("torch")
    assert json.loads(interpret(INTERPRETED, KERNELS / "triton_fp8_cast.py")) == [0, 0]


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_on_a_real_gpu_every_cast_is_right_or_the_type_is_refused(start: Start) -> None:
    pytest.importorskip("triton")
    answer = start("triton_fp8_cast")
    for variant in VARIANTS:
        one = answer.one(variant)
        assert one["ran"]
        assert one["outcome"] == "passed" or "not supported" in one["detail"]
        if one["outcome"] == "passed":
            assert one["numbers"]["wrong_casts"] == 0
