"""The devices on which the backends are tested, and what their layers are held against."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")

from qdoctor.backends import Kind, named  # noqa: E402 - torch first

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> Any:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")
    torch.manual_seed(11)
    return torch.device(request.param)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """bitsandbytes logs which optional kernels it lacks."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    yield
    logging.disable(before)


@pytest.fixture
def gaussian() -> Callable[..., Any]:
    """Make a linear layer with a standard normal weight."""

    def make(depth: int, columns: int, device: Any = None, dtype: Any = None) -> Any:
        linear = torch.nn.Linear(depth, columns, device=device, dtype=dtype)
        with torch.no_grad():
            linear.weight.normal_()
        return linear.eval()

    return make


@pytest.fixture
def relative() -> Callable[[Any, Any], float]:
    """Measure ||got - wanted||F / ||wanted||F in float64; of nothing, 0."""

    def measure(got: Any, wanted: Any) -> float:
        got, wanted = got.detach().double(), wanted.detach().double()
        return float((got - wanted).norm() / wanted.norm()) if wanted.numel() else 0.0

    return measure


@pytest.fixture
def taking() -> Callable[..., Kind]:
    """``taking(name, linear)`` -> the backend of that name; skip with what it says against it."""

    def find(name: str, linear: Any = None, *, training: bool = False) -> Kind:
        if name.startswith("bnb"):
            pytest.importorskip("bitsandbytes")
        kind = named(name)
        layer = torch.nn.Linear(64, 64) if linear is None else linear
        reason = kind.why_not(layer, training=training)
        if reason:
            pytest.skip(reason)
        return kind

    return find
