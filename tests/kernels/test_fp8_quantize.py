"""The kernel that quantizes rows to e4m3: interpreted, compiled ahead, on a GPU."""

# ruff: noqa: ANN401 - torch is untyped here, the kernels are loaded by path

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

KERNELS = Path(__file__).resolve().parent.parent.parent / "kernels"


def loaded(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"tested_{name}", KERNELS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def ours() -> Any:
    pytest.importorskip("torch")
    return loaded("_fp8_quantize")


@pytest.mark.parametrize("width", [16, 32, 80, 1024, 5120, 16384])
@pytest.mark.parametrize("rows", [1, 7, 600, 4096, 10**6])
def test_rows_are_dealt_out_whole(ours: Any, rows: int, width: int) -> None:
    each, block, warps = ours.cut(rows, width)
    assert width <= block < 2 * width
    for number in (each, block, warps):
        assert number & (number - 1) == 0, "Triton's blocks are powers of two"
    assert each == 1 or each * ours.PROGRAMS <= rows, "few rows are spread over programs"
    assert each * block <= max(4096, block)
    assert warps <= 16


INTERPRETED = """
import importlib.util, json, sys, torch, types
spec = importlib.util.spec_from_file_location("ours", sys.argv[1])
ours = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ours)
torch.manual_seed(8)
ours.PROGRAMS = 2  # rows are put together
ours.launcher()
# Triton 3.7.1 interprets the cast wrongly: next to powers of two it halves. So torch casts here.
ours._torch = types.SimpleNamespace(
    float8_e4m3fn=torch.float32, float32=torch.float32, empty=torch.empty, cuda=torch.cuda
)
answers = []
for rows, columns, width in ((9, 100, 112), (1, 16, 16), (20, 33, 48)):
    for dtype in (torch.float32, torch.float16):
        x = torch.randn(rows, 2 * columns).to(dtype)[:, columns:]  # strided rows
        if rows > 1:
            x[1] = 0
        q, scale = ours.quantize_rows(x, width)
        q = q.to(torch.float8_e4m3fn)
        most = x.abs().amax(1, keepdim=True).float()
        wanted = (x.float() * (448 / torch.where(most > 0, most, 448.0))).to(torch.float8_e4m3fn)
        answers.append({
            "shape": [list(q.shape), list(scale.shape)],
            "differing": int((q[:, :columns].float() != wanted.float()).sum()),
            "largest": float(q.float().abs().max()),
            "scale": float((scale - torch.where(most > 0, most, 448.0) / 448).abs().max()),
            "filled": bool(q[:, columns:].float().any()),
        })
x = torch.randn(4, 40)
x[1, 3], x[2, 9] = float("inf"), float("nan")
q, scale = ours.quantize_rows(x, 48)
hidden = (q.float().sum(1) * scale[:, 0]).isfinite().tolist()
x = torch.rand(3, 40) * torch.tensor([[1e-36], [1e-38], [1e-40]])
x[:, 4] = 0
q, scale = ours.quantize_rows(x, 48)
small = bool(q.isfinite().all()) and bool((q[:, :40] * scale - x).abs().max() <= 1e-37)
print(json.dumps([answers, hidden, small]))
"""


def test_the_source_quantizes_to_the_nearest_e4m3(interpret: Callable[..., str]) -> None:
    pytest.importorskip("triton")
    pytest.importorskip("torch")
    pytest.importorskip("numpy")
    said = interpret(INTERPRETED, KERNELS / "_fp8_quantize.py").splitlines()[-1]
    answers, finite, small = json.loads(said)
    assert len(answers) == 6
    for answer in answers:
        assert answer["differing"] == 0
        assert answer["largest"] == 448.0
        assert answer["scale"] <= 1e-6
        assert not answer["filled"]
    assert answers[0]["shape"] == [[9, 112], [9, 1]]
    assert finite == [True, False, False, True]
    assert small  # rows next to nothing are no NaN


def test_it_compiles_ahead_where_fp8_is(ours: Any) -> None:
    pytest.importorskip("triton")
    types = {
        "x": "*bf16", "q": "*fp8e4nv", "scale": "*fp32",
        "M": "i32", "K": "i32", "WIDTH": "i32", "stride_x": "i32",
    }  # fmt: skip
    for sm in ("8.9", "9.0", "10.0"):
        made = loaded("_triton").compile_ahead(
            ours.launcher().kernel, types, {"ROWS": 4, "BLOCK": 1024}, sm, num_warps=4
        )
        assert "e4m3x2" in made.asm["ptx"]


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize(
    "size", [(5, 77), (1, 16), (1100, 48), (3, 1280), (2, 16384), (4096, 5120)], ids=str
)
def test_on_a_gpu_it_is_what_torch_computes(ours: Any, size: tuple[int, int], dtype: str) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("no e4m3 conversion on this GPU")
    torch.manual_seed(4)
    x = torch.randn(*size, dtype=getattr(torch, dtype), device="cuda")
    width = size[1] + -size[1] % 16
    q, scale = ours.quantize_rows(x, width)
    most = x.float().abs().amax(1, keepdim=True)
    torch.testing.assert_close(scale, most / 448)
    wanted = (x.float() * (448 / most)).to(torch.float8_e4m3fn).float()
    got = q.float()[:, : size[1]]
    assert float((got != wanted).float().mean()) <= 1e-3  # 448 / most is rounded in its last bit
    torch.testing.assert_close(got, wanted, rtol=0.13, atol=0.01)  # and then by one step
    assert not q.float()[:, size[1] :].any()


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("size", [1e-36, 1e-38, 1e-40])
def test_on_a_gpu_rows_next_to_nothing_are_no_nan(ours: Any, size: float) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("no e4m3 conversion on this GPU")
    x = (torch.rand(8, 64, dtype=torch.float64) * size).float().cuda()
    x[:, 3] = 0.0
    q, scale = ours.quantize_rows(x, 64)
    assert q.float().isfinite().all()
    assert float((q.double() * scale.double() - x.double()).abs().max()) <= size
