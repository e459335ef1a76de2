"""Triton's int8 product: compiled for real and interpreted without a GPU, run with one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

KERNELS = Path(__file__).resolve().parents[2] / "kernels"
Start = Callable[..., Any]
Load = Callable[[str], Any]
VARIANTS = ("k-major", "n-major")
MMA = "mma.sync.aligned.m16n8k32.row.col.satfinite.s32.s8.s8"


@pytest.mark.parametrize(("sm", "instruction"), [("8.0", "mma.sync"), ("9.0", "wgmma.mma_async")])
def test_both_orders_compile_to_an_integer_instruction(
    start: Start, sm: str, instruction: str
) -> None:
    pytest.importorskip("triton")
    answer = start("triton_int8_dot", mode="compile", sms=[sm])
    for variant in VARIANTS:
        one = answer.one(variant, "sm_" + sm.replace(".", ""))
        assert (one["outcome"], one["ran"]) == ("passed", False)
        assert one["path_taken"].startswith(f"Triton {instruction}")
        assert one["path_taken"].endswith(".s32.s8.s8")


def test_an_sm_without_int8_matrix_units_does_not_pass(start: Start) -> None:
    pytest.importorskip("triton")
    answer = start("triton_int8_dot", mode="compile", sms=["7.0"])
    for one in answer.outcomes or answer.partial or []:
        assert one["outcome"] in {"failed", "wrong"}
        assert one["device"] == "sm_70"
        assert "error:" in one["detail"] or one["code"] == "silent-slow-path"


@pytest.mark.parametrize(
    ("dot", "by"),
    [
        ("tl.dot(tile_a.to(tl.float16), tile_b.to(tl.float16)).to(tl.int32)", "f16"),
        ("tl.dot(tile_a.to(tl.float32), tile_b.to(tl.float32)).to(tl.int32)", "f32"),
        ("tl.sum(tile_a[:, :, None].to(tl.int32) * tile_b[None, :, :], axis=1)", ".lo."),
    ],
)
def test_a_product_by_other_means_is_a_silent_slow_path_and_named(
    start: Start, tmp_path: Path, dot: str, by: str
) -> None:
    pytest.importorskip("triton")
    one = start(forged(tmp_path, "tl.dot(tile_a, tile_b)", dot), mode="compile", sms=["8.0"])
    seen = one.one("k-major")
    assert (seen["outcome"], seen["code"]) == ("wrong", "silent-slow-path")
    assert by in seen["path_taken"]


def forged(folder: Path, old: str, new: str) -> Path:
    """Copy the kernel and its parts with one line of its Triton source changed."""
    for part in KERNELS.glob("_*.py"):
        (folder / part.name).write_text(part.read_text())
    text = (KERNELS / "triton_int8_dot.py").read_text()
    assert text.count(old) == 1
    small = text.replace("BLOCK = 64", "BLOCK = 16" if "axis=1" in new else "BLOCK = 64")
    (folder / "triton_int8_dot.py").write_text(small.replace(old, new))
    return folder / "triton_int8_dot.py"


INTERPRETED = """
import importlib.util, json, sys, torch
spec = importlib.util.spec_from_file_location("kernel", sys.argv[1])
kernel = importlib.util.module_from_spec(spec)
sys.modules["kernel"] = kernel
spec.loader.exec_module(kernel)
dot, off = kernel._kernel(), []
for variant in kernel.PROBE["variants"]:
    for rows, depth, columns in kernel.SHAPES[1:-1] + ((17, 300, 40),):
        a, b = kernel._operands(torch, (rows, depth, columns))
        right = b.t().contiguous().t() if variant == "k-major" else b
        c = torch.full((rows, columns), -7, dtype=torch.int32)
        size = kernel.BLOCK
        dot[(-(-rows // size), -(-columns // size))](
            a, right, c, rows, columns, depth, right.stride(0), right.stride(1),
            BLOCK=size, K_MAJOR=variant == "k-major")
        off.append(int((c.long() != kernel.reference(a, b)).sum()))
print(json.dumps(off))
"""


def test_the_triton_source_is_exact_on_awkward_shapes_on_the_cpu_too(
    interpret: Callable[..., str],
) -> None:
    pytest.importorskip("triton")
    pytest.importorskip("torch")
    off = json.loads(interpret(INTERPRETED, KERNELS / "triton_int8_dot.py"))
    assert off == [0] * 14


def test_the_operands_reach_every_end_of_int8_and_sums_that_float32_cannot_hold(load: Load) -> None:
    torch = pytest.importorskip("torch")
    kernel = load("triton_int8_dot")
    a, b = kernel._operands(torch, kernel.SHAPES[-1])
    assert (int(a.min()), int(a.max()), int(b.min()), int(b.max())) == (-128, 127, -128, 127)
    exact = kernel.reference(a, b)
    assert int(exact.abs().max()) > 2**24
    assert (a.float() @ b.float()).long().ne(exact).any()
    assert torch.equal(exact, (a.double() @ b.double()).long())


def product(load: Load, **changed: Any) -> Any:  # noqa: ANN401 - of any field
    plain = {"shape": (17, 77, 33), "differing": 0, "worst": 0, "ptx": MMA, "seconds": 0.5}
    return load("triton_int8_dot").Product(**(plain | changed))


def judged(load: Load, *products: object) -> dict[str, Any]:
    outcome: dict[str, Any] = load("triton_int8_dot").judged(load("_outcomes"), list(products))
    return outcome


def test_exact_sums_by_the_instruction_pass(load: Load) -> None:
    one = judged(load, product(load), product(load, shape=(1, 1, 1)))
    assert (one["outcome"], one["path_taken"]) == ("passed", f"Triton {MMA}")
    assert one["numbers"]["sums"] == 17 * 33 + 1
    assert one["numbers"]["max_abs_error"] == one["numbers"]["tolerance"] == 0


def test_one_sum_that_is_off_is_wrong_and_its_shape_named(load: Load) -> None:
    one = judged(load, product(load), product(load, shape=(1, 100, 3), differing=2, worst=9))
    assert (one["outcome"], one["code"]) == ("wrong", "inexact-product")
    assert one["detail"] == "2 of 3 int32 sums of 1 x 100 x 3 differ from the exact product"
    assert one["numbers"]["max_abs_error"] == 9


def test_one_shape_that_falls_back_is_a_silent_slow_path(load: Load) -> None:
    slow = product(load, shape=(1, 64, 40), ptx="mad.lo.s32 %r1\ndp4a.s32.s32 %r1, %r2")
    one = judged(load, product(load), slow)
    assert (one["outcome"], one["code"]) == ("wrong", "silent-slow-path")
    assert one["path_taken"] == "Triton dp4a.s32.s32"
    assert "1 x 64 x 40" in one["detail"]


@pytest.mark.parametrize(
    ("ptx", "instruction"),
    [
        ("\tmad.lo.s32 %r9, %r1;\n\tfma.rn.f32 %f1, %f2;", "mad.lo.s32"),
        ("\tmad.lo.s32 %r9;\n\tmma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {",
         "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32"),
        ("\tadd.s32 %r1, %r2, %r3;", ""),
    ],
)  # fmt: skip
def test_what_took_the_instructions_place_is_named(load: Load, ptx: str, instruction: str) -> None:
    assert load("_triton").product_instruction(ptx) == instruction


def test_without_a_gpu_it_is_skipped(start: Start) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("triton")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    for variant in VARIANTS:
        one = start("triton_int8_dot").one(variant)
        assert (one["outcome"], one["code"], one["device"]) == ("skipped", "no-gpu", "cuda:0")


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_on_a_real_gpu_every_sum_is_exact_by_an_integer_instruction(start: Start) -> None:
    pytest.importorskip("triton")
    answer = start("triton_int8_dot")
    for variant in VARIANTS:
        one = answer.one(variant)
        assert (one["outcome"], one["ran"], one["numbers"]["differing_sums"]) == ("passed", True, 0)
        assert "s8" in one["path_taken"]


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_on_a_real_gpu_a_sum_that_is_off_by_one_is_seen(start: Start, tmp_path: Path) -> None:
    pytest.importorskip("triton")
    one = start(forged(tmp_path, "tl.dot(tile_a, tile_b)", "tl.dot(tile_a, tile_b) + 1"))
    assert one.one("k-major")["code"] == "inexact-product"
