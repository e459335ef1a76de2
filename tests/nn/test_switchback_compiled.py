"""SwitchBackLinear under torch.compile, in models: one graph, the same numbers."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")

from qdoctor import nn  # noqa: E402 - torch first

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of torch's compiler, about torch
    pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores:UserWarning"),
    # It imports setuptools late; which of these is said depends on setuptools' release.
    pytest.mark.filterwarnings("ignore:Distutils was imported before Setuptools:UserWarning"),
    pytest.mark.filterwarnings("ignore:Setuptools is replacing distutils:UserWarning"),
    pytest.mark.usefixtures("_fresh"),
]


@pytest.fixture
def _fresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def mixed(device: Any) -> Any:
    """Make a model with a layer of each kind."""
    torch.manual_seed(4)
    return torch.nn.Sequential(
        nn.SwitchBackLinearVectorwise(32, 48, device=device), torch.nn.GELU(),
        nn.SwitchBackLinearGlobal(48, 40, device=device), torch.nn.GELU(),
        nn.SwitchBackLinearGlobalMemEfficient(40, 16, device=device),
    )  # fmt: skip


def prepared(model: Any) -> Any:
    for layer in model.eval()[::2]:
        layer.prepare_for_eval()
    return model


def gradients(run: Any, model: Any, x: Any) -> list[Any]:
    model.zero_grad()
    x.grad = None
    y = run(x)
    y.square().sum().backward()
    return [y.detach(), x.grad, *(p.grad for p in model.parameters() if p.grad is not None)]


def assert_close(got: list[Any], wanted: list[Any]) -> None:
    assert len(got) == len(wanted)
    for one, other in zip(got, wanted, strict=True):
        # A sum that a compiler orders otherwise may round to the neighbouring step.
        assert (one - other).norm() <= 0.01 * other.norm()


@pytest.mark.parametrize("ready", [False, True], ids=["trained", "prepared"])
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_a_model_is_one_graph_forwards_and_backwards(
    device: Any, backend: str, *, ready: bool
) -> None:
    if backend == "inductor" and not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("no C++ compiler for torch.compile")
    model = prepared(mixed(device)) if ready else mixed(device)
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    x = torch.randn(5, 32, device=device, requires_grad=True)
    assert_close(gradients(compiled, model, x), gradients(model, model, x))
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x), rtol=0.02, atol=0.02)


def test_rows_may_vary_without_a_graph_for_each_number(device: Any) -> None:
    model = prepared(mixed(device))
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager", dynamic=True)
    with torch.no_grad():
        compiled(torch.randn(3, 4, 32, device=device))
        with torch._dynamo.config.patch(error_on_recompile=True):
            for rows in (2, 5, 9, 64):
                x = torch.randn(rows, 4, 32, device=device)
                torch.testing.assert_close(compiled(x), model(x), rtol=0.02, atol=0.02)


def test_checkpointed_inside_a_compiled_function(device: Any) -> None:
    model = mixed(device)
    x = torch.randn(5, 32, device=device, requires_grad=True)

    def saving_memory(x: Any) -> Any:
        return torch.utils.checkpoint.checkpoint(model, x, use_reentrant=False)

    run = torch.compile(saving_memory, fullgraph=True, backend="aot_eager")
    assert_close(gradients(run, model, x), gradients(model, model, x))


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # dynamo looks at the loss
def test_a_whole_training_step_compiles(device: Any) -> None:
    def losses(*, compile_it: bool) -> list[float]:
        model = mixed(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        x, wanted = torch.ones(6, 32, device=device), torch.zeros(6, 16, device=device)

        def step() -> Any:
            loss = torch.nn.functional.mse_loss(model(x), wanted)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return loss.detach()

        run = torch.compile(step, backend="aot_eager") if compile_it else step
        return [float(run()) for _ in range(4)]

    plain, compiled = losses(compile_it=False), losses(compile_it=True)
    assert plain[-1] < plain[0]
    assert compiled == pytest.approx(plain, rel=0.02)


def test_code_that_reads_a_prepared_weight_compiles_too(device: Any) -> None:
    layer = nn.SwitchBackLinearVectorwise(32, 16, device=device, dtype=torch.bfloat16).eval()
    layer.prepare_for_eval()

    def cast_first(x: Any) -> Any:  # as transformers' T5 does
        return layer(x.to(layer.weight.dtype))

    x = torch.randn(4, 32, device=device)
    got = torch.compile(cast_first, fullgraph=True, backend="aot_eager")(x)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got, cast_first(x), rtol=0.02, atol=0.02)
