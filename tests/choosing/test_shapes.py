"""Shapes: the stated set, a model's layers, and what people type."""

from __future__ import annotations

from collections import Counter

import pytest
import torch  # noqa: TID253 - the model is torch's
from hypothesis import given
from hypothesis import strategies as st

from qdoctor.choosing import shapes
from qdoctor.model import BadInput

SIZES = st.integers(1, shapes.LARGEST)


@pytest.mark.parametrize("device", ["cuda:0", "cpu"])
def test_the_stated_set_has_as_much_prefill_as_decode_and_fits(device: str) -> None:
    stated = shapes.stated(device)
    assert len(set(stated)) == len(stated)
    decode = [rows for rows, _, _ in stated if rows <= 16]
    assert 2 * len(decode) == len(stated)
    for rows, depth, columns in stated:
        assert 2 * (depth * columns + rows * (depth + columns)) < 256 << 20


def test_every_stated_shape_has_its_reason() -> None:
    for one in (*shapes.ON_GPU, *shapes.ON_CPU):
        kind = "decode" if one.shape[0] <= 16 else "prefill"
        assert one.reason.startswith(f"{kind}: ")


@given(st.lists(st.tuples(SIZES, SIZES, SIZES), min_size=1, max_size=9, unique=True))
def test_what_is_written_is_read_back(some: list[tuple[int, int, int]]) -> None:
    assert shapes.parse("x".join(map(str, one)) for one in some) == some


def test_equal_shapes_are_measured_once() -> None:
    assert shapes.parse(["1x2x3", " 1X2X3 ", "3x2x1"]) == [(1, 2, 3), (3, 2, 1)]


@pytest.mark.parametrize(
    "word",
    ["", "4096", "4096x1024", "1x2x3x4", "-1x2x3", "0x2x3", "1.5x2x3", "axbxc", f"{2**25}x1x1"],
)
def test_what_is_no_shape_is_refused_with_an_example(word: str) -> None:
    with pytest.raises(BadInput, match=r"is no shape: give"):
        shapes.parse([word])


@pytest.mark.parametrize("bad", [(1, 2), (1, 2, "3"), (1, 2, 0), (True, 2, 3), (1, 2, 3.0)])
def test_what_is_no_shape_in_python_is_refused(bad: tuple[object, ...]) -> None:
    with pytest.raises(BadInput, match="is no shape"):
        shapes.checked([bad])  # type: ignore[list-item]


def test_none_and_too_many_are_refused() -> None:
    with pytest.raises(BadInput, match="leave them out for the stated set"):
        shapes.checked([])
    with pytest.raises(BadInput, match="up to 64"):
        shapes.checked((1, 1, size) for size in range(1, 100))


class Odd(torch.nn.Linear):  # type: ignore[misc]
    """A subclass, which no backend replaces."""


def model() -> torch.nn.Module:
    block = torch.nn.ModuleList(
        torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.GELU(), torch.nn.Linear(32, 8))
        for _ in range(3)
    )
    return torch.nn.ModuleDict({"blocks": block, "odd": Odd(8, 8), "head": torch.nn.Linear(8, 64)})


def test_a_models_linears_are_found_once_each_with_counts_the_heaviest_first() -> None:
    found = shapes.of_model(model(), rows=(4, 1))
    assert found.shapes == [(4, 8, 32), (1, 8, 32), (4, 32, 8), (1, 32, 8), (4, 8, 64), (1, 8, 64)]
    assert found.counts == [3, 3, 3, 3, 1, 1]


def test_a_model_without_memory_will_do() -> None:
    with torch.device("meta"):
        assert shapes.of_model(model()) == shapes.of_model(model())


def test_a_model_of_many_kinds_keeps_its_heaviest() -> None:
    many = torch.nn.ModuleList(torch.nn.Linear(size, 2) for size in range(1, 100))
    found = shapes.of_model(many)
    assert len(found.shapes) == shapes.MOST
    assert found.shapes[0] == (2048, 99, 2)
    assert Counter(found.counts) == {1: shapes.MOST}


@pytest.mark.parametrize("bad", [None, "vit", 3, object(), torch.nn.Linear])
def test_what_is_no_model_is_refused(bad: object) -> None:
    with pytest.raises(BadInput, match="or a torch model, not"):
        shapes.of_model(bad)


def test_a_model_without_linears_is_refused() -> None:
    with pytest.raises(BadInput, match=r"has no torch\.nn\.Linear"):
        shapes.of_model(torch.nn.Conv2d(1, 1, 1))
