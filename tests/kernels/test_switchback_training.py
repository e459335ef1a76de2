"""Steps of training: the second of a kind is launched by addresses, with the first's results."""

# ruff: noqa: ANN401 - modules loaded by path have no types

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

torch = pytest.importorskip("torch")

Load = Callable[[str], Any]
STEPS = 127.0 * 127.0


class OnGpu(torch.Tensor):  # type: ignore[misc, name-defined]
    """A tensor in this machine's memory that says it is on GPU 0."""

    def get_device(self) -> int:
        return 0


class Asks(NamedTuple):
    """What it asks torch for."""

    device: Any
    stream: Any
    empty: Any


def on_gpu(tensor: Any) -> Any:
    return tensor.as_subclass(OnGpu)


def there(address: int, dtype: Any, *shape: int) -> Any:
    """What lies at an address."""
    count = 1
    for one in shape:
        count *= one
    room = (ctypes.c_char * (count * dtype.itemsize)).from_address(address)
    return torch.frombuffer(room, dtype=dtype).view(shape)


def by_row(x: Any, steps: float) -> tuple[Any, Any]:
    x = x.as_subclass(torch.Tensor).float()
    most = x.abs().amax(1)
    return (x * (127.0 / most)[:, None]).round().to(torch.int8), most / steps


def plain_two(x: Any, weight: Any, steps: float, *, whole: bool) -> tuple[Any, ...]:
    q, scale = by_row(x, steps)
    if not whole:
        return q, scale, *by_row(weight, 1.0)
    most = weight.as_subclass(torch.Tensor).abs().max().float().view(1)
    return q, scale, (weight.as_subclass(torch.Tensor) * (127.0 / most)).round().char(), most


def plain_operands(grad: Any, q: Any, factor: Any, steps: float, sums: Any) -> tuple[Any, ...]:
    grad = grad.as_subclass(torch.Tensor).float()
    added = None if sums is None else grad.sum(0).to(sums)
    left, scale = by_row(grad if factor is None else grad * factor, steps)
    return left, scale, q.as_subclass(torch.Tensor).t().contiguous(), added


def plain_product(a: Any, b: Any, bias: Any, dtype: Any) -> Any:
    (left, scale_a), (right, scale_b) = a, b
    sums = (left.double() @ right.as_subclass(torch.Tensor).double().t()).float()
    y = sums * scale_a[:, None] * scale_b.as_subclass(torch.Tensor)
    return (y if bias is None else y + bias.as_subclass(torch.Tensor).float()).to(dtype)


