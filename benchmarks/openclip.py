"""OpenCLIP with int8 feed-forward layers, for real: features, images a second, training steps.

A randomly initialised model of open_clip (no download), made int8 in two ways: the guide's, which
is ``open_clip.utils.replace_linear`` with a layer of qdoctor.nn, ``eval()``, then
``convert_int8_model_to_inference_mode``, under autocast; and ``quantize_`` of a backend on the
model in fp16. Features of both towers are compared with those of the same model in float32. Images
a second are those of ``encode_image`` as a caller sees it: wall time of some calls in a row, then
synchronised; contenders in turn, median of the repetitions. Where Python and launching take longer
than the GPU, that is what it shows; ``as a graph`` is the same captured as a CUDA graph, the GPU
alone. Training is autocast to bf16, AdamW on one batch that repeats.

Features of an untrained model differ little between images. ``centred`` is therefore the cosine
after the batch's mean is taken off: what tells images apart, and the stricter number.

Each step is told as it begins and ends, and the file of ``--json`` is written after each. A step
that takes too long, or for which ``--budget`` has no time left, is left out, and ``failed`` says
so. A further run with the same file adds to it: ``--phases`` says what it does.

Usage: ``python benchmarks/openclip.py [--models ViT-L-14 ViT-H-14] [--batches 64 256]
[--repetitions 6] [--backends qdoctor-switchback ...] [--phases features speed training select]
[--compile] [--budget 300] [--select-budget 10] [--json FILE]``. ``select`` is what
``qdoctor.select_backend`` takes for latency on the model's own layers. A model may be the path of a
configuration file of open_clip. Needs a CUDA GPU and open_clip_torch; ``--device cpu`` tries the
script out.
"""

# ruff: noqa: ANN401, E402, PLC0415 - torch is untyped here, and imported on demand; see sys.path

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

_ROOT = str(Path(__file__).resolve().parent.parent)
if sys.path[0] != _ROOT:  # in place of this folder, whose inspect.py is not the library's
    sys.path[:1] = [_ROOT]

from benchmarks._openclip_measured import (
    COMPARED,
    features,
    freed,
    images_per_second,
    inputs,
    kinds,
    likeness,
    train,
    weight_mib,
)
from benchmarks._openclip_models import Contender, compiled, makers, selected
from benchmarks._phases import Phases

if TYPE_CHECKING:
    from collections.abc import Callable

TRAINED_ROWS = 64
PHASES = ("features", "speed", "training", "select")
CREATE, FEATURES, SPEED, TRAIN = 90.0, 60.0, 60.0, 60.0
"""Seconds that one step may take: a model; one contender; one batch of all; one kind of layer."""
SELECT = 150.0
SELECTED = "half, select_backend"


def main(arguments: list[str] | None = None) -> None:
    """Measure every model, printing as it goes; keep the JSON."""
    options = _options(arguments)
    about = needed(options.device)
    told = kept(options.json, about)
    device = importlib.import_module("torch").device(options.device)
    in_full_precision()
    print(about, flush=True)
    phases = Phases(options.budget)
    for name in options.models:
        row = next((one for one in told["models"] if one["model"] == Path(name).stem), None)
        if row is None:
            row = {"model": Path(name).stem, "batches": [], "contenders": {}, "failed": {}}
            told["models"].append(row)
        Measuring(row, options, device, phases, told).run(name)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=["ViT-L-14", "ViT-H-14"])
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--repetitions", type=int, default=6)
    parser.add_argument("--backends", nargs="*", default=["qdoctor-switchback", "bnb-int8"])
    parser.add_argument("--phases", nargs="+", choices=PHASES, default=list(PHASES))
    parser.add_argument("--compile", action="store_true", help="also through torch.compile")
    parser.add_argument("--trained-rows", type=int, default=TRAINED_ROWS)
    parser.add_argument("--budget", type=float, default=math.inf, help="seconds for all of it")
    parser.add_argument("--select-budget", type=float, default=10.0, help="of select_backend")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--json", type=Path)
    return parser.parse_args(arguments)


