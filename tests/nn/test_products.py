"""Each way to multiply, how one is chosen, and what is said where none serves."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")

from qdoctor import nn  # noqa: E402 - torch first
from qdoctor.nn import products  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SHAPES = ((1, 1, 1), (3, 17, 5), (17, 16, 8), (64, 300, 130), (33, 4096, 40))


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_proved", {})


def ways_here(device: Any) -> list[products.Way]:
    return [way for way in products.WAYS if not products._why_not(way, device)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_way_is_exact_and_rescales(device: Any, shape: tuple[int, int, int]) -> None:
    rows, depth, columns = shape
    a = torch.randint(-127, 128, (rows, depth), dtype=torch.int8, device=device)
    b = torch.randint(90, 128, (columns, depth), dtype=torch.int8, device=device)
    left, right = torch.rand(rows, device=device), torch.rand(columns, device=device)
    bias = torch.randn(columns, device=device)
    sums = a.cpu().double() @ b.cpu().double().t()
    wanted = sums * left.cpu().double()[:, None] * right.cpu().double() + bias.cpu().double()
    ways = ways_here(device)
    assert ways
    for way in ways:
        got = way.multiply((a, left), (b, right), bias, torch.float32)
        torch.testing.assert_close(got.cpu().double(), wanted, rtol=1e-6, atol=1e-3)


def test_the_ways_of_the_cpu() -> None:
    names = [way.name for way in ways_here(torch.device("cpu"))]
    assert names[-1] == "float64"
    assert "triton" not in names


def test_quantizing_rounds_to_the_nearest_of_255_steps(device: Any) -> None:
    x = torch.randn(9, 300, device=device)
    x[4] = 0
    for way in ways_here(device):
        q, scale = way.quantize(x)
        assert (q.dtype, scale.dtype, q.shape) == (torch.int8, torch.float32, x.shape)
        assert q.is_contiguous()
        torch.testing.assert_close(scale, x.abs().amax(1) / 127)
        assert ((q * scale[:, None] - x).abs() <= 0.5001 * scale[:, None]).all()
        assert int(q.abs().max()) == 127
        assert not q[4].any()


def test_a_kernel_that_threads_ask_for_at_once_is_one_and_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(0.05)\nmade = object()\n")
    monkeypatch.setattr(products, "kernels_folder", lambda: tmp_path)
    barrier = threading.Barrier(8)

    def ask(_: int) -> Any:
        barrier.wait()
        return products.kernel("slow").made

    try:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(ask, range(8)))
    finally:
        slow = sys.modules.pop("qdoctor_kernel_slow")
    assert found == [slow.made] * 8


@pytest.mark.usefixtures("forgetful")
@pytest.mark.parametrize("shape", [(40, 96, 50), (1, 77, 33), (300, 256, 17)], ids=str)
def test_the_layer_is_the_same_by_every_way(
    monkeypatch: pytest.MonkeyPatch, device: Any, shape: tuple[int, int, int]
) -> None:
    rows, depth, columns = shape
    layer = nn.SwitchBackLinearVectorwise(depth, columns, device=device)
    inputs = torch.randn(rows, depth, device=device)
    grad = torch.randn(rows, columns, device=device)
    results = []
    for way in ways_here(device):
        monkeypatch.setattr(products, "WAYS", (way,))
        products._proved.clear()
        x = inputs.clone().requires_grad_()
        y = layer(x)
        y.backward(grad)
        results.append((y.detach(), x.grad))
    assert len(results) >= (2 if device.type == "cpu" or torch.version.cuda else 1)
    for y, gradient in results[1:]:
        # The ways may round a value that lies halfway to either side.
        torch.testing.assert_close(y, results[0][0], rtol=0, atol=0.01 * float(y.std()))
        torch.testing.assert_close(gradient, results[0][1], rtol=0, atol=0.01 * float(grad.std()))


def dishonest(name: str, error: Exception) -> products.Way:
    def refuse(_device: Any) -> None:
        raise error

    return products.Way(name, refuse, products.quantize_plain, products._multiply_float64)


@pytest.mark.usefixtures("forgetful")
def test_a_product_that_is_not_exact_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def float32_sums(a: Any, b: Any) -> Any:
        return a.float() @ b.float().t() + 1.0

    monkeypatch.setattr(products, "_int_mm", float32_sums)
    monkeypatch.setattr(products._plain, "in_float32", float32_sums)
    assert products.way_on(torch.device("cpu")).name == "float64"


@pytest.mark.usefixtures("forgetful")
@pytest.mark.parametrize("fast", ["torch._int_mm", "float32"])
def test_a_cpu_takes_the_faster_of_its_exact_products(
    monkeypatch: pytest.MonkeyPatch, fast: str
) -> None:
    cpu = torch.device("cpu")
    if fast not in [way.name for way in ways_here(cpu)]:
        pytest.skip("this torch has no _int_mm on the CPU")

    def delayed(way: products.Way) -> products.Way:
        def multiply(*operands: Any) -> Any:
            time.sleep(1.0)
            return way.multiply(*operands)

        return dataclasses.replace(way, multiply=multiply)

    ways = tuple(way if way.name == fast else delayed(way) for way in products.WAYS)
    monkeypatch.setattr(products, "WAYS", ways)
    assert products.way_on(cpu).name == fast


@pytest.mark.usefixtures("forgetful")
def test_a_torch_whose_int8_product_knows_no_cpu_multiplies_in_floats(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def as_2_3_says(*_: Any) -> Any:
        text = "Could not run 'aten::_int_mm' with arguments from the 'CPU' backend."
        raise NotImplementedError(text)

    monkeypatch.setattr(torch, "_int_mm", as_2_3_says)
    layer = nn.SwitchBackLinear(48, 24, vector_wise_quantization=True)
    x = torch.randn(5, 48)
    exact = torch.nn.functional.linear(x.double(), layer.weight.double(), layer.bias.double())
    assert (layer(x) - exact).norm() <= 0.03 * exact.norm()
    assert products.way_on(x.device).name.startswith("float")


@pytest.mark.usefixtures("forgetful")
def test_without_a_product_the_error_says_what_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    ways = (
        dishonest("one", ImportError("No module named 'triton'\nand more")),
        dishonest("two", products._NotHereError("no such unit")),
    )
    monkeypatch.setattr(products, "WAYS", ways)
    x = torch.randn(3, 16)
    assert not nn.has_int8_product("cpu")
    with pytest.raises(nn.NoInt8ProductError) as caught:
        nn.SwitchBackLinear(16, 8)(x)
    text = str(caught.value)
    assert "qdoctor.nn.SwitchBackLinear: no int8 matrix product works on cpu" in text
    assert "(one: ImportError: No module named 'triton'; two: no such unit)" in text
    assert 'fallback="half"' in text


@pytest.mark.usefixtures("forgetful")
def test_a_device_that_torch_cannot_use_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(*_: Any) -> Any:  # as a torch built for CPUs answers
        raise AssertionError("Torch not compiled with CUDA enabled")

    monkeypatch.setattr(products, "_demanding", without)
    monkeypatch.setattr(torch.cuda, "get_device_capability", without)
    assert not nn.has_int8_product("cuda:7")
    with pytest.raises(nn.NoInt8ProductError, match=r"works on cuda:7 \(.*not compiled with CUDA"):
        products.way_on(torch.device("cuda:7"))


@pytest.mark.usefixtures("forgetful")
@pytest.mark.parametrize("vector", [False, True])
def test_asked_to_it_works_without_a_product(
    monkeypatch: pytest.MonkeyPatch, *, vector: bool
) -> None:
    monkeypatch.setattr(products, "WAYS", products.WAYS[-1:])
    layer = nn.SwitchBackLinear(16, 8, vector_wise_quantization=vector, fallback="half").eval()
    ready = nn.SwitchBackLinear(16, 8, vector_wise_quantization=vector, fallback="half").eval()
    ready.load_state_dict(layer.state_dict())
    ready.prepare_for_eval()
    monkeypatch.setattr(products, "WAYS", (dishonest("one", ImportError("none")),))
    products._proved.clear()
    x = torch.randn(3, 5, 16, requires_grad=True)
    plain = torch.nn.functional.linear(x, layer.weight, layer.bias)
    assert torch.equal(layer(x), plain)
    assert layer(x.bfloat16()).dtype == torch.bfloat16
    layer(x).sum().backward()
    assert layer.weight.grad is not None
    torch.testing.assert_close(ready(x), plain, rtol=0.05, atol=0.05)
    assert not torch.equal(ready(x), plain)


@pytest.mark.usefixtures("forgetful")
def test_running_out_of_memory_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "WAYS", (dishonest("one", MemoryError()), products.WAYS[-1]))
    with pytest.raises(MemoryError):
        products.way_on(torch.device("cpu"))
    assert not products._proved


def test_native_words_are_kept_back_only_when_an_error_says_it(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with products._quiet():
        os.write(2, b"a warning\n")
    with contextlib.suppress(RuntimeError), products._quiet():
        os.write(2, b"the whole module\n")
        raise RuntimeError("said")
    os.write(2, b"later\n")
    assert capfd.readouterr().err == "a warning\nlater\n"


INTERPRETED = """
import torch
from qdoctor.nn import products
torch.manual_seed(5)
for rows, depth, columns in ((5, 77, 33), (1, 16, 8)):
    for dtype in (torch.float32, torch.float16):
        x, w = torch.randn(rows, depth, dtype=dtype), torch.randn(columns, depth, dtype=dtype)
        bias = torch.randn(columns, dtype=dtype)
        results = []
        for quantize, multiply in (
            (products.quantize_plain, products._multiply_float64),
            (products._quantize_triton, products._multiply_triton),
        ):
            a, b = quantize(x), quantize(w)
            results.append((a, multiply(a, b, bias, dtype)))
        (plain, one), (ours, two) = results
        assert torch.equal(plain[0], ours[0])
        torch.testing.assert_close(plain[1], ours[1])
        torch.testing.assert_close(one, two)
print("same")
"""


def test_triton_and_plain_torch_agree_in_the_interpreter(
    interpret: Callable[..., str], checkout: Path
) -> None:
    pytest.importorskip("triton")
    ours = f"import sys; sys.path.insert(0, {str(checkout)!r})\n"
    assert interpret(ours + INTERPRETED) == "same\n"
