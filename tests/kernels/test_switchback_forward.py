"""The SwitchBack kernel: compiled and interpreted without a GPU, run with one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

KERNELS = Path(__file__).resolve().parents[2] / "kernels"
Start = Callable[..., Any]

PATIENT = """
import triton
import triton.language as tl

@triton.jit
def _quantize_rowwise(x_ptr, output_ptr, output_maxs, n_elements,
                      BLOCK_SIZE: tl.constexpr, P2: tl.constexpr):
    at = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, P2)
    x = tl.load(x_ptr + at).to(tl.float32)
    tl.store(output_ptr + at, {function}(127.0 * x).to(tl.int8))
    tl.store(output_maxs + tl.program_id(0), tl.max(x, axis=0))
"""


@pytest.mark.parametrize("sm", ["8.0", "9.0"])
def test_ours_compiles_to_int8_tensor_core_instructions(start: Start, sm: str) -> None:
    pytest.importorskip("triton")
    one = start("switchback_forward", mode="compile", sms=[sm]).one("qdoctor")
    assert (one["outcome"], one["ran"]) == ("passed", False)
    assert one["device"] == "sm_" + sm.replace(".", "")
    assert one["path_taken"].endswith("s32.s8.s8")


def test_ours_does_not_pass_for_an_sm_without_int8_matrix_units(start: Start) -> None:
    pytest.importorskip("triton")
    one = start("switchback_forward", mode="compile", sms=["7.0"]).one("qdoctor")
    assert one["outcome"] in ("failed", "wrong")
    assert one["device"] == "sm_70"
    assert "error:" in one["detail"] or one["code"] == "silent-slow-path"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A bitsandbytes that would not import as a whole, with one Triton kernel."""
    folder = tmp_path / "site" / "bitsandbytes"
    (folder / "triton").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('its top level must not run')\n")
    (folder / "triton" / "__init__.py").touch()
    return folder


@pytest.mark.parametrize(
    ("function", "outcome", "words"),
    [
        ("tl.libdevice.llrint", "failed", "module 'triton.language' has no attribute 'libdevice'"),
        ("tl.extra.cuda.libdevice.llrint", "passed", "its quantize_rowwise kernel: compiled"),
    ],
)
def test_the_installed_bitsandbytes_own_kernel_is_compiled(
    start: Start, package: Path, function: str, outcome: str, words: str
) -> None:
    pytest.importorskip("triton")
    (package / "triton" / "quantize_rowwise.py").write_text(PATIENT.format(function=function))
    answer = start("switchback_forward", mode="compile", sms=["8.0"], paths=[package.parent])
    one = answer.one("bitsandbytes")
    assert (one["outcome"], one["device"], one["ran"]) == (outcome, "sm_80", False)
    assert words in one["detail"]


def test_the_first_import_that_fails_speaks_and_later_ones_are_noted(
    start: Start, package: Path
) -> None:
    pytest.importorskip("triton")
    (package / "nn").mkdir()
    (package / "nn" / "triton_based_modules.py").write_text(
        "from bitsandbytes.triton.first import a\n"
        "from bitsandbytes.triton.quantize_rowwise import b\n"
    )
    (package / "triton" / "first.py").write_text("raise RuntimeError('0 active drivers')\n")
    (package / "triton" / "quantize_rowwise.py").write_text("import triton.no_such_part\n")
    answer = start("switchback_forward", mode="compile", sms=["8.0"], paths=[package.parent])
    one = answer.one("bitsandbytes")
    assert (one["outcome"], one["device"]) == ("failed", None)
    assert one["detail"] == "RuntimeError: 0 active drivers"
    assert "No module named 'triton.no_such_part'" in one["evidence"][1]


def test_a_bitsandbytes_without_switchback_is_skipped(start: Start, package: Path) -> None:
    answer = start("switchback_forward", mode="compile", sms=["8.0"], paths=[package.parent])
    one = answer.one("bitsandbytes")
    assert (one["outcome"], one["code"]) == ("skipped", "not-shipped")


