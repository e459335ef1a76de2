"""The product of few rows in one launch: when it is taken, compiled, settled, and on which GPU."""

# ruff: noqa: ANN401 - modules loaded by path have no types

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.kernels.beside_linear import FIRST, STEPS, Parts, rows, tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.kernels.beside_linear import Load

torch = pytest.importorskip("torch")


@pytest.fixture
def parts(load: Load, monkeypatch: pytest.MonkeyPatch) -> Parts:
    """The table names a kernel for few rows."""
    return Parts(load, monkeypatch, few=(8, 8))


def test_few_rows_take_one_launch_compiled_once(parts: Parts) -> None:
    x = rows()
    bias = tensor(0x4000, 1024, dtype=torch.float32)
    c = parts.run(x, bias=bias)
    assert (c.shape, parts.made) == ((1, 1024), [((1, 1024), torch.bfloat16, FIRST)])
    assert parts.calls == [
        ("compiled", (8, 8, 512, 1), "bfloat16", "float32", 0, "sm_90a"),
        (
            "few", (1, 4096, 1024), (0x1000, 0x2000, FIRST), 4096, STEPS, (0x3000, 1), 0x4000, 50
        ),
    ]  # fmt: skip
    parts.run(x, bias=bias)
    parts.run(rows(3), bias=bias)
    assert parts.words() == ["compiled", "few", "few", "few"]
    parts.run(rows(), scales=1)
    assert parts.calls[0][3] is None  # another dtype of bias
    assert parts.calls[1][5:] == ((0x3000, 0), None, 50)
    assert parts.linear.compiled(0) == ("few",)
    assert parts.linear.compiled(1) == ()


@pytest.mark.parametrize(
    "x",
    [
        rows(at=0x1008),
        rows(2, stride=(4100, 1)),
        rows(stride=(8192, 2)),
        rows(dtype=torch.float32),
        rows(9),  # more rows than the table measured it for
        rows(1, 4088),
        rows(device=-1),
    ],
    ids=["unaligned", "rows", "inner", "dtype", "tokens", "depth", "cpu"],
)
def test_what_the_kernel_does_not_take_takes_two(parts: Parts, x: Any) -> None:
    parts.run(x)
    assert parts.words()[:2] == ["quantized", "multiplied"]


def test_rows_that_lie_apart_are_read_where_they_lie(parts: Parts) -> None:
    parts.run(rows(2, stride=(8192, 1)))
    assert parts.calls[-1][3] == 8192


def test_where_it_does_not_serve_it_is_asked_once_and_says_why(parts: Parts) -> None:
    parts.refusal = parts.not_here("no NVRTC of CUDA 13")
    parts.run(rows())
    parts.run(rows(2))
    assert parts.words() == [
        "compiled", "quantized", "multiplied", "asked", "quantized", "multiplied", "asked"
    ]  # fmt: skip
    assert parts.linear.why_not(0) == {"few": "no NVRTC of CUDA 13"}
    assert parts.linear.why_not(1) == {}


def test_a_full_gpu_says_nothing_about_the_kernel(parts: Parts) -> None:
    parts.refusal = torch.cuda.OutOfMemoryError("CUDA out of memory")
    parts.run(rows())
    assert parts.words() == ["compiled", "quantized", "multiplied"]
    parts.refusal = None
    parts.run(rows())
    assert parts.words() == ["compiled", "few"]


def test_nothing_is_compiled_or_settled_while_a_graph_is_captured(parts: Parts) -> None:
    parts.capturing = True
    parts.run(rows())
    parts.choice.few, few = None, parts.choice.few
    parts.run(rows(1, 1024))
    assert parts.words() == ["quantized", "multiplied"] * 2
    parts.capturing, parts.choice.few = False, few
    parts.run(rows())
    assert parts.words() == ["compiled", "few"]
    parts.capturing = True
    parts.run(rows())
    parts.run(rows(2))  # compiled already
    assert parts.words() == ["few", "few"]


def test_threads_that_call_at_once_make_it_once(
    parts: Parts, at_once: Callable[..., list[Any]]
) -> None:
    parts.seconds = 0.02
    at_once(lambda: parts.run(rows()))
    assert sorted(parts.words()) == ["compiled", *["few"] * 8]
    parts.refusal = parts.not_here("no NVRTC")
    parts.linear._kernels.clear()
    parts.linear._known.clear()
    at_once(lambda: parts.run(rows()))
    assert parts.words().count("compiled") == 1


def test_on_another_gpu_that_one_becomes_current(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[int] = []

    @contextlib.contextmanager
    def device(index: int) -> Iterator[None]:
        entered.append(index)
        monkeypatch.setattr(parts.linear, "_asks", lambda: parts.asks(1))
        yield

    monkeypatch.setattr(torch.cuda, "device", device)
    parts.run(rows(device=1))
    assert entered == [1]
    assert parts.calls[-1][-1] == 51


def test_a_thread_enters_a_gpu_before_it_launches(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts.linear, "_here", SimpleNamespace(devices=set()))
    monkeypatch.setattr(parts.linear, "_enter", parts.note("entered"))
    parts.run(rows())
    assert parts.words() == ["entered", "compiled", "few"]
