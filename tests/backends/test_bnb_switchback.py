"""The backend ``bnb-switchback``: there in old releases of bitsandbytes only."""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("bitsandbytes")

from qdoctor.backends import BackendUnavailable, named  # noqa: E402 - torch first
from qdoctor.backends.bnb_switchback import MODULE, BnbSwitchback  # noqa: E402
from qdoctor.nn import SwitchBackLinear, compat  # noqa: E402


class Old(SwitchBackLinear):
    """A layer with bitsandbytes 0.42's constructor and buffers, as that release's is."""


def test_a_release_without_it_says_what_to_take_instead() -> None:
    with pytest.raises(BackendUnavailable, match=r"has no SwitchBackLinear.*qdoctor-switchback"):
        named("bnb-switchback")


def test_ours_in_its_place_is_not_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, MODULE, types.ModuleType(MODULE))  # restored afterwards
    nn = sys.modules["bitsandbytes.nn"]
    for name in ("triton_based_modules", *compat._NAMES):
        monkeypatch.setattr(nn, name, None, raising=False)
    compat.install()
    with pytest.raises(BackendUnavailable, match=r"qdoctor\.nn\.compat put qdoctor's in its place"):
        named("bnb-switchback")


@pytest.mark.parametrize(
    ("text", "said"), [("raise ImportError('no libdevice')", "no libdevice"), ("", "of its own")]
)
def test_a_layer_that_does_not_import_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, text: str, said: str
) -> None:
    (tmp_path / "triton_based_modules.py").write_text(text)
    nn = sys.modules["bitsandbytes.nn"]
    monkeypatch.setattr(nn, "__path__", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    with pytest.raises(BackendUnavailable, match=said):
        named("bnb-switchback")
    monkeypatch.delitem(sys.modules, MODULE, raising=False)


def test_the_layer_that_is_there_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType(MODULE)
    Old.__module__ = MODULE
    module.SwitchBackLinear = Old  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, MODULE, module)
    kind = named("bnb-switchback")
    linear = torch.nn.Linear(64, 48).eval()
    assert "CUDA GPUs only" in kind.why_not(linear)
    layer = kind.replaced(linear)
    assert isinstance(layer, Old)
    assert layer.prepared
    assert not layer.training
    training = kind.replaced(linear.train(), training=True)
    assert training.training
    assert torch.equal(training.weight, linear.weight)
    assert training.weight.data_ptr() != linear.weight.data_ptr()


def test_it_can_train() -> None:
    assert BnbSwitchback(Old).trainable