INTERPRETED = """
import importlib.util, json, sys, torch
def load(name):
    path = sys.argv[1] + "/" + name + ".py"
    spec = importlib.util.spec_from_file_location("qdoctor_kernel_" + name, path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
ours, triton = load("_switchback_product"), load("_switchback_triton")
quantize = load("_switchback_quantize")
torch.manual_seed(8)
answers = []
for rows, depth, columns in ((17, 100, 30), (1, 128, 64), (5, 33, 7)):
    x, weight, bias = torch.randn(rows, depth), torch.randn(columns, depth), torch.randn(columns)
    x[0, :] = 0 if rows > 1 else x[0, :]
    q, scale = quantize.quantize_rows(x)
    ideal = x.double() * 127 / x.double().abs().amax(1, keepdim=True).clamp(min=1e-30)
    quantized, scales = quantize.quantize_rows(weight)
    exact = q.double() @ quantized.double().t()
    y64 = x.double() @ weight.double().t() + bias.double()
    y = ours.forward(x, weight, bias)
    one = ours.rescaled_product((q, scale), (quantized, scales[:1]), None, torch.float32)
    by_one = exact * scale.double()[:, None] * scales[0].double()
    answers.append({
        "rounding": float((q.double() - ideal).abs().max()),
        "one_scale": float((one.double() - by_one).abs().max() / by_one.abs().max()),
        "sums": int((triton.int8_product(q, quantized)[0].double() != exact).sum()),
        "zero": [int(q[0].abs().max()), float(scale[0])] if rows > 1 else [0, 0.0],
        "error": float((y.double() - y64).norm() / y64.norm()),
    })
print(json.dumps(answers))
"""


def test_the_triton_source_computes_switchback_on_the_cpu_too(
    interpret: Callable[..., str],
) -> None:
    """Triton's interpreter runs the very source line by line: no GPU, same arithmetic."""
    pytest.importorskip("triton")
    pytest.importorskip("torch")
    pytest.importorskip("numpy")
    for answer in json.loads(interpret(INTERPRETED, KERNELS)):
        assert answer["rounding"] <= 0.5 + 1e-4
        assert answer["sums"] == 0
        assert answer["one_scale"] < 1e-6
        assert answer["zero"] == [0, 0.0]
        assert answer["error"] < 0.015


def forged(folder: Path, old: str, new: str) -> Path:
    """Copy the kernels with one line of our Triton sources changed."""
    shutil.copytree(KERNELS, folder)
    sources = [path for path in folder.glob("_switchback_*.py") if old in path.read_text()]
    assert len(sources) == 1
    text = sources[0].read_text()
    assert text.count(old) == 1
    sources[0].write_text(text.replace(old, new))
    return folder / "switchback_forward.py"


def test_a_product_in_floating_point_is_a_silent_slow_path(start: Start, tmp_path: Path) -> None:
    pytest.importorskip("triton")
    kernel = forged(
        tmp_path / "forged",
        "tl.dot(tile_a, tile_b)",
        "tl.dot(tile_a.to(tl.float16), tile_b.to(tl.float16)).to(tl.int32)",
    )
    one = start(kernel, mode="compile", sms=["8.0"]).one("qdoctor")
    assert (one["outcome"], one["code"]) == ("wrong", "silent-slow-path")


HIDDEN = {"CUDA_VISIBLE_DEVICES": ""}


def test_without_a_gpu_ours_runs_on_the_cpu_and_says_by_which_product(
    start: Start, load: Callable[[str], Any]
) -> None:
    pytest.importorskip("torch")
    answer = start("switchback_forward", env=HIDDEN, device=None)
    one = answer.one("qdoctor")
    assert (one["outcome"], one["device"], one["ran"]) == ("passed", "cpu", True)
    numbers = one["numbers"]
    assert 0 < numbers["max_rel_error"] <= numbers["tolerance"]
    assert 0 < numbers["timed_rel_error"] <= numbers["tolerance"]
    assert numbers["milliseconds"] > 0
    assert [numbers[name] for name in ("rows", "depth", "columns")] == [64, 1024, 512]
    product, _, rest = one["path_taken"].partition(" on ")
    assert product in load("_switchback_plain").PRODUCTS
    assert rest == "cpu, torch.bfloat16"
    assert "sums past 2**24 are exact" in one["evidence"]
    assert (answer.one("bitsandbytes")["outcome"], answer.one("bitsandbytes")["device"]) == (
        "skipped",
        "cpu",
    )