def kept(path: Path | None, about: dict[str, str]) -> dict[str, Any]:
    """Return what earlier runs of the same device and versions left; leave where others did."""
    if path is None or not path.exists():
        return {"device": about, "models": []}
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if told.get("device") != about:
        sys.exit(f"{path} holds figures of {told.get('device')}, not of {about}: name another file")
    return told


def needed(device: str) -> dict[str, str]:
    """Say what this runs on; leave with a word where it cannot run."""
    try:
        import torch
    except ImportError as error:
        sys.exit(f"needs torch: {error}")
    if device != "cpu" and not torch.cuda.is_available():
        sys.exit("needs a CUDA GPU")
    try:
        import open_clip
    except Exception as error:  # noqa: BLE001 - a torchvision of another torch fails in any way
        sys.exit(f"needs open_clip_torch: {type(error).__name__}: {error}")
    return {
        "gpu": torch.cuda.get_device_name() if device != "cpu" else "none: a trial on the CPU",
        "torch": torch.__version__,
        "open_clip": open_clip.__version__,
    }


def in_full_precision() -> None:
    """Make float32 mean float32, so that what others are compared with is exact."""
    import torch

    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")


class Measuring:
    """Compares, times and trains one model, step by step; ``row`` is what is known of it."""

    def __init__(
        self, row: dict[str, Any], options: Any, device: Any, phases: Phases, told: dict[str, Any]
    ) -> None:
        """``told`` is what is kept after each step: all rows."""
        self.row, self.options, self.device = row, options, device
        self.phases, self.told = phases, told
        phases.failed = row["failed"]
        self.made: dict[str, Contender] = {}

    def run(self, name: str) -> None:
        """Go through the phases that were asked for."""
        print(f"\n{self.row['model']}", flush=True)
        original = self.phases.run("create the model", CREATE, lambda: self._model(name))
        if original is None:
            self._keep()
            return
        asked = self.options.phases
        if {"features", "speed"} & set(asked):
            self._features(original)
        if self.options.compile:
            self.made |= compiled(self.made)
        if "speed" in asked:
            self._speed(original, self.made)
        self.made.clear()
        freed(self.device)
        if "training" in asked:
            self._training(original)
        if "select" in asked:  # last: it takes as long as all before
            self._select(original)

    def _model(self, name: str) -> Any:
        import open_clip
        import torch

        torch.manual_seed(5)
        if name.endswith(".json"):
            open_clip.add_model_config(name)
        with self.device:
            known = Path(name).stem if name.endswith(".json") else name
            return open_clip.create_model(known, precision="fp32", device=self.device).eval()

    def _features(self, original: Any) -> None:
        exact = self.phases.run(
            "features in float32", FEATURES,
            lambda: features(Contender(original, contextlib.nullcontext), original, self.device),
        )  # fmt: skip
        for label, make in makers(original, self.options.backends, self.device).items():
            self.phases.run(
                label, FEATURES, functools.partial(self._like, original, label, make, exact)
            )
            self._keep()

    def _like(self, original: Any, label: str, make: Callable[[], Contender], exact: Any) -> None:
        contender = make()
        found = {"mib": weight_mib(contender.model)}
        if exact is not None:
            found |= likeness(features(contender, original, self.device), exact)
        self.made[label] = contender
        self._contender(label).update(found)
        show_features(label, found)

    def _contender(self, label: str) -> dict[str, Any]:
        one: dict[str, Any] = self.row["contenders"].setdefault(label, {})
        one.setdefault("images_per_second", {})
        return one

    def _speed(self, original: Any, made: dict[str, Contender]) -> None:
        for captured in (False, True)[: 1 + (self.device.type == "cuda")]:
            for batch in sorted(self.options.batches, reverse=True):
                if batch not in self.row["batches"]:
                    self.row["batches"].append(batch)
                what = f"{batch} as a graph" if captured else f"{batch}"
                rates = self.phases.run(
                    f"images a second, {what}", SPEED,
                    functools.partial(self._rates, original, made, batch, captured=captured),
                )  # fmt: skip
                for label, one in (rates or {}).items():
                    self._contender(label)["images_per_second"][what] = one
                if rates:
                    show_speed(what, rates, list(made))
                freed(self.device)
                self._keep()

    def _rates(
        self, original: Any, made: dict[str, Contender], batch: int, *, captured: bool
    ) -> dict[str, dict[str, float]]:
        images, _ = inputs(original, batch, self.device)
        count = self.options.repetitions
        return images_per_second(made, images, count, captured=captured, enough=SPEED / 2)

    def _select(self, original: Any) -> None:
        chosen = self.phases.run(
            f"select_backend for {max(self.options.batches)} images", SELECT,
            lambda: selected(
                original, max(self.options.batches), self.device, self.options.select_budget
            ),
        )  # fmt: skip
        if chosen is None:
            self._keep()
            return
        self.row["selected"], contender = chosen
        print(
            f"  select_backend took {chosen[0]['name']} in {chosen[0]['seconds']:.1f} s, "
            f"{chosen[0]['replaced']} layers replaced: {chosen[0]['why']}",
            flush=True,
        )
        half = makers(original, [], self.device)["half"]()
        self._contender(SELECTED)["mib"] = weight_mib(contender.model)
        self._speed(original, {"half": half, SELECTED: contender})

    def _training(self, original: Any) -> None:
        wanted: list[Any] = []
        rows = self.options.trained_rows

        def one(layer: Any) -> tuple[dict[str, Any], list[Any]]:
            return train(original, layer, self.device, rows, wanted)

        for name, layer in kinds().items():
            found = self.phases.run(f"training, {name}", TRAIN, functools.partial(one, layer))
            freed(self.device)
            if found is not None:
                figures, wanted = found
                self.row.setdefault("training", {})[name] = {**figures, "rows": rows}
            self._keep()
        if self.row.get("training"):
            show_training(self.row)

    def _keep(self) -> None:
        path = self.options.json
        if path is not None:
            part = path.with_name(path.name + ".part")
            part.write_text(json.dumps(self.told, indent=1), encoding="utf-8")
            part.replace(path)


