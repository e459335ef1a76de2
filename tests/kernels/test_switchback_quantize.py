"""The quantizing kernels against plain arithmetic: interpreted, compiled ahead, on a GPU."""

# ruff: noqa: ANN401 - torch is untyped here, the kernels are loaded by path

from __future__ import annotations

import importlib.util
import json
import types
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
    return loaded("_switchback_quantize")


@pytest.mark.parametrize("columns", [1, 3, 16, 77, 1024, 1280, 4096, 5120, 16384])
@pytest.mark.parametrize("rows", [1, 7, 600, 4096, 16384, 10**6])
def test_rows_are_dealt_out_whole(ours: Any, rows: int, columns: int) -> None:
    plan = ours.cut(rows, columns)
    held = plan.wide + plan.rest
    assert columns <= held
    assert held <= 32 or held < 1.5 * columns, "little is masked out"
    for number in (plan.rows, plan.wide, plan.rest, plan.warps):
        assert number & (number - 1) == 0, "Triton's blocks are powers of two"
    assert plan.rows == 1 or plan.rows * ours.PARTS <= rows, "few rows are spread over programs"
    assert plan.rows * held <= max(4096, held), "a thread holds about 32 numbers"
    assert plan.warps <= 16


@pytest.mark.parametrize(
    ("row", "triton_can", "wanted"),
    [({"overlap": True}, True, True), ({"overlap": True}, False, False),
     ({"overlap": False}, True, False), (None, True, False)],
)  # fmt: skip
def test_the_next_kernel_starts_early_where_data_say_so(
    ours: Any, monkeypatch: pytest.MonkeyPatch, row: Any, *, triton_can: bool, wanted: bool
) -> None:
    beside = types.SimpleNamespace(
        table=lambda: {"9.0": row} if row else {}, overlaps=lambda: triton_can
    )
    properties = types.SimpleNamespace(major=9, minor=0)
    cuda = types.SimpleNamespace(get_device_properties=lambda _index: properties)
    monkeypatch.setattr(ours, "_overlapping", {})
    monkeypatch.setattr(ours, "_torch", types.SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(ours, "_beside", lambda _name: beside)
    assert ours.overlaps(0) is wanted
    assert ours.overlaps(-1) is False


@pytest.mark.parametrize("columns", [40, 16392], ids=["held", "in two passes"])
def test_what_was_quantized_once_is_quantized_by_addresses(
    ours: Any, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    torch = pytest.importorskip("torch")
    seen: list[Any] = []
    known: dict[Any, Any] = {}

    class Launcher:
        def __call__(self, key: Any, arguments: Any, _plan: Any) -> None:
            seen.append(arguments)
            known[key] = (lambda *given, stream: seen.append((given, stream)), ("constants",))

        def ready(self, key: Any) -> Any:
            return known.get(key)

    launcher = Launcher()
    both = {"quantize_rows": launcher, "quantize_wide_rows": launcher}
    monkeypatch.setattr(ours, "launchers", lambda: both)
    monkeypatch.setattr(ours, "_torch", torch)
    room = torch.zeros(6, columns + 8)
    x = room[:, :columns]
    assert ours.by_address(x) is None
    q, scale = ours.quantize_rows(x, 64.0)
    ours.by_address(x)(x.data_ptr(), 0x2000, 0x3000, 64.0, 9)
    tensors, (addresses, stream) = seen
    as_addresses = [
        one.data_ptr() if isinstance(one, torch.Tensor) else one for one in tensors
    ]  # fmt: skip
    assert as_addresses[1:3] == [q.data_ptr(), scale.data_ptr()]
    as_addresses[1:3] = [0x2000, 0x3000]
    assert (list(addresses), stream) == ([*as_addresses, "constants"], 9)
    ours.quantize_rows(x.t()[:, :4].t())  # copied first: its addresses are not the copy's
    assert ours.by_address(room.t()[: columns + 8, :6].t()) is None
    assert ours.by_address(torch.zeros(6 * columns + 1)[1:].view(6, columns)) is None


INTERPRETED = """
import importlib.util, json, sys, torch
spec = importlib.util.spec_from_file_location("ours", sys.argv[1])
ours = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ours)
torch.manual_seed(8)

def distance(q, scale, x):
    "In steps: how far from the nearest multiple."
    step = scale.double() if scale.numel() == 1 else scale.double()[:, None]
    return float(((q.double() * step - x.double()) / step.clamp(min=1e-30)).abs().max())

ours.LARGEST_BLOCK, ours.TWO_PASS_BLOCK, ours.PARTS = 128, 32, 4
ours.SUMMING = ((64, 3, 1, True), (128, 3, 1, False))  # few turns
answers = []
SINGLE, HALF = torch.float32, torch.float16
for rows, columns, dtype in ((9, 100, SINGLE), (1, 16, HALF), (3, 150, HALF), (20, 33, SINGLE)):
    x = torch.randn(rows, 2 * columns).to(dtype)[:, columns:]  # strided rows
    if rows > 1:
        x[1] = 0
    factor = torch.rand(columns) + 0.1
    q, scale = ours.quantize_rows(x)
    folded, finer = ours.quantize_rows(x, 1.0, factor)
    weight = torch.randn(14, columns)
    w_q, w_absmax = ours.quantize_rows(weight, 1.0)
    wide = w_q.t().contiguous()
    both, same, turned, sums = ours.gradient_operands(x, wide, factor, 1.0, dtype)
    two = ours.quantize_two(x, weight, 127.0, whole=False)
    one = ours.quantize_two(x, weight, 127.0, whole=True)
    whole, absmax = ours.quantize_whole(x)
    answers.append({
        "rows": distance(q, scale, x),
        "scale": float((scale - x.abs().amax(1).float() / 127).abs().max()),
        "folded": distance(folded, finer / 127, x.float() * factor),
        "same": torch.equal(both, folded) and torch.equal(same, finer),
        "turned": torch.equal(turned, w_q),
        "sums": float((sums.double() - x.double().sum(0)).abs().max() / rows),
        "two": all(map(torch.equal, two, (q, scale, w_q, w_absmax))),
        "one": all(map(torch.equal, one, (q, scale, *ours.quantize_whole(weight)))),
        "whole": distance(whole, absmax / 127, x),
        "absmax": float(absmax[0]) == float(x.abs().max()),
        "zeros": rows == 1 or (not q[1].any() and float(scale[1]) == 0.0),
        "transposed": torch.equal(ours.transposed(q), q.t().contiguous()),
        "back": torch.equal(
            ours.dequantized(q, scale, dtype, 2.0), (q * (2 * scale)[:, None]).to(dtype)
        ),
    })
x = torch.randn(4, 40)
x[1, 3], x[2, 9] = float("inf"), float("nan")
of_rows = ours.gradient_operands(x, q, None, 127.0, x.dtype)[1]
hidden = [ours.quantize_rows(x)[1], of_rows, ours.quantize_whole(x)[1]]
print(json.dumps([answers, [t.isfinite().tolist() for t in hidden]]))
"""


def test_the_source_quantizes_to_the_nearest_of_255_steps(interpret: Callable[..., str]) -> None:
    pytest.importorskip("triton")
    pytest.importorskip("torch")
    pytest.importorskip("numpy")
    said = interpret(INTERPRETED, KERNELS / "_switchback_quantize.py").splitlines()[-1]
    answers, finite = json.loads(said)
    assert len(answers) == 4
    for answer in answers:
        assert max(answer["rows"], answer["folded"], answer["whole"]) <= 0.5 + 1e-4
        assert answer["scale"] <= 1e-6
        assert answer["sums"] <= 1e-3
        true = ("same", "turned", "two", "one", "absmax", "zeros", "transposed", "back")
        assert [name for name in true if not answer[name]] == []
    assert finite == [[True, False, False, True], [True, False, False, True], [False]]


ROWS = {
    "x": "*fp16", "q": "*i8", "scale": "*fp32", "factor": "*fp32",
    "M": "i32", "K": "i32", "stride_x": "i32", "steps": "fp32",
}  # fmt: skip
TYPES = {
    "quantize_rows": ROWS,
    "quantize_two": {
        "x": "*fp16", "q": "*i8", "scale": "*fp32", "w": "*fp32", "w_q": "*i8",
        "w_absmax": "*fp32", "M": "i32", "N": "i32", "K": "i32", "stride_x": "i32",
        "stride_w": "i32", "steps": "fp32", "w_programs": "i32",
    },
    "quantize_wide_rows": {name: kind for name, kind in ROWS.items() if name != "M"},
    "quantize_and_sum": {**ROWS, "parts": "*fp32"},
    "largest_parts": {"x": "*fp16", "parts": "*fp32", "n": "i32"},
    "quantize_flat": {
        "x": "*fp16", "q": "*i8", "parts": "*fp32", "absmax": "*fp32", "n": "i32", "count": "i32",
    },
    "transpose_and_add": {
        "x": "*i8", "y": "*i8", "parts": "*fp32", "sums": "*fp16", "N": "i32", "K": "i32",
        "count": "i32", "columns": "i32",
    },
    "dequantize_rows": {
        "q": "*i8", "scale": "*fp32", "x": "*fp16", "M": "i32", "K": "i32", "times": "fp32",
    },
}  # fmt: skip
CONSTANTS = {
    "EARLY": False,
    "AHEAD": True,
    "FACTOR": True,
    "WHOLE": False,
    "ROWS": 4,
    "A": 1024,
    "B": 256,
    "BLOCK": 1024,
    "PARTS": 512,
    "TILE": 64,
}


@pytest.mark.parametrize("name", TYPES)
def test_every_kernel_compiles_ahead(ours: Any, name: str) -> None:
    pytest.importorskip("triton")
    kernel = ours.jitted()[name]
    assert set(ours.jitted()) == set(TYPES)
    constants = {one: CONSTANTS[one] for one in kernel.arg_names if one in CONSTANTS}
    for sm in ("7.5", "8.0", "9.0"):
        kinds = {one: TYPES[name][one] for one in kernel.arg_names if one not in constants}
        made = loaded("_triton").compile_ahead(kernel, kinds, constants, sm, num_warps=4)
        assert ".target sm_" in made.asm["ptx"]
    if "EARLY" in constants:
        early = dict(constants, EARLY=True)
        made = loaded("_triton").compile_ahead(kernel, kinds, early, "9.0", num_warps=4)
        assert made.asm["ptx"].count("griddepcontrol.launch_dependents") == 1


# On a GPU

SIZES = ((5, 77), (1, 16), (1100, 48), (3, 1280), (2, 5000), (2, 20000), (600, 1024), (4096, 5120))


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_on_a_gpu_it_is_what_torch_computes(ours: Any, size: tuple[int, int], dtype: str) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(4)
    x = torch.randn(*size, dtype=getattr(torch, dtype), device="cuda")
    factor = torch.rand(size[1], device="cuda") + 0.1
    for given in (None, factor):
        value = x.float() if given is None else x.float() * given
        wanted = value.abs().amax(1)
        q, scale = ours.quantize_rows(x, 1.0, given)
        torch.testing.assert_close(scale, wanted)
        off = (q.float() * scale[:, None] / 127 - value).abs() / (scale[:, None] / 127)
        assert float(off.max()) <= 0.5 + 1e-3
        weight = ours.quantize_rows(torch.randn(130, size[1], device="cuda"))[0].t().contiguous()
        again, same, turned, sums = ours.gradient_operands(x, weight, given, 1.0, torch.float32)
        assert torch.equal(again, q)
        assert torch.equal(same, scale)
        assert torch.equal(turned, weight.t())
        torch.testing.assert_close(sums, x.double().sum(0).float(), rtol=1e-3, atol=1e-3)
    for one in (False, True):
        both = ours.quantize_two(x, factor[None].expand(7, -1), 127.0, whole=one)
        assert torch.equal(both[0], ours.quantize_rows(x)[0])
        theirs = ours.quantize_whole if one else lambda w: ours.quantize_rows(w, 1.0)
        wanted_q, wanted_absmax = theirs(factor[None].expand(7, -1).contiguous())
        assert torch.equal(both[2], wanted_q)
        assert torch.equal(both[3], wanted_absmax)
    whole, absmax = ours.quantize_whole(x)
    assert float(absmax[0]) == float(x.float().abs().max())
    assert float((whole.float() * absmax / 127 - x.float()).abs().max() / absmax[0]) <= 0.5 / 126
    assert torch.equal(ours.transposed(q), q.t())
    torch.testing.assert_close(
        ours.dequantized(q, scale, x.dtype), (q * scale[:, None]).to(x.dtype)
    )


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("columns", [4096, 32768])
def test_on_a_gpu_numbers_past_2_31_are_reached(ours: Any, columns: int) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.mem_get_info()[0] < 14 * 2**30:
        pytest.skip("needs 14 GiB of free GPU memory")
    rows = 2**31 // columns + 3
    x = torch.zeros(rows, columns, dtype=torch.bfloat16, device="cuda")
    x[-1] = torch.linspace(-1, 1, columns)
    q, scale = ours.quantize_rows(x)
    assert int(q[-1].abs().max()) == 127
    assert float(scale[-1]) == pytest.approx(1 / 127)
    assert not q[:-1].any()
    sums = ours.gradient_operands(x, q[:3].t().contiguous(), None, 127.0, torch.float32)[3]
    torch.testing.assert_close(sums, x[-1].float())
    whole, absmax = ours.quantize_whole(x)
    assert float(absmax[0]) == 1.0
    assert torch.equal(whole[-1], q[-1])
    assert torch.equal(ours.transposed(q)[:, -1], q[-1])
    assert torch.equal(
        ours.dequantized(q, scale, torch.bfloat16)[-1], (q[-1] * scale[-1]).bfloat16()
    )
