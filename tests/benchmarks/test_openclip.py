"""benchmarks/openclip.py without OpenCLIP: what it times, compares, keeps and prints.

tests/integration/test_openclip.py runs it as a whole.
"""

# ruff: noqa: ANN401 - torch and the benchmark's modules are loaded

from __future__ import annotations

import contextlib
import importlib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def openclip(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(checkout))
    return importlib.import_module("benchmarks.openclip")


@pytest.fixture
def measured(openclip: Any) -> Any:
    assert openclip
    return importlib.import_module("benchmarks._openclip_measured")


def contender(encode: Any) -> Any:
    torch = pytest.importorskip("torch")
    models = importlib.import_module("benchmarks._openclip_models")

    class Model(torch.nn.Linear):  # type: ignore[misc, name-defined]
        def encode_image(self, images: Any) -> Any:
            return encode(self, images)

    return models.Contender(Model(4, 3), contextlib.nullcontext)


def test_what_has_no_room_is_left_out_of_the_speeds(measured: Any) -> None:
    torch = pytest.importorskip("torch")

    def full(_model: Any, _images: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    made = {"half": contender(lambda model, images: model(images)), "large": contender(full)}
    found = measured.images_per_second(made, torch.randn(6, 4), 4)
    assert set(found) == {"half"}
    one = found["half"]
    assert 0 < one["p10"] <= one["median"] <= one["p90"]


def test_a_step_that_ran_out_of_time_is_no_contender_left_out(measured: Any) -> None:
    torch = pytest.importorskip("torch")

    def late(_model: Any, _images: Any) -> Any:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        measured.images_per_second({"half": contender(late)}, torch.randn(6, 4), 4)


def test_after_enough_seconds_no_repetition_begins(measured: Any) -> None:
    torch = pytest.importorskip("torch")
    calls = []

    def counted(model: Any, images: Any) -> Any:
        calls.append(1)
        return model(images)

    measured.images_per_second({"half": contender(counted)}, torch.randn(6, 4), 50, enough=0.0)
    assert len(calls) == 3 * measured.CALLS  # one to warm up, and the two that make a median


def test_images_a_second_are_of_the_median_call(measured: Any) -> None:
    assert measured.rate(10, [1.0, 2.0, 4.0]) == {"median": 5.0, "p10": 2.5, "p90": 10.0}


def test_gradients_are_compared_weight_by_weight(measured: Any) -> None:
    torch = pytest.importorskip("torch")
    same, other = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert measured.least_cosine([same, same], [2 * same, same]) == pytest.approx(1.0)
    assert measured.least_cosine([same, same], [same, other]) == pytest.approx(0.0)
    with pytest.raises(ValueError, match="zip"):
        measured.least_cosine([same], [same, same])


def test_centred_features_are_judged_without_what_all_have_in_common(measured: Any) -> None:
    torch = pytest.importorskip("torch")
    exact = torch.tensor([[100.0, 1.0], [100.0, -1.0]], dtype=torch.float64)
    swapped = exact.flip(0)
    told = measured.likeness((swapped, exact), (exact, exact))
    assert told["image_cosine"] > 0.999
    assert told["image_centred"] == pytest.approx(-1.0)
    assert told["text_centred"] == pytest.approx(1.0)


def test_figures_of_another_device_are_not_added_to(openclip: Any, tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    assert openclip.kept(path, {"gpu": "a"}) == {"device": {"gpu": "a"}, "models": []}
    path.write_text('{"device": {"gpu": "a"}, "models": [1]}', encoding="utf-8")
    assert openclip.kept(path, {"gpu": "a"})["models"] == [1]
    with pytest.raises(SystemExit, match="name another file"):
        openclip.kept(path, {"gpu": "b"})


def test_who_could_not_be_measured_is_named(
    openclip: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    rate = {"median": 20.0, "p10": 19.0, "p90": 21.0}
    rates = {"half": rate, "int8": {**rate, "median": 30.0}}
    openclip.show_speed("64 as a graph", rates, ["half", "int8", "bnb"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "  images a second, 64 as a graph"
    assert lines[2].split() == ["int8", "30", "[19", "21]", "x1.50"]
    assert lines[3].split(None, 1) == ["bnb", "cannot be measured so"]


def test_memory_that_torch_keeps_to_itself_ends_nothing(
    measured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")

    def refuse() -> None:
        raise RuntimeError("captures_underway.empty() INTERNAL ASSERT FAILED")

    monkeypatch.setattr(torch.cuda, "empty_cache", refuse)
    measured.freed(torch.device("cuda"))


@pytest.mark.gpu
def test_what_waits_for_the_gpu_is_refused_before_it_is_captured(measured: Any) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")
    images = torch.randn(8, 4, device="cuda", dtype=torch.float16)

    def waits(model: Any, images: Any) -> Any:
        return model(images) * float(images.sum())

    made = {"half": contender(lambda model, images: model(images)), "waits": contender(waits)}
    for one in made.values():
        one.model.half().cuda()
    found = measured.images_per_second(made, images, 2, captured=True)
    assert set(found) == {"half"}
    assert torch.cuda.get_sync_debug_mode() == 0
    torch.cuda.empty_cache()
    torch.nn.init.normal_(torch.empty(4, device="cuda"))