class Gpu:
    """The files beside it, computing on what lies at addresses; what is launched is noted."""

    def __init__(self, load: Load) -> None:
        self.launches: list[Any] = []
        self.long: list[str] = []
        self.room: list[Any] = []
        self.capturing = self.knows_nothing = False
        self.current = 0
        kind = load("_switchback_product").Kind
        self.files = {
            "_switchback_quantize": SimpleNamespace(
                quantize_two=self.noted("two", plain_two),
                gradient_operands=self.noted("operands", plain_operands),
            ),
            "_switchback_product": SimpleNamespace(
                Kind=kind, by_address=self.product, capturing=lambda: self.capturing,
                rescaled_product=self.noted("product", plain_product),
            ),
            "_switchback_addressed": SimpleNamespace(
                quantize_two=self.two, gradient_operands=self.operands
            ),
        }  # fmt: skip

    def noted(self, word: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **more: Any) -> Any:
            self.long.append(word)
            return function(*given, **more)

        return call

    def empty(self, size: Any, strides: Any, dtype: Any) -> Any:
        self.room.append(torch.empty_strided(size, strides, dtype=dtype))
        return self.room[-1].fill_(77)

    def asks(self) -> Any:
        return Asks(lambda: self.current, lambda index: 50 + index, self.empty)

    def two(self, x: Any, weight: Any, *, whole: bool) -> Any:
        parts = 3 if whole else 0
        (rows, depth), columns = x.shape, weight.shape[0]
        dtype, weight_dtype = x.dtype, weight.dtype

        def launch(at: Any, steps: float, stream: int) -> None:
            self.launches.append(("two", stream))
            given = there(at[0], dtype, rows, depth), there(at[3], weight_dtype, columns, depth)
            q, scale, w_q, absmax = plain_two(*given, steps, whole=whole)
            there(at[1], torch.int8, rows, depth).copy_(q)
            there(at[4], torch.int8, columns, depth).copy_(w_q)
            if whole:
                there(at[6], torch.float32, parts).fill_(-1.0)  # spoils what is not its own
            there(at[2], torch.float32, rows).copy_(scale)
            there(at[5], torch.float32, *absmax.shape).copy_(absmax)

        return None if self.knows_nothing else (launch, parts)

    def operands(self, grad: Any, depth: int, *, factor: bool, sums: Any) -> Any:
        (rows, columns), dtype = grad.shape, grad.dtype
        parts = 0 if sums is None else 2 * columns

        def launch(at: Any, steps: float, stream: int) -> None:
            self.launches.append(("operands", stream))
            if parts:
                there(at[4], torch.float32, parts).fill_(-1.0)
            by = there(at[3], torch.float32, columns) if factor else None
            q = there(at[5], torch.int8, columns, depth)
            made = plain_operands(there(at[0], dtype, rows, columns), q, by, steps, sums)
            there(at[1], torch.int8, rows, columns).copy_(made[0])
            there(at[2], torch.float32, rows).copy_(made[1])
            there(at[6], torch.int8, depth, columns).copy_(made[2])
            if sums is not None:
                there(at[7], sums, columns).copy_(made[3])

        return None if self.knows_nothing else (launch, parts)

    def product(self, kind: Any) -> Any:
        def launch(*at: Any) -> None:
            self.launches.append(("product", at[-1]))
            a = there(at[0], torch.int8, kind.rows, kind.depth)
            b = there(at[2], torch.int8, kind.columns, kind.depth)
            scale_a = there(at[1], torch.float32, kind.rows)
            scale_b = there(at[3], torch.float32, kind.columns if kind.each else 1)
            bias = None if at[4] is None else there(at[4], kind.bias, kind.columns)
            made = plain_product((a, scale_a), (b, scale_b), bias, kind.dtype)
            there(at[5], kind.dtype, kind.rows, kind.columns).copy_(made)

        return launch


@pytest.fixture
def gpu(load: Load) -> Gpu:
    torch.manual_seed(5)
    return Gpu(load)


