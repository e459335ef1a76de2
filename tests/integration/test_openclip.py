"""OpenCLIP 3.3.0's int8 guide, for real and on the CPU; benchmarks/openclip.py is the GPU's."""

# ruff: noqa: ANN401 - the answers are JSON

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OURS = "qdoctor.nn.switchback.SwitchBackLinear"
FROZEN = "qdoctor.backends.qdoctor_switchback.FrozenSwitchBackLinear"
GUIDE = ("guide, Global", "guide, Vectorwise")
BACKENDS = ("half, qdoctor-switchback", "half, bnb-int8")
TORCHVISION = {"2.13": "0.28.0", "2.12": "0.27.0", "2.11": "0.26.0"}
"""Each release of torchvision wants one of torch."""


@pytest.fixture(scope="session")
def told(ask: Callable[..., Any]) -> Any:
    torch = ".".join(importlib.metadata.version("torch").split(".")[:2])
    if torch not in TORCHVISION:
        pytest.skip(f"which torchvision goes with torch {torch} is not known here")
    wanted = (f"torchvision=={TORCHVISION[torch]}", "open_clip_torch==3.3.0")
    return ask("openclip_flow.py", *wanted)


environments = pytest.mark.environments
linux = pytest.mark.skipif(sys.platform != "linux", reason="bitsandbytes' wheel")
slow = pytest.mark.timeout(900)


@environments
@linux
@slow
@pytest.mark.parametrize("label", GUIDE + BACKENDS)
def test_features_are_those_of_the_model_before(told: Any, label: str) -> None:
    assert not told["failed"]
    one = told["contenders"][label]
    for tower in ("image", "text"):
        assert one[f"{tower}_cosine"] >= 0.999
        assert one[f"{tower}_centred"] >= 0.995
        assert 0.001 < one[f"{tower}_rel_error"] <= 0.04  # it did go through int8


@environments
@linux
@slow
def test_the_guide_replaces_the_feed_forward_layers_of_both_towers(told: Any) -> None:
    for label in GUIDE:
        assert told["contenders"][label]["layers"][OURS] == 12
    assert told["contenders"][BACKENDS[0]]["layers"][FROZEN] == 12
    plain, int8 = (told["contenders"][label]["mib"] for label in ("autocast", GUIDE[0]))
    assert int8 < 0.8 * plain


@environments
@linux
@slow
def test_code_that_asks_bitsandbytes_for_the_layer_gets_ours(told: Any) -> None:
    found = told["unchanged code"]
    assert found["layers"][OURS] == 12
    assert found["same_after_loading"]
    assert found["missing"] == [[], []]
    assert found["cast_dtype"] == "torch.float32"  # what the text tower computes in


@environments
@linux
@slow
def test_the_readmes_guide_runs_on_a_vit_l_14_of_real_size(told: Any) -> None:
    found = told["large"]
    assert found["layers"][OURS] == 2 * (24 + 12)
    assert found["features"] == [2, 768]
    assert found["image_cosine"] >= 0.999
    assert found["image_centred"] >= 0.99


@environments
@linux
@slow
def test_it_trains_like_the_linear_layers(told: Any) -> None:
    training = told["training"]
    assert set(training) == {"linear", "Global", "GlobalMemEfficient", "Vectorwise"}
    for one in training.values():
        assert one["last_loss"] < 0.8 * one["first_loss"]
        assert one["last_loss"] == pytest.approx(training["linear"]["last_loss"], rel=0.1)
    others = [one["gradient_cosine"] for name, one in training.items() if name != "linear"]
    assert min(others) > 0.98
    assert training["linear"]["gradient_cosine"] is None


@environments
@linux
@slow
def test_the_benchmark_as_a_whole_keeps_what_its_runs_found(told: Any) -> None:
    (row,) = told["benchmark"]["models"]
    assert row["model"] == "small"
    assert set(row["contenders"]) == {"half", "half, qdoctor-switchback", "autocast", *GUIDE}
    for one in row["contenders"].values():
        assert one["image_cosine"] >= 0.999
        assert one["images_per_second"]["2"]["median"] > 0
    assert list(row["failed"]) == ["half, torch-nothing"]
    for name, one in row["training"].items():
        assert one["rows"] == 4
        assert name == "linear" or one["gradient_cosine"] > 0.98


def test_the_benchmark_says_what_it_needs(checkout: Path) -> None:
    command = [sys.executable, str(checkout / "benchmarks" / "openclip.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if importlib.util.find_spec("open_clip") is not None and done.returncode == 0:
        pytest.skip("this machine has all that it needs")
    assert done.returncode == 1
    assert done.stderr.startswith("needs ")
    assert "Traceback" not in done.stderr
