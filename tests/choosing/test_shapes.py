"""Shapes: the stated set, a model's layers, and what people type."""

from __future__ import annotations

from collections import Counter

import pytest
import torch  # noqa: TID253 - the model is torch's
from hypothesis import given
from hypothesis import strategies as st

from qdoctor.choosing import shapes
from qdoctor.choosing.request import LARGEST, Request
from qdoctor.model import BadInput

SIZES = st.integers(1, LARGEST)


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


class Language(torch.nn.Module):  # type: ignore[misc]
    """An embedding, a block and a head, as language models have them."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(640, 64)
        self.up, self.down = torch.nn.Linear(64, 128), torch.nn.Linear(128, 64)
        self.router, self.tied = torch.nn.Linear(64, 8), torch.nn.Linear(64, 640)
        self.tied.weight = self.embedding.weight
        self.head = torch.nn.Linear(64, 640)

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.head


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_layers_that_no_backend_is_to_replace_do_not_count(device: str) -> None:
    with torch.device(device):
        found = shapes.of_model(Language(), rows=(4,))
    assert found.shapes == [(4, 64, 128), (4, 128, 64)]


def test_on_a_cpu_a_models_layers_have_the_rows_of_the_stated_set() -> None:
    on_cpu = {shape[0] for shape in Request(shapes=model(), device="cpu").shapes or []}
    assert on_cpu == {128, 1} <= {one.shape[0] for one in shapes.ON_CPU}
    assert {shape[0] for shape in Request(shapes=model(), device=0).shapes or []} == {2048, 16}


def test_without_a_device_torchs_build_tells_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    for build, rows in ((None, {128, 1}), ("13.0", {2048, 16})):
        monkeypatch.setattr(torch.version, "cuda", build)
        monkeypatch.setattr(torch.version, "hip", None)
        assert {shape[0] for shape in Request(shapes=model()).shapes or []} == rows


@pytest.mark.parametrize("bad", [None, "vit", 3, object(), torch.nn.Linear])
def test_what_is_no_model_is_refused(bad: object) -> None:
    with pytest.raises(BadInput, match="or a torch model, not"):
        shapes.of_model(bad)


def test_a_model_without_linears_is_refused() -> None:
    with pytest.raises(BadInput, match=r"has no torch\.nn\.Linear"):
        shapes.of_model(torch.nn.Conv2d(1, 1, 1))
