"""A selected backend on a model: what it was selected for, and what a call says otherwise."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch")

import qdoctor  # noqa: E402 - torch first
from qdoctor.choosing.cache_reading import Kept  # noqa: E402
from qdoctor.model import BadInput  # noqa: E402
from qdoctor.nn import SwitchBackLinear  # noqa: E402
from tests.backends.small_model import FEED_FORWARD, Model  # noqa: E402


def selected(name: str, *, training: bool = False) -> qdoctor.Backend:
    body = json.dumps({"asked": {"training": training}, "candidates": [], "reason": "a test"})
    return qdoctor.Backend(Kept(name, body.encode()))


@pytest.mark.parametrize(
    ("asked", "said", "prepared"),
    [(False, None, True), (True, None, False), (False, True, False), (True, False, True)],
)
def test_weights_are_kept_for_training_as_selected_unless_said_otherwise(
    asked: bool,  # noqa: FBT001
    said: bool | None,  # noqa: FBT001
    prepared: bool,  # noqa: FBT001
) -> None:
    model, backend = Model(), selected("qdoctor-switchback", training=asked)
    assert backend.quantize_(model, training=said).replaced == FEED_FORWARD
    layers = [one for one in model.modules() if isinstance(one, SwitchBackLinear)]
    assert {one.prepared for one in layers} == {prepared}
    assert backend.linear(64, 32, training=said).prepared is prepared


def test_what_cannot_be_trained_says_so_and_leaves_the_model() -> None:
    model = Model()
    with pytest.raises(qdoctor.BackendUnavailable, match="no layers that can be trained"):
        selected("bnb-nf4").quantize_(model, training=True)
    assert type(model.blocks[0].c_fc) is torch.nn.Linear


@pytest.mark.parametrize("said", ["no", "True"])
def test_whether_to_train_is_said_by_yes_or_no(said: str) -> None:
    backend, model = selected("qdoctor-switchback"), Model()
    with pytest.raises(BadInput, match=f"training {said!r}: True or False is meant"):
        backend.quantize_(model, training=said)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="True or False is meant"):
        backend.linear(64, 32, training=said)  # type: ignore[arg-type]
    assert type(model.blocks[0].c_fc) is torch.nn.Linear