def show(row: dict[str, Any]) -> None:
    """Print one model's tables: features beside float32's, images a second beside half's."""
    print(f"\n{row['model']}: cosine of the features to float32's (worst of {COMPARED}), images/s")
    for label, one in row["contenders"].items():
        show_features(label, one)
    speeds = {label: one["images_per_second"] for label, one in row["contenders"].items()}
    for what in speeds["half"]:
        rates = {label: one[what] for label, one in speeds.items() if what in one}
        show_speed(what, rates, list(speeds))
    for name, why in row["failed"].items():
        print(f"  {name}: {why}", flush=True)


def show_features(label: str, one: dict[str, Any]) -> None:
    """Print how like a contender's features are, and what its weights take."""
    words = [f"  {label:28} {one['mib']:6.0f} MiB"]
    for tower in ("image", "text"):
        if f"{tower}_cosine" in one:
            cosine, centred = one[f"{tower}_cosine"], one[f"{tower}_centred"]
            words.append(f"{tower} {cosine:.5f} (centred {centred:.4f})")
    print("  ".join(words), flush=True)


def show_speed(what: Any, rates: dict[str, dict[str, float]], labels: list[str]) -> None:
    """Print images a second beside half's, and who could not be measured."""
    half = rates.get("half", {}).get("median")
    print(f"  images a second, {what}")
    for label in labels:
        one = rates.get(label)
        if one is None:
            print(f"    {label:26} cannot be measured so")
            continue
        ratio = f" x{one['median'] / half:.2f}" if half else ""
        low, middle, high = one["p10"], one["median"], one["p90"]
        print(f"    {label:26} {middle:7.0f} [{low:.0f} {high:.0f}]{ratio}", flush=True)


def show_training(row: dict[str, Any]) -> None:
    """Print what a training step takes, where the loss goes, and how like the gradients are."""
    base = row["training"].get("linear", {}).get("ms")
    for name, one in row["training"].items():
        ratio = f" x{base / one['ms']:.2f}" if base else ""
        like = one["gradient_cosine"]
        words = "" if like is None else f"  gradients' cosine to linear's >= {like:.4f}"
        print(
            f"  training, {name:20} {one['ms']:7.1f} ms a step{ratio}  "
            f"loss {one['first_loss']:.3f} -> {one['last_loss']:.3f}{words}",
            flush=True,
        )


if __name__ == "__main__":
    main()