def test_bitsandbytes_own_is_not_run_on_a_cpu(start: Start, package: Path) -> None:
    pytest.importorskip("torch")
    (package / "triton" / "quantize_rowwise.py").write_text("")
    answer = start("switchback_forward", env=HIDDEN, device=None, paths=[package.parent])
    one = answer.one("bitsandbytes")
    assert (one["outcome"], one["code"]) == ("skipped", "no-gpu")
    assert "for GPUs" in one["detail"]


def on_cpu(load: Callable[[str], Any]) -> dict[str, Any]:
    found: list[dict[str, Any]] = list(load("switchback_forward").run({"device": None}))
    (ours,) = (one for one in found if one["variant"] == "qdoctor")
    return ours


@pytest.mark.parametrize(
    ("what", "outcome", "code", "words"),
    [
        ("rescale", "wrong", "wrong-value", "against float64, at most 0.015 allowed"),
        ("products", "failed", "failed", "no int8 product is exact here"),
        ("compiler", "skipped", "not-shipped", "torch.compiler.assume_constant_result"),
    ],
)
def test_what_is_wrong_on_a_cpu_is_told(  # noqa: PLR0913, PLR0917 - what is expected, and fixtures
    monkeypatch: pytest.MonkeyPatch,
    load: Callable[[str], Any],
    what: str,
    outcome: str,
    code: str,
    words: str,
) -> None:
    torch: Any = pytest.importorskip("torch")
    plain = load("_switchback_plain")
    if what == "rescale":
        right = plain.rescaled
        monkeypatch.setattr(plain, "rescaled", lambda *operands: right(*operands) * 1.02)
    elif what == "products":
        inexact = {"torch._int_mm": lambda a, b: (a.float() @ b.float().t()).half()}
        monkeypatch.setattr(plain, "PRODUCTS", inexact)
    else:
        monkeypatch.delattr(torch.compiler, "assume_constant_result")
    one = on_cpu(load)
    assert (one["outcome"], one["code"], one["device"]) == (outcome, code, "cpu")
    assert words in one["detail"]


def test_where_torchs_int8_product_knows_no_cpu_the_path_says_so(
    monkeypatch: pytest.MonkeyPatch, load: Callable[[str], Any]
) -> None:
    torch: Any = pytest.importorskip("torch")

    def as_2_3_says(*_: object) -> None:
        text = "Could not run 'aten::_int_mm' with arguments from the 'CPU' backend."
        raise NotImplementedError(text)

    monkeypatch.setattr(torch, "_int_mm", as_2_3_says)
    one = on_cpu(load)
    assert one["outcome"] == "passed"
    assert one["path_taken"] == "float32 on cpu, torch.bfloat16"
    assert any("torch._int_mm does not serve: Could not run" in note for note in one["evidence"])


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_on_a_real_gpu_ours_is_exact_enough_by_int8_instructions(start: Start) -> None:
    pytest.importorskip("triton")
    answer = start("switchback_forward")
    one = answer.one("qdoctor")
    assert one["outcome"] == "passed"
    assert one["numbers"]["max_rel_error"] <= one["numbers"]["tolerance"]
    assert "s8" in one["path_taken"]
    assert answer.one("bitsandbytes")["variant"] == "bitsandbytes"


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("absmax, 1e-36)  # a row", "absmax * 1.1, 1e-36)  # a row", "wrong-value"),
        (
            "total += tl.dot(tile_a, tile_b)",
            "total += tl.dot(tile_a, tile_b) + 1",
            "inexact-product",
        ),
    ],
)
def test_on_a_real_gpu_forged_arithmetic_is_wrong(
    start: Start, tmp_path: Path, old: str, new: str, code: str
) -> None:
    pytest.importorskip("triton")
    one = start(forged(tmp_path / "forged", old, new)).one("qdoctor")
    assert (one["outcome"], one["code"]) == ("wrong", code)
