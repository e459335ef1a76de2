"""The trial of a backend's layer: what fails, what is wrong, what says nothing."""

# ruff: noqa: ANN401 - torch is untyped here
# mypy: disable-error-code="misc, name-defined"

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")

from qdoctor.backends import named  # noqa: E402 - torch first
from qdoctor.backends.kind import Kind  # noqa: E402
from qdoctor.backends.replacing import quantize_  # noqa: E402
from qdoctor.backends.scaled_mm import way_on  # noqa: E402
from qdoctor.backends.trial import failure, out_of_range  # noqa: E402
from qdoctor.nn.products import is_shortage  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable


class Double(torch.autograd.Function):
    """Right forward, a weight's gradient that is twice too large."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any) -> Any:
        ctx.save_for_backward(x)
        return x @ weight.t()

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return None, 2 * grad.t() @ ctx.saved_tensors[0]


class Layer(torch.nn.Module):
    def __init__(self, linear: Any, does: Callable[[Any], Any] | None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(linear.weight.detach().clone())
        self.bias, self.does = linear.bias, does

    def forward(self, x: Any) -> Any:
        if self.does is not None:
            return self.does(x)
        return Double.apply(x, self.weight) + self.bias


class Tried(Kind):
    name = "tried"
    trainable = True

    def __init__(self, does: Callable[[Any], Any] | None = None) -> None:
        self.does, self.count = does, 0

    def replaced(self, linear: Any, *, training: bool = False) -> Any:
        del training
        self.count += 1
        return Layer(linear, self.does)


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qdoctor.backends.trial._known", {})


def refuse(x: Any) -> Any:
    raise NotImplementedError("no kernel\nfor this")


def test_a_layer_that_works_is_tried_once_a_kind_of_shape() -> None:
    kind = Tried()
    linear = torch.nn.Linear(64, 8)
    assert failure(kind, linear) == failure(kind, linear) == ""
    assert kind.count == 1
    assert failure(kind, torch.nn.Linear(65, 8)) == ""
    assert failure(kind, torch.nn.Linear(64, 9)) == ""
    assert kind.count == 3
    assert failure(kind, torch.nn.Linear(64, 9 + 64)) == ""  # the same rest of a block
    assert kind.count == 3


def test_warnings_are_no_failures() -> None:
    def warn(x: Any) -> Any:
        warnings.warn("it will be removed", FutureWarning, stacklevel=1)
        return torch.zeros(len(x), 136)

    assert "computes wrongly" in failure(Tried(warn), torch.nn.Linear(64, 8))


def test_its_words_are_told() -> None:
    told = failure(Tried(refuse), torch.nn.Linear(64, 8))
    assert told == "tried does not work on cpu: NotImplementedError: no kernel"


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_a_wrong_output_is_told(value: float) -> None:
    told = failure(Tried(lambda x: torch.full((len(x), 136), value)), torch.nn.Linear(64, 8))
    assert told.startswith("tried computes wrongly on cpu: its output has the relative error ")
    assert told.endswith("in a trial with 64 inputs")


def test_a_wrong_gradient_is_told_for_training_only() -> None:
    kind, linear = Tried(), torch.nn.Linear(64, 8)
    assert failure(kind, linear) == ""
    assert "its weight gradient has the relative error 1 " in failure(kind, linear, training=True)


SHORTAGES = (
    torch.cuda.OutOfMemoryError("full"),
    MemoryError(),
    RuntimeError("CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation'"),
    RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable"),
)


@pytest.mark.parametrize("error", SHORTAGES, ids=str)
def test_a_full_or_busy_gpu_says_nothing_of_the_backend(error: Exception) -> None:
    def fail(_: Any) -> Any:
        raise error

    kind, linear = Tried(fail), torch.nn.Linear(64, 8)
    for _ in range(2):
        with pytest.raises(type(error)):
            failure(kind, linear)
    assert kind.count == 2
    assert is_shortage(error, torch.device("cpu"))
    assert not is_shortage(RuntimeError("no kernel image"), torch.device("cpu"))


@pytest.mark.parametrize("error", SHORTAGES, ids=str)
def test_nor_of_the_fp8_product(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise error

    kind = named("torch-fp8")  # it binds the real product, if this is what imports it
    monkeypatch.setattr("qdoctor.backends.scaled_mm._ways", {})
    monkeypatch.setattr("qdoctor.backends.scaled_mm.multiply", fail)
    for _ in range(2):
        with pytest.raises(type(error)):
            way_on(torch.device("cpu"), torch.bfloat16)
        with pytest.raises(type(error)):
            kind.why_not(torch.nn.Linear(64, 64))


def test_the_caller_s_random_numbers_and_modes_stay() -> None:
    state = torch.get_rng_state()
    with torch.no_grad():
        failure(
            Tried(), torch.nn.Linear(64, 8, device="meta").to_empty(device="cpu"), training=True
        )
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), state)


def of_size(magnitude: float) -> Any:
    linear = torch.nn.Linear(64, 64)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(64, 64).clamp(-3.0, 3.0) * magnitude)
    return linear


class ByWayOfHalf(Kind):
    """Keeps its weight in float16."""

    name = "by-way-of-half"

    def __init__(self) -> None:
        self.count = 0

    def replaced(self, linear: Any, *, training: bool = False) -> Any:
        del training
        self.count += 1
        made = torch.nn.Linear(linear.in_features, linear.out_features)
        made.weight = torch.nn.Parameter(linear.weight.half().float())
        made.bias = linear.bias
        return made


def test_weights_that_a_format_cannot_hold_are_told_of() -> None:
    kind = ByWayOfHalf()
    for magnitude in (1e-3, 1.0, 100.0, 0.0):
        assert out_of_range(kind, of_size(magnitude)) == ""
    assert kind.count == 0
    told = out_of_range(kind, of_size(1e-8))
    assert told.startswith("by-way-of-half loses weights as small as these: its output has the ")
    assert told.endswith("with ordinary ones (the largest is 3e-08)")
    assert kind.count == 2
    assert out_of_range(kind, of_size(1e-8))
    assert kind.count == 2
    assert "as large as these" in out_of_range(kind, of_size(1e6))
    assert out_of_range(Tried(refuse), of_size(1e6)).endswith("no kernel (the largest is 3e+06)")


def test_what_is_not_finite_is_not_tried() -> None:
    kind, linear = ByWayOfHalf(), of_size(1.0)
    linear.weight.data[3, 4] = float("nan")
    assert out_of_range(kind, linear) == ""
    assert kind.count == 0


@pytest.mark.parametrize("name", ["bnb-int8", "qdoctor-switchback", "half"])
@pytest.mark.parametrize("magnitude", [1e-9, 1e6])
def test_a_model_loses_no_weights_for_their_size(name: str, magnitude: float) -> None:
    """bitsandbytes casts to float16: what is small became 0, what is large NaN, without a word."""
    if name.startswith("bnb"):
        pytest.importorskip("bitsandbytes")
    model = torch.nn.Sequential(of_size(magnitude), of_size(1.0)).eval()
    if reason := named(name).why_not(model[1]):
        pytest.skip(reason)
    x = torch.randn(40, 64)
    with torch.no_grad():
        wanted = model[0](x)
        done = quantize_(model, name)
        lost = float((model[0](x) - wanted).norm() / wanted.norm())
    assert lost <= 0.02
    assert "1" in done.replaced
    assert ("0" in done.skipped) == (name == "bnb-int8")
