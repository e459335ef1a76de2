"""By which launches x is multiplied by an int8 weight, and what is worked out only once."""

# ruff: noqa: ANN401 - modules loaded by path have no types

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

torch = pytest.importorskip("torch")

Load = Callable[[str], Any]
STEPS = 127.0
FIRST = 0x10000
FUSED = ((2, 128, 5, True, 2, True), 8, 3, 2**29, 1, 16)


class X:
    """Activations on GPU 0 as far as they are asked; what is made of them gets addresses."""

    def __init__(self, rows: int = 1, depth: int = 4096, **more: Any) -> None:
        given = {"stride": (depth, 1), "at": 0x1000, "dtype": torch.bfloat16, "device": 0, **more}
        self.shape, self._given, self.dtype = (rows, depth), given, given["dtype"]

    def stride(self) -> tuple[int, int]:
        return self._given["stride"]  # type: ignore[no-any-return]

    def data_ptr(self) -> int:
        return self._given["at"]  # type: ignore[no-any-return]

    def get_device(self) -> int:
        return self._given["device"]  # type: ignore[no-any-return]


class Asks(NamedTuple):
    """What it asks torch for."""

    device: Any
    stream: Any
    empty: Any


class Parts:
    """The files beside it; what they are asked is noted."""

    def __init__(self, load: Load) -> None:
        self.calls: list[Any] = []
        self.refusal: Exception | None = None
        self.capturing, self.seconds = False, 0.0
        self.made: list[tuple[Any, Any, int]] = []
        self.known = True  # whether both steps can be launched by addresses
        few, fused, hopper, product = map(
            load,
            ("_switchback_few", "_switchback_fused", "_switchback_hopper", "_switchback_product"),
        )
        self.NotHere = hopper.NotHereError
        self.choice = SimpleNamespace(few=(8, 8), fused=None, arch="sm_90a")
        self.files = {
            "_switchback_tiles": SimpleNamespace(choose=lambda *_: self.choice),
            "_switchback_hopper": hopper,
            "_switchback_few": SimpleNamespace(
                way=few.way, takes=few.takes, SIZE=2, proven=self.proven
            ),
            "_switchback_fused": SimpleNamespace(
                Way=fused.Way, takes=fused.takes, panels=fused.panels, units=fused.units, SIZE=2,
                proven=self.fused,
            ),
            "_switchback_product": SimpleNamespace(
                device=lambda _: ("9.0", 132), capturing=lambda: self.capturing,
                name=product.name, Kind=product.Kind, by_address=self.multiplying,
                rescaled_product=self.note("multiplied"),
            ),
            "_switchback_quantize": SimpleNamespace(
                quantize_rows=self.note("quantized"), by_address=self.quantizing
            ),
        }  # fmt: skip

    def empty(self, size: Any, strides: Any, dtype: Any) -> Any:
        assert strides == (*size[1:], 1)
        at = FIRST * (1 + len(self.made))
        self.made.append((size, dtype, at))
        return SimpleNamespace(shape=size, data_ptr=lambda: at)

    def asks(self, current: int) -> Any:
        return Asks(lambda: current, lambda index: 50 + index, self.empty)

    def note(self, word: str) -> Callable[..., str]:
        def call(*given: Any) -> str:
            self.calls.append((word, *given))
            return word

        return call

    def proven(self, way: Any, *more: Any) -> Any:
        self.calls.append(("compiled", tuple(way), *more))
        time.sleep(self.seconds)
        if self.refusal:
            raise self.refusal
        return SimpleNamespace(start=self.note("few"))

    def fused(self, way: Any, *more: Any) -> Any:
        self.proven(way, *more)
        return SimpleNamespace(start=self.note("fused"))

    def quantizing(self, _x: Any) -> Any:
        return self.note("q") if self.known else None

    def multiplying(self, kind: Any) -> Any:
        self.calls.append(("asked", tuple(kind)))
        return self.note("m") if self.known else None

    def words(self) -> list[str]:
        words = [one[0] for one in self.calls]
        self.calls.clear()
        return words


@pytest.fixture
def parts(load: Load) -> Parts:
    return Parts(load)


