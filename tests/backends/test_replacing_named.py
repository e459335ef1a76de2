"""``quantize_`` of the layers that are named: include and skip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

torch = pytest.importorskip("torch")

from qdoctor.backends.replacing import quantize_  # noqa: E402 - torch first
from tests.backends.small_model import Model  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable


def test_include_and_skip() -> None:
    done = quantize_(Model(), "half", include=["c_fc"], skip="blocks.1")
    assert done.replaced == ("blocks.0.c_fc",)
    assert done.skipped["blocks.1.c_fc"] == "listed in skip (blocks.1)"
    assert done.skipped["blocks.0.c_proj"] == "not named by include"


def test_naming_a_layer_outright_outweighs_its_size_and_its_place() -> None:
    model = Model()
    assert quantize_(model, "half", include=["gate", "unembed"]).replaced == ("gate", "unembed")
    assert quantize_(Model(), "half", include=["g*", "u*"]).replaced == ()
    tied = quantize_(Model(tied=True), "half", include=["unembed"])
    assert "tied" in tied.skipped["unembed"]


def test_an_include_that_means_nothing_names_what_is_near() -> None:
    model = Model()
    with pytest.raises(ValueError, match=r"include='c_fcc' names no linear layer; did you mean"):
        quantize_(model, "half", include=["c_fc", "c_fcc"])
    with pytest.raises(ValueError, match=r"names no linear layer; there are gate, unembed, c_fc"):
        quantize_(model, "half", include=["zzz"])
    assert type(model.blocks[0].c_fc) is torch.nn.Linear


def test_a_skip_that_means_nothing_is_warned_of() -> None:
    said = r"skip='lm_haed' names no module of this model"
    with pytest.warns(UserWarning, match=said) as warned:
        quantize_(Model(), "half", skip=["lm_haed"])
    assert warned[0].filename == __file__


@pytest.mark.parametrize("nothing", [[], (), iter(())])
def test_an_empty_include_names_no_layer(nothing: Iterable[str]) -> None:
    """A list that a filter left empty is not 'all of them'."""
    done = quantize_(Model(), "half", include=nothing)
    assert done.replaced == ()
    assert done.skipped["blocks.0.c_fc"] == "not named by include"
