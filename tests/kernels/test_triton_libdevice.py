"""The libdevice kernel: compiled for real without a GPU, run for real with one."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

Start = Callable[..., Any]
Load = Callable[[str], Any]

SMS = ["7.0", "8.0", "9.0", "12.0"]


def test_compiles_for_every_sm_asked_and_says_that_it_did_not_run(start: Start) -> None:
    pytest.importorskip("triton")
    answer = start("triton_libdevice", mode="compile", sms=SMS)
    assert [one["device"] for one in answer.outcomes or []] == ["sm_70", "sm_80", "sm_90", "sm_120"]
    for one in answer.outcomes or []:
        assert (one["outcome"], one["ran"], one["variant"]) == ("passed", False, "llrint")
        assert one["detail"] == "compiled, not run"
        assert one["path_taken"].startswith("triton.language.")
        assert one["path_taken"].endswith("libdevice.llrint")
        assert one["numbers"]["cubin_bytes"] > 1000


def test_an_sm_that_no_compiler_knows_does_not_pass(start: Start) -> None:
    pytest.importorskip("triton")
    answer = start("triton_libdevice", mode="compile", sms=["8.0", "99.0"])
    reached = answer.outcomes or answer.partial or []
    assert reached[0]["outcome"] == "passed"
    assert all(one["outcome"] == "failed" for one in reached[1:])


def test_a_triton_without_any_known_path_fails_and_names_all_it_tried(
    start: Start, tmp_path: Path
) -> None:
    language = tmp_path / "site" / "triton" / "language"
    language.mkdir(parents=True)
    (language.parent / "__init__.py").write_text("from . import language\n")
    (language / "__init__.py").write_text("class math: pass\n")
    one = start("triton_libdevice", mode="compile", paths=[tmp_path / "site"]).one()
    assert (one["outcome"], one["code"]) == ("failed", "failed")
    assert "module 'triton.language' has no attribute 'libdevice'" in one["detail"]
    assert "'math' has no attribute 'llrint'" in one["detail"]


@pytest.mark.parametrize("path", ["libdevice", "math", "extra.cuda.libdevice", "extra.libdevice"])
def test_each_historical_path_is_found(
    load: Load, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    api = load("_triton")
    place: Any = type("language", (), {})
    whole = place
    for part in path.split("."):
        setattr(place, part, type(part, (), {}))
        place = getattr(place, part)
    place.llrint = "the function"
    monkeypatch.setitem(sys.modules, "triton.language", whole)
    assert api.find_libdevice("llrint") == (f"{path}.llrint", "the function")


def test_the_reference_rounds_half_to_even_exactly(load: Load) -> None:
    kernel = load("triton_libdevice")
    values = kernel.VALUES
    for value, rounded in zip(values, kernel.reference(values), strict=True):
        exact = Fraction(*float.as_integer_ratio(_float32(value)))
        assert abs(exact - rounded) <= Fraction(1, 2)
        if abs(exact - rounded) == Fraction(1, 2):
            assert rounded % 2 == 0


def _float32(value: float) -> float:
    single: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return single


@pytest.mark.parametrize(
    ("ptx", "instruction"),
    [
        ("mma.sync.aligned.m16n8k32.row.col.satfinite.s32.s8.s8.s32 {", True),
        ("wgmma.mma_async.sync.aligned.m64n128k32.s32.s8.s8 {", True),
        ("tcgen05.mma.cta_group::1.kind::i8 [%r1],", True),
        ("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {", False),
        ("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {", False),
        ("dp4a.s32.s32 %r1, %r2, %r3, %r4;", False),
    ],
)
def test_int8_tensor_core_instructions_are_told_from_others(
    load: Load, ptx: str, *, instruction: bool
) -> None:
    assert bool(load("_triton").int8_matrix_instruction(f"\t{ptx}")) is instruction


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_on_a_real_gpu_every_value_is_exact(start: Start) -> None:
    pytest.importorskip("triton")
    one = start("triton_libdevice").one("llrint")
    assert (one["outcome"], one["ran"], one["device"]) == ("passed", True, "cuda:0")
    assert one["numbers"]["max_abs_error"] == 0


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_on_a_real_gpu_a_broken_c_compiler_is_a_failure(start: Start) -> None:
    pytest.importorskip("triton")
    one = start("triton_libdevice", env={"CC": "/bin/false"}).one("llrint")
    assert (one["outcome"], one["code"]) == ("failed", "failed")
    assert "/bin/false" in one["detail"]