@pytest.fixture
def training(load: Load, gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> Any:
    module = load("_switchback_training")
    monkeypatch.setattr(module, "_beside", gpu.files.__getitem__)
    monkeypatch.setattr(module, "_asks", gpu.asks)
    monkeypatch.setattr(module, "_here", SimpleNamespace(devices={0}))
    return module


def same(one: Any, other: Any) -> bool:
    return (one is None and other is None) or (
        one.dtype == other.dtype and torch.equal(torch.Tensor(one), torch.Tensor(other))
    )


@pytest.mark.parametrize("bias", [None, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("whole", "kept"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("lead", [(6,), (3, 5)])
def test_a_second_forward_pass_is_launched_by_addresses(  # noqa: PLR0913 - every kind
    training: Any, gpu: Gpu, lead: Any, *, whole: bool, kept: bool, bias: Any
) -> None:
    x = on_gpu(torch.randn(*lead, 33).bfloat16())
    weight = on_gpu(torch.randn(20, 33))
    plus = None if bias is None else on_gpu(torch.randn(20).to(bias))
    first = training.forward(x, STEPS, weight, plus, whole, kept)
    assert gpu.long == ["two", "product"]
    assert gpu.launches == [("two", 50), ("product", 50)], "to see that both give the same"
    second = training.forward(x, STEPS, weight, plus, whole, kept)
    assert gpu.long == ["two", "product"]
    assert gpu.launches == 2 * [("two", 50), ("product", 50)]
    assert second[0].shape == (*lead, 20)
    assert [one is None for one in second] == [False] * 3 + [not kept] * 2
    for one, other in zip(first, second, strict=True):
        assert same(one, other)


@pytest.mark.parametrize("sums", [None, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scales", [20, 1])
@pytest.mark.parametrize("lead", [(6,), (3, 5)])
def test_a_second_input_gradient_is_launched_by_addresses(
    training: Any, gpu: Gpu, lead: Any, scales: int, sums: Any
) -> None:
    grad = on_gpu(torch.randn(*lead, 20).bfloat16())
    q = on_gpu(torch.randint(-127, 128, (20, 33), dtype=torch.int8))
    absmax = on_gpu(torch.rand(scales) + 0.5)
    first = training.input_gradient(grad, STEPS, q, absmax, sums)
    second = training.input_gradient(grad, STEPS, q, absmax, sums)
    assert gpu.long == ["operands", "product"]
    assert gpu.launches == 2 * [("operands", 50), ("product", 50)]
    assert second[0].shape == (*lead, 33)
    assert same(first[0], second[0])
    assert same(first[1], second[1])


def forward(training: Any, x: Any, weight: Any, bias: Any = None) -> Any:
    return training.forward(x, STEPS, weight, bias, whole=False, kept=False)


def test_what_lies_otherwise_goes_step_by_step(training: Any, gpu: Gpu) -> None:
    x, weight = on_gpu(torch.randn(6, 32)), on_gpu(torch.randn(16, 32))
    bias = on_gpu(torch.randn(32))
    off = on_gpu(torch.randn(6 * 32 + 1))[1:].view(6, 32)
    for one, other, plus in (
        (on_gpu(torch.randn(6, 40))[:, :32], weight, None), (off, weight, None),
        (x, on_gpu(torch.randn(32, 16)).t(), None), (x, weight, bias[::2]),
    ):  # fmt: skip
        for _ in range(2):
            forward(training, one, other, plus)
    grad, q, absmax = on_gpu(torch.randn(6, 16)), weight.char(), on_gpu(torch.rand(16) + 0.5)
    wide = grad[:, :1].expand(6, 16)
    for one, other in ((wide, q), (grad, on_gpu(torch.randn(32, 16)).char().t())):
        for _ in range(2):
            training.input_gradient(one, STEPS, other, absmax, torch.float32)
    assert len(gpu.long) == 24
    assert gpu.launches == []


def test_another_kind_is_worked_out_anew(training: Any, gpu: Gpu) -> None:
    weight = on_gpu(torch.randn(16, 32))
    for x in (torch.randn(6, 32), torch.randn(2, 3, 32), torch.randn(6, 32).half()):
        forward(training, on_gpu(x), weight)
    forward(training, on_gpu(torch.randn(6, 32)), weight.half())
    assert len(gpu.long) == 8
    assert len(gpu.launches) == 6, "three kinds differ in more than sizes"
    forward(training, on_gpu(torch.randn(6, 32)), weight)
    assert len(gpu.launches) == 8


@pytest.mark.parametrize("wrong", ["two", "product", "operands"])
def test_launches_that_give_something_else_are_not_used(
    training: Any, gpu: Gpu, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    q, absmax = on_gpu(torch.randint(-127, 128, (16, 32)).char()), on_gpu(torch.rand(16) + 0.5)
    kept = there

    def spoilt(address: int, dtype: Any, *shape: int) -> Any:
        found = kept(address, dtype, *shape)
        last = gpu.launches[-1][0]
        return found.clone() if last == wrong and dtype == made[wrong] else found

    made = {"two": torch.int8, "product": torch.float32, "operands": torch.int8}
    monkeypatch.setitem(globals(), "there", spoilt)
    for _ in range(3):
        forward(training, on_gpu(torch.randn(6, 32)), on_gpu(torch.randn(16, 32)))
        training.input_gradient(on_gpu(torch.randn(6, 16)), STEPS, q, absmax, None)
    assert gpu.long.count("two") == (1 if wrong == "operands" else 3)
    assert gpu.long.count("operands") == (1 if wrong == "two" else 3)


def test_not_a_number_is_the_same_as_itself(training: Any, gpu: Gpu) -> None:
    x = torch.randn(6, 32)
    x[2, 3] = float("nan")
    for _ in range(2):
        forward(training, on_gpu(x), on_gpu(torch.randn(16, 32)))
    assert len(gpu.long) == 2


def test_without_memory_to_try_it_the_next_kind_is_tried(
    training: Any, gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    weight = on_gpu(torch.randn(16, 32))
    with monkeypatch.context() as patch:
        patch.setattr(gpu, "empty", full)
        for _ in range(2):
            forward(training, on_gpu(torch.randn(6, 32)), weight)
    assert (len(gpu.long), gpu.launches) == (4, [])
    for _ in range(2):
        forward(training, on_gpu(torch.randn(7, 32)), weight)
    assert (len(gpu.long), len(gpu.launches)) == (6, 4)


def test_nothing_is_worked_out_while_a_graph_is_recorded(training: Any, gpu: Gpu) -> None:
    x, weight = on_gpu(torch.randn(6, 32)), on_gpu(torch.randn(16, 32))
    q, absmax = weight.char(), on_gpu(torch.rand(16) + 0.5)
    gpu.capturing = True
    for _ in range(2):
        forward(training, x, weight)
        training.input_gradient(on_gpu(torch.randn(6, 16)), STEPS, q, absmax, None)
    assert len(gpu.long) == 8
    assert not training._ones, "a graph's memory is the graph's"
    gpu.capturing = False
    forward(training, x, weight)
    gpu.launches.clear()
    gpu.capturing = True
    forward(training, x, weight)
    assert [word for word, _ in gpu.launches] == ["two", "product"]


def test_where_tensors_are_needed_it_is_asked_once(
    training: Any, gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu.knows_nothing = True
    asked: list[Any] = []
    product = gpu.files["_switchback_product"]
    monkeypatch.setattr(product, "by_address", asked.append)
    for _ in range(3):
        forward(training, on_gpu(torch.randn(6, 32)), on_gpu(torch.randn(16, 32)))
    assert (len(asked), len(gpu.long), gpu.launches) == (1, 6, [])


def test_interpreted_kernels_are_never_launched_by_addresses(training: Any, gpu: Gpu) -> None:
    for _ in range(2):
        forward(training, torch.randn(6, 32), torch.randn(16, 32))
    assert (len(gpu.long), gpu.launches) == (4, [])


def test_a_thread_enters_its_gpu_before_it_launches(
    training: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[int] = []
    monkeypatch.setattr(training, "_here", SimpleNamespace(devices=set()))
    monkeypatch.setattr(training, "_enter", entered.append)
    weight = on_gpu(torch.randn(16, 32))
    forward(training, on_gpu(torch.randn(6, 32)), weight)
    training.input_gradient(
        on_gpu(torch.randn(6, 16)), STEPS, weight.char(), on_gpu(torch.rand(16)), None
    )
    assert entered == [0, 0]


def test_the_gpu_of_the_tensors_is_made_current(
    training: Any, gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Device:
        def __init__(self, index: int) -> None:
            self.index = index

        def __enter__(self) -> None:
            gpu.current = self.index

        def __exit__(self, *_: object) -> None:
            gpu.current = 3

    monkeypatch.setattr(torch.cuda, "device", Device)
    gpu.current = 3
    for _ in range(2):
        forward(training, on_gpu(torch.randn(6, 32)), on_gpu(torch.randn(16, 32)))
    assert gpu.current == 3
    assert len(gpu.launches) == 4


def test_ever_new_shapes_do_not_pile_up(training: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "REMEMBERED", 3)
    weight = on_gpu(torch.randn(16, 32))
    for rows in range(1, 9):
        forward(training, on_gpu(torch.randn(rows, 32)), weight)
        assert 1 <= len(training._forwards) <= 3
