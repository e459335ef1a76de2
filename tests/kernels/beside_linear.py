"""What stands beside ``_switchback_linear``, pretended: tensors by their addresses, noted calls."""

# ruff: noqa: ANN401 - modules loaded by path have no types

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

torch = pytest.importorskip("torch")

Load = Callable[[str], Any]
STEPS = 127.0
FIRST = 0x10000
"""Where the first tensor lies that is made; the next ones follow at its multiples."""


def tensor(
    at: int,
    *shape: int,
    dtype: Any = torch.bfloat16,
    stride: tuple[int, int] | None = None,
    device: int = 0,
) -> Any:
    """A tensor as far as it is asked; contiguous unless told otherwise."""
    return SimpleNamespace(
        shape=shape,
        dtype=dtype,
        data_ptr=lambda: at,
        stride=lambda: stride or (*shape[1:], 1),
        get_device=lambda: device,
    )


def rows(count: int = 1, depth: int = 4096, *, at: int = 0x1000, **more: Any) -> Any:
    """Activations: so many rows of so many numbers."""
    return tensor(at, count, depth, **more)


class Asks(NamedTuple):
    """What it asks torch for."""

    device: Any
    stream: Any
    empty: Any


class Parts:
    """``_switchback_linear`` and the files beside it; what those are asked is noted.

    few, fused, chunks: the kernels that the table names, for few rows, many, and one wave of tiles.
    """

    def __init__(
        self,
        load: Load,
        monkeypatch: pytest.MonkeyPatch,
        *,
        few: tuple[int, int] | None = None,
        fused: tuple[Any, ...] | None = None,
        chunks: tuple[int, ...] | None = None,
    ) -> None:
        self.choice = SimpleNamespace(few=few, fused=fused, chunks=chunks, arch="sm_90a")
        self.calls: list[Any] = []
        self.made: list[tuple[Any, Any, int]] = []
        self.refusal: Exception | None = None
        self.capturing, self.seconds = False, 0.0
        self.known = True  # whether both steps can be launched by addresses
        self.not_here = load("_switchback_hopper").NotHereError
        self.linear = load("_switchback_linear")
        monkeypatch.setattr(self.linear, "_beside", self._files(load).__getitem__)
        monkeypatch.setattr(self.linear, "_asks", lambda: self.asks(0))
        monkeypatch.setattr(self.linear, "_here", SimpleNamespace(devices={-1, 0, 1}))

    def _files(self, load: Load) -> dict[str, Any]:
        names = ("few", "fused", "chunks", "product")
        few, fused, chunks, product = (load(f"_switchback_{name}") for name in names)
        return {
            "_switchback_tiles": SimpleNamespace(choose=lambda *_: self.choice),
            "_switchback_hopper": SimpleNamespace(NotHereError=self.not_here),
            "_switchback_few": SimpleNamespace(
                way=few.way, takes=few.takes, SIZE=2, proven=self._proving("few")
            ),
            "_switchback_fused": SimpleNamespace(
                Way=fused.Way, takes=fused.takes, panels=fused.panels, units=fused.units, SIZE=2,
                proven=self._proving("fused"),
            ),
            "_switchback_chunks": SimpleNamespace(
                Way=chunks.Way, takes=chunks.takes, SIZE=2, proven=self._proving("chunks")
            ),
            "_switchback_product": SimpleNamespace(
                device=lambda _: ("9.0", 132), capturing=lambda: self.capturing,
                name=product.name, Kind=product.Kind, by_address=self._multiplying,
                rescaled_product=self.note("multiplied"),
            ),
            "_switchback_quantize": SimpleNamespace(
                quantize_rows=self.note("quantized"),
                by_address=lambda _: self.note("q") if self.known else None,
            ),
        }  # fmt: skip

    def asks(self, current: int) -> Any:
        """What is asked of torch while that GPU is current."""
        return Asks(lambda: current, lambda index: 50 + index, self._empty)

    def _empty(self, size: Any, strides: Any, dtype: Any) -> Any:
        assert strides == (*size[1:], 1)
        at = FIRST * (1 + len(self.made))
        self.made.append((size, dtype, at))
        return tensor(at, *size, dtype=dtype)

    def note(self, word: str) -> Callable[..., str]:
        def call(*given: Any) -> str:
            self.calls.append((word, *given))
            return word

        return call

    def _proving(self, word: str) -> Callable[..., Any]:
        def proven(way: Any, *more: Any) -> Any:
            self.calls.append(("compiled", tuple(way), *more))
            time.sleep(self.seconds)
            if self.refusal:
                raise self.refusal
            return SimpleNamespace(start=self.note(word))

        return proven

    def _multiplying(self, kind: Any) -> Any:
        self.calls.append(("asked", tuple(kind)))
        return self.note("m") if self.known else None

    def words(self) -> list[str]:
        """Name what was called since this was asked last."""
        words = [one[0] for one in self.calls]
        self.calls.clear()
        return words

    def run(self, x: Any, *, scales: int = 1024, bias: Any = None) -> Any:
        """Multiply x by a weight of 1024 rows."""
        weight, scale = tensor(0x2000, 1024, x.shape[1]), tensor(0x3000, scales)
        return self.linear.linear(x, STEPS, weight, scale, bias)