@pytest.fixture
def linear(load: Load, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> Any:
    module = load("_switchback_linear")
    monkeypatch.setattr(module, "_beside", parts.files.__getitem__)
    monkeypatch.setattr(module, "_asks", lambda: parts.asks(0))
    monkeypatch.setattr(module, "_here", SimpleNamespace(devices={-1, 0, 1}))
    return module


def tensor(at: int, *shape: int, dtype: Any = torch.bfloat16) -> Any:
    return SimpleNamespace(shape=shape, data_ptr=lambda: at, dtype=dtype)


def run(linear: Any, x: X, *, columns: int = 1024, **more: Any) -> Any:
    weight = tensor(0x2000, columns, x.shape[1])
    scale = tensor(0x3000, more.get("scales", columns))
    return linear.linear(x, STEPS, weight, scale, more.get("bias"))


def test_few_rows_take_one_launch_compiled_once(linear: Any, parts: Parts) -> None:
    x = X()
    bias = tensor(0x4000, 1024, dtype=torch.float32)
    c = run(linear, x, bias=bias)
    assert (c.shape, parts.made) == ((1, 1024), [((1, 1024), torch.bfloat16, FIRST)])
    assert parts.calls == [
        ("compiled", (8, 8, 4), "bfloat16", "float32", 0, "sm_90a"),
        (
            "few", (1, 4096, 1024), (0x1000, 0x2000, FIRST), 4096, STEPS, (0x3000, 1), 0x4000, 50
        ),
    ]  # fmt: skip
    run(linear, x, bias=bias)
    run(linear, X(3), bias=bias)
    assert parts.words() == ["compiled", "few", "few", "few"]
    run(linear, X(), scales=1)
    assert parts.calls[0][3] is None  # another dtype of bias
    assert parts.calls[1][5:] == ((0x3000, 0), None, 50)
    assert linear.compiled(0) == ("few",)
    assert linear.compiled(1) == ()


@pytest.mark.parametrize(
    "x",
    [
        X(at=0x1008),
        X(2, stride=(4100, 1)),
        X(stride=(8192, 2)),
        X(dtype=torch.float32),
        X(9),  # more rows than the table measured it for
        X(1, 4088),
        X(device=-1),
    ],
    ids=["unaligned", "rows", "inner", "dtype", "tokens", "depth", "cpu"],
)
def test_what_the_kernel_does_not_take_takes_two(linear: Any, parts: Parts, x: X) -> None:
    run(linear, x)
    assert parts.words()[:2] == ["quantized", "multiplied"]


def test_where_the_table_names_no_kernel_two_are_launched(linear: Any, parts: Parts) -> None:
    parts.choice.few = None
    assert run(linear, X()) == "multiplied"


def test_rows_that_lie_apart_are_read_where_they_lie(linear: Any, parts: Parts) -> None:
    run(linear, X(2, stride=(8192, 1)))
    assert parts.calls[-1][3] == 8192


def test_where_it_does_not_serve_it_is_asked_once_and_says_why(linear: Any, parts: Parts) -> None:
    parts.refusal = parts.NotHere("no NVRTC of CUDA 13")
    run(linear, X())
    run(linear, X(2))
    assert parts.words() == [
        "compiled", "quantized", "multiplied", "asked", "quantized", "multiplied", "asked"
    ]  # fmt: skip
    assert linear.why_not(0) == {"few": "no NVRTC of CUDA 13"}
    assert linear.why_not(1) == {}


def test_a_full_gpu_says_nothing_about_the_kernel(linear: Any, parts: Parts) -> None:
    parts.refusal = torch.cuda.OutOfMemoryError("CUDA out of memory")
    run(linear, X())
    assert parts.words() == ["compiled", "quantized", "multiplied"]
    parts.refusal = None
    run(linear, X())
    assert parts.words() == ["compiled", "few"]


def test_nothing_is_compiled_or_settled_while_a_graph_is_captured(
    linear: Any, parts: Parts
) -> None:
    parts.capturing = True
    run(linear, X())
    parts.choice.few, few = None, parts.choice.few
    run(linear, X(1, 1024))
    assert parts.words() == ["quantized", "multiplied"] * 2
    parts.capturing, parts.choice.few = False, few
    run(linear, X())
    assert parts.words() == ["compiled", "few"]
    parts.capturing = True
    run(linear, X())
    run(linear, X(2))  # compiled already
    assert parts.words() == ["few", "few"]


def test_from_the_second_time_two_launches_are_made_by_addresses(linear: Any, parts: Parts) -> None:
    parts.choice.few = None
    run(linear, X(3))
    bias = torch.bfloat16
    assert parts.calls[-1] == ("asked", (0, 3, 4096, 1024, bias, None, True, True))
    parts.calls.clear()
    c = run(linear, X(3))
    int8_and_scales = 3 * 4096 + 3 * 4
    assert parts.made == [
        ((int8_and_scales,), torch.int8, FIRST), ((3, 1024), torch.bfloat16, 2 * FIRST)
    ]  # fmt: skip
    scales = FIRST + 3 * 4096
    assert parts.calls == [
        ("q", 0x1000, FIRST, scales, STEPS, 50),
        ("m", FIRST, scales, 0x2000, 0x3000, None, c.data_ptr(), 50),
    ]


def test_the_scales_start_on_a_boundary(linear: Any, parts: Parts) -> None:
    parts.choice.few = None
    for _ in range(2):
        run(linear, X(3, 1000))
    assert parts.calls[-2][3] % linear.ROOM == 0
    assert parts.calls[-2][3] >= FIRST + 3 * 1000


@pytest.mark.parametrize("x", [X(at=0x1008), X(device=-1)], ids=["unaligned", "cpu"])
def test_two_launches_that_must_look_do_so_each_time(linear: Any, parts: Parts, x: X) -> None:
    parts.known = x.get_device() >= 0
    for _ in range(3):
        run(linear, x)
    assert [word for word in parts.words() if word != "asked"] == ["quantized", "multiplied"] * 3
    assert len(linear._known) == 1


def test_on_another_gpu_that_one_becomes_current(
    linear: Any, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[int] = []

    @contextlib.contextmanager
    def device(index: int) -> Iterator[None]:
        entered.append(index)
        monkeypatch.setattr(linear, "_asks", lambda: parts.asks(1))
        yield

    monkeypatch.setattr(torch.cuda, "device", device)
    run(linear, X(device=1))
    assert entered == [1]
    assert parts.calls[-1][-1] == 51


def test_a_thread_enters_a_gpu_before_it_launches(
    linear: Any, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "_here", SimpleNamespace(devices=set()))
    monkeypatch.setattr(linear, "_enter", parts.note("entered"))
    run(linear, X())
    assert parts.words() == ["entered", "compiled", "few"]


@pytest.fixture
def many(parts: Parts) -> Parts:
    """The table names a kernel for many rows."""
    parts.choice.few, parts.choice.fused = None, FUSED
    return parts


def test_many_rows_take_one_launch_compiled_once(linear: Any, many: Parts) -> None:
    x = X(300, 4000, stride=(4096, 1))
    bias = tensor(0x4000, 1024, dtype=torch.float32)
    c = run(linear, x, bias=bias)
    scales = FIRST + 300 * 4000
    assert many.made == [
        ((300 * 4000 + 4 * 300,), torch.int8, FIRST), ((300, 1024), torch.bfloat16, 2 * FIRST)
    ]  # fmt: skip
    assert (c.shape, c.data_ptr()) == ((300, 1024), 2 * FIRST)
    assert many.calls == [
        ("compiled", FUSED, "bfloat16", "float32", 4000, 0, "sm_90a"),
        (
            "fused", (300, 4000, 1024), (0x1000, 0x2000, 2 * FIRST), (FIRST, scales), 4096, STEPS,
            (0x3000, 1), 0x4000, 50,
        ),
    ]  # fmt: skip
    run(linear, x, bias=bias)
    run(linear, X(301, 4096), bias=bias)  # as many units of a row
    assert many.words() == ["compiled", *["fused"] * 3]
    run(linear, X(300, 2048), bias=bias)
    run(linear, x, scales=1)  # without a bias
    assert many.words() == ["compiled", "fused"] * 2
    assert linear.compiled(0) == ("fused",)


@pytest.mark.parametrize(
    "x",
    [
        X(300, at=0x1008),
        X(300, stride=(4100, 1)),
        X(300, stride=(1, 300)),
        X(300, dtype=torch.float32),
        X(300, 4088),
        X(300, 16384),
        X(300, device=-1),
    ],
    ids=["unaligned", "rows", "inner", "dtype", "depth", "room", "cpu"],
)
def test_what_the_kernel_for_many_rows_does_not_take_takes_two(
    linear: Any, many: Parts, x: X
) -> None:
    run(linear, x)
    assert many.words()[:2] == ["quantized", "multiplied"]
    assert not linear.why_not(0)


def test_where_the_kernel_for_many_rows_does_not_serve_two_are_launched(
    linear: Any, many: Parts
) -> None:
    many.refusal = many.NotHere("17 of its results are not exact")
    assert run(linear, X(300)) == "multiplied"
    assert run(linear, X(301)) == "multiplied"
    assert many.words().count("compiled") == 1
    assert linear.why_not(0) == {"fused": "17 of its results are not exact"}
    many.choice.few, many.refusal = (8, 8), None
    run(linear, X())  # the other kernel is not meant
    assert many.words() == ["compiled", "few"]


def test_in_a_graph_many_rows_take_what_is_compiled(linear: Any, many: Parts) -> None:
    many.capturing = True
    run(linear, X(300))
    many.capturing = False
    run(linear, X(300))
    many.capturing = True
    run(linear, X(300))
    run(linear, X(500))
    assert many.words() == ["quantized", "multiplied", "compiled", "fused", "fused", "fused"]


def test_threads_that_call_at_once_make_it_once(
    linear: Any, parts: Parts, at_once: Callable[..., list[Any]]
) -> None:
    parts.seconds = 0.02
    at_once(lambda: run(linear, X()))
    assert sorted(parts.words()) == ["compiled", *["few"] * 8]
    parts.refusal = parts.NotHere("no NVRTC")
    linear._kernels.clear()
    linear._known.clear()
    at_once(lambda: run(linear, X()))
    assert parts.words().count("compiled") == 1


def test_ever_new_shapes_do_not_pile_up(
    linear: Any, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "REMEMBERED", 3)
    parts.choice.few = None
    for rows in range(1, 20):
        run(linear, X(rows))
        assert len(linear._known) <= 3


def test_what_it_asks_of_torch_is_there_in_every_torch(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = load("_switchback_linear")._asks()
    private = SimpleNamespace()
    monkeypatch.setattr(torch, "_C", private)
    made: list[Any] = []
    monkeypatch.setattr(torch, "empty_strided", lambda *given, **more: made.append((given, more)))
    plain = load("_switchback_linear")._asks()
    plain.empty((3, 4), (4, 1), torch.int8)
    assert made == [(((3, 4), (4, 1)), {"dtype": torch.int8, "device": "cuda"})]
    assert plain.device is torch.cuda.current_device
    assert callable(quick.empty)
