"""What is told of weights that lie in no linear layer."""

# ruff: noqa: ANN401 - torch is untyped here
# mypy: disable-error-code="misc, name-defined"

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from qdoctor.backends.replacing import quantize_  # noqa: E402 - torch first


class Experts(torch.nn.Module):
    """Experts as newer models hold them: stacked, multiplied one by one."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.gate_up_proj = torch.nn.Parameter(torch.randn(count, 64, 128))
        self.down_proj = torch.nn.Parameter(torch.randn(count, 64, 64))


def notes(*layers: Any) -> dict[str, str]:
    return dict(quantize_(torch.nn.Sequential(*layers), "qdoctor-switchback").notes)


def test_stacked_experts_are_told_of_with_their_share() -> None:
    told = notes(torch.nn.Linear(64, 64), Experts(8), Experts(8))
    text = (
        "in no linear layer, so left as they are: gate_up_proj (65% of all parameters), down_proj"
    )
    assert list(told) == ["1", "2"]
    assert told["1"].startswith(text)


def test_attention_and_recurrent_layers_are_told_of() -> None:
    told = notes(torch.nn.MultiheadAttention(64, 4), torch.nn.LSTM(64, 64), torch.nn.Linear(64, 64))
    assert "in_proj_weight" in told["0"]
    assert "weight_ih_l0" in told["1"]


def test_what_goes_without_saying_is_not_said() -> None:
    told = notes(
        torch.nn.Embedding(100, 64),
        torch.nn.Conv2d(32, 32, 3),
        torch.nn.LayerNorm(64),
        torch.nn.Linear(64, 64),
        torch.nn.Linear(64, 16),
    )
    assert told == {}


def test_little_is_not_told_of() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(512, 512))
    model.position = torch.nn.Parameter(torch.randn(32, 64))
    assert quantize_(model, "qdoctor-switchback").notes == {}


def test_both_notes_about_a_model_are_told() -> None:
    pytest.importorskip("bitsandbytes")
    model = torch.nn.Sequential(torch.nn.Linear(64, 64))
    model.table = torch.nn.Parameter(torch.randn(64, 64))
    told = quantize_(model, "bnb-int8").notes["(the model)"]
    assert "table (50% of all parameters); is_loaded_in_8bit is set" in told
