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

Usage: ``python benchmarks/openclip.py [--models ViT-L-14 ViT-H-14] [--batches 64 256]
[--repetitions 6] [--backends qdoctor-switchback ...] [--select] [--compile] [--no-training]
[--json FILE]``. With
``--select`` also with what ``qdoctor.select_backend`` takes for latency on the model's own layers.
Needs a CUDA GPU and open_clip_torch.
"""

# ruff: noqa: ANN401, E402, PLC0415 - torch is untyped here, and imported on demand; see sys.path

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import sys
from pathlib import Path
from typing import Any

_ROOT = str(Path(__file__).resolve().parent.parent)
if sys.path[0] != _ROOT:  # in place of this folder, whose inspect.py is not the library's
    sys.path[:1] = [_ROOT]

from benchmarks._openclip_measured import (
    COMPARED,
    features,
    images_per_second,
    inputs,
    likeness,
    training,
    weight_mib,
)
from benchmarks._openclip_models import Contender, compiled, contenders, selected

TRAINED_ROWS = 64


def main() -> None:
    """Measure every model, print its tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=["ViT-L-14", "ViT-H-14"])
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--repetitions", type=int, default=6)
    parser.add_argument("--backends", nargs="*", default=["qdoctor-switchback", "bnb-int8"])
    parser.add_argument("--select", action="store_true", help="also what select_backend takes")
    parser.add_argument("--compile", action="store_true", help="also through torch.compile")
    parser.add_argument("--no-training", dest="training", action="store_false")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    told: dict[str, Any] = {"device": needed(), "models": []}
    device = importlib.import_module("torch").device("cuda")
    in_full_precision()
    print(told["device"], flush=True)
    for name in options.models:
        told["models"].append(measure(name, options, device))
        if options.json:
            options.json.write_text(json.dumps(told, indent=1), encoding="utf-8")


def needed() -> dict[str, str]:
    """Say what this runs on; leave with a word where it cannot run."""
    try:
        import torch
    except ImportError as error:
        sys.exit(f"needs torch: {error}")
    if not torch.cuda.is_available():
        sys.exit("needs a CUDA GPU")
    try:
        import open_clip
    except Exception as error:  # noqa: BLE001 - a torchvision of another torch fails in any way
        sys.exit(f"needs open_clip_torch: {type(error).__name__}: {error}")
    return {
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "open_clip": open_clip.__version__,
    }


def in_full_precision() -> None:
    """Make float32 mean float32, so that what others are compared with is exact."""
    import torch

    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")


def measure(name: str, options: argparse.Namespace, device: Any) -> dict[str, Any]:
    """Compare, time and train one model."""
    import open_clip
    import torch

    torch.manual_seed(5)
    with device:
        original = open_clip.create_model(name, precision="fp32", device=device).eval()
    row: dict[str, Any] = {"model": name, "batches": options.batches, "contenders": {}}
    made, row["failed"] = contenders(original, options.backends, device)
    if options.select:
        row["selected"], made["half, select_backend"] = selected(original, max(options.batches))
    if options.compile:
        made |= compiled(made)
    exact = features(Contender(original, contextlib.nullcontext), original, device)
    for label, contender in made.items():
        row["contenders"][label] = {
            "mib": weight_mib(contender.model),
            **likeness(features(contender, original, device), exact),
            "images_per_second": {},
        }
    for batch in options.batches:
        images, _ = inputs(original, batch, device)
        for captured in (False, True)[: 1 + images.is_cuda]:
            timed = images_per_second(made, images, options.repetitions, captured=captured)
            for label, rate in timed.items():
                what = f"{batch} as a graph" if captured else f"{batch}"
                row["contenders"][label]["images_per_second"][what] = rate
    show(row)
    made.clear()
    torch.cuda.empty_cache()
    if options.training:
        row["training"] = training(original, device, TRAINED_ROWS)
        show_training(row)
    return row


def show(row: dict[str, Any]) -> None:
    """Print one model's tables: features beside float32's, images a second beside half's."""
    print(f"\n{row['model']}: cosine of the features to float32's (worst of {COMPARED}), images/s")
    for label, one in row["contenders"].items():
        print(
            f"  {label:28} {one['mib']:6.0f} MiB  image {one['image_cosine']:.5f} "
            f"(centred {one['image_centred']:.4f})  text {one['text_cosine']:.5f} "
            f"(centred {one['text_centred']:.4f})"
        )
    for what in row["contenders"]["half"]["images_per_second"]:
        half = row["contenders"]["half"]["images_per_second"][what]["median"]
        print(f"  images a second, {what}")
        for label, one in row["contenders"].items():
            rate = one["images_per_second"].get(what)
            if rate is None:
                print(f"    {label:26} cannot be captured")
                continue
            low, middle, high = rate["p10"], rate["median"], rate["p90"]
            ratio = middle / half
            print(f"    {label:26} {middle:7.0f} [{low:.0f} {high:.0f}] x{ratio:.2f}", flush=True)
    for name, why in row["failed"].items():
        print(f"  {name}: {why}", flush=True)
    if "selected" in row:
        print(
            f"  select_backend took {row['selected']['name']}:", row["selected"]["why"], flush=True
        )


def show_training(row: dict[str, Any]) -> None:
    """Print what a training step takes and where the loss goes."""
    base = row["training"]["linear"]["ms"]
    for name, one in row["training"].items():
        print(
            f"  training, {name:20} {one['ms']:7.1f} ms a step x{base / one['ms']:.2f}  "
            f"loss {one['first_loss']:.3f} -> {one['last_loss']:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
