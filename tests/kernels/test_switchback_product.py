"""Which product is launched: Hopper's own where it is chosen and serves, else Triton's."""

# ruff: noqa: ANN401 - modules loaded by path have no types

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

Load = Callable[[str], Any]
CUT = (1, 256, 4, False, 1, True)
BLOCK = (64, 64, 128, 4, 6)


class Started:
    """A kernel that proved itself."""

    def __init__(self, calls: list[Any]) -> None:
        self.calls = calls

    def __call__(self, *_given: Any) -> None:
        self.calls.append("hopper")

    def start(self, *given: Any) -> None:
        self.calls.append(given)


class Parts:
    """The files beside the product, as far as it asks them; what they are asked is noted."""

    def __init__(self, load: Load) -> None:
        self.calls: list[Any] = []
        self.refusal, self.seconds = "", 0.0
        real = load("_switchback_tiles")
        self.choice = real.Choice(CUT, "sm_90a", BLOCK, overlap=True)
        hopper = load("_switchback_hopper")
        triton = load("_switchback_triton")
        self.files = {
            "_switchback_tiles": SimpleNamespace(
                NOTHING_KNOWN=real.NOTHING_KNOWN, choose=lambda *_: self.choice
            ),
            "_switchback_hopper": SimpleNamespace(
                takes=hopper.takes, Cut=hopper.Cut, NotHereError=hopper.NotHereError,
                proven=self.proven,
            ),
            "_switchback_triton": SimpleNamespace(
                Tiles=triton.Tiles, fitting=triton.fitting, overlaps=lambda: False,
                shared_limit=lambda _: 100_000,
                launch=lambda key, _given, tiles, **_: self.calls.append((tuple(tiles), key)),
            ),
        }  # fmt: skip

    def proven(self, cut: Any, out: str, bias: str | None, *_: object) -> Callable[..., None]:
        self.calls.append(("compiled", tuple(cut), out, bias))
        time.sleep(self.seconds)
        if self.refusal:
            raise self.files["_switchback_hopper"].NotHereError(self.refusal)
        return Started(self.calls)


@pytest.fixture
def parts(load: Load) -> Parts:
    return Parts(load)


@pytest.fixture
def product(load: Load, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> Any:
    module = load("_switchback_product")
    monkeypatch.setattr(module, "_beside", parts.files.__getitem__)
    monkeypatch.setattr(module, "device", lambda _: ("9.0", 132))
    monkeypatch.setattr(module, "capturing", lambda: False)
    monkeypatch.setattr(module, "raw_stream", lambda: lambda _: 5)
    return module


def kind(product: Any, **changes: Any) -> Any:
    plain = product.Kind(
        0, 4096, 1024, 4096, torch.bfloat16, torch.float32, each=True, aligned=True
    )
    return plain._replace(**changes)


def run(product: Any, one: Any) -> None:
    product._chosen(one)(*[None] * 6)


def test_hoppers_own_is_compiled_once_for_all_shapes(product: Any, parts: Parts) -> None:
    run(product, kind(product))
    run(product, kind(product, rows=2048))
    assert parts.calls == [("compiled", (*CUT, 1), "bfloat16", "float32"), "hopper", "hopper"]
    assert set(product._known) == {kind(product), kind(product, rows=2048)}
    assert not product.why_not(0)
    assert product.has_own(0)
    assert not product.has_own(1)


def test_threads_that_multiply_at_once_prove_it_once(
    product: Any, parts: Parts, at_once: Callable[..., list[Any]]
) -> None:
    parts.seconds = 0.02
    at_once(lambda: run(product, kind(product)))
    assert parts.calls == [("compiled", (*CUT, 1), "bfloat16", "float32"), *["hopper"] * 8]


@pytest.mark.parametrize(
    "changes",
    [{"depth": 1000}, {"columns": 4092}, {"dtype": torch.float64}, {"bias": torch.float64}],
    ids=str,
)
def test_triton_multiplies_what_hoppers_own_does_not_take(
    product: Any, parts: Parts, changes: dict[str, Any]
) -> None:
    one = kind(product, **changes)
    run(product, one)
    assert parts.calls == [(BLOCK, tuple(one))]


def test_what_is_not_aligned_is_looked_up_each_time(product: Any, parts: Parts) -> None:
    run(product, kind(product, aligned=False))
    assert parts.calls == [(BLOCK, None)]


def test_where_hoppers_own_does_not_serve_it_is_asked_once_and_says_why(
    product: Any, parts: Parts
) -> None:
    parts.refusal = "no NVRTC of CUDA 13"
    run(product, kind(product))
    run(product, kind(product, rows=2048))
    assert [one[0] for one in parts.calls] == ["compiled", BLOCK, BLOCK]
    assert product.why_not(0) == "no NVRTC of CUDA 13"
    assert product.why_not(1) == ""
    assert not product.has_own(0)


def test_nothing_is_compiled_or_settled_while_a_graph_is_captured(
    product: Any, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(product, "capturing", lambda: True)
    run(product, kind(product))
    assert [one[0] for one in parts.calls] == [BLOCK]
    assert not product._known
    monkeypatch.setattr(product, "capturing", lambda: False)
    run(product, kind(product))
    assert parts.calls[-1] == "hopper"
    monkeypatch.setattr(product, "capturing", lambda: True)
    run(product, kind(product, rows=64))
    assert parts.calls[-1] == "hopper"


def test_what_was_launched_once_is_launched_by_addresses(product: Any, parts: Parts) -> None:
    one = kind(product)
    assert product.by_address(one) is None
    run(product, one)
    addresses = (0x1000, 0x2000, 0x3000, 0x4000, None, 0x5000)
    product.by_address(one)(*addresses, 9)
    shape = (one.rows, one.depth, one.columns)
    assert parts.calls[-1] == (shape, (0x1000, 0x3000, 0x5000), (0x2000, 0x4000, 1), None, 9)


def test_so_is_tritons_where_it_gives_that_away(product: Any, parts: Parts) -> None:
    triton = parts.files["_switchback_triton"]
    parts.choice = parts.choice._replace(cut=None)
    one, other = kind(product, each=False), kind(product, aligned=False)
    for each in (one, other):
        run(product, each)
    triton.ready = lambda _: None
    assert product.by_address(one) is None
    triton.ready = lambda key: (
        (lambda *given, **more: parts.calls.append((given, more)), (key[0], True))
    )
    assert product.by_address(other) is None  # Triton looks at every address
    for bias in (None, 0x6000):
        product.by_address(one)(0x1000, 0x2000, 0x3000, 0x4000, bias, 0x5000, 9)
        operands = (0x1000, 0x3000, 0x5000, 0x2000, 0x4000, bias or 0x1000)
        sizes = (one.rows, one.columns, one.depth, 0)
        assert parts.calls[-1] == ((*operands, *sizes, 0, True), {"stream": 9})


def test_without_knowledge_or_room_tiles_are_safe(product: Any, parts: Parts) -> None:
    parts.choice = parts.files["_switchback_tiles"].NOTHING_KNOWN
    run(product, kind(product))
    parts.choice = parts.choice._replace(tiles=(128, 256, 128, 8, 4))  # 196 kB
    run(product, kind(product, rows=64))
    assert [one[0] for one in parts.calls] == [(128, 128, 128, 8, 3), (64, 128, 128, 4, 3)]


def test_what_is_remembered_is_bounded(product: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "REMEMBERED", 3)
    for rows in range(1, 20):
        run(product, kind(product, rows=rows))
        assert len(product._known) <= 3
