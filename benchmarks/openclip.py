"""OpenCLIP with int8 feed-forward layers, for real: features, images a second, training steps.

A randomly initialised model of open_clip (no download), made int8 in two ways: the guide's, which
is ``open_clip.utils.replace_linear`` with a layer of qdoctor.nn, ``eval()``, then
``convert_int8_model_to_inference_mode``, under autocast; and ``quantize_`` of a backend on the
model in fp16. Features of both towers are compared with those of the same model in float32. Images
a second are those of ``encode_image`` as a caller sees it: wall time of some calls in a row, then
synchronised; contenders in turn, median of the repetitions. Where Python and launching take longer
than the GPU, that is what it shows: the larger batch is the one that shows the GPU. Training is
autocast to bf16, AdamW on one batch that repeats.

Features of an untrained model differ little between images. ``centred`` is therefore the cosine
after the batch's mean is taken off: what tells images apart, and the stricter number.

Usage: ``python benchmarks/openclip.py [--models ViT-L-14 ViT-H-14] [--batches 64 256]
[--backends qdoctor-switchback ...] [--compile] [--no-training] [--json FILE]``. Needs a CUDA GPU
and open_clip_torch.
"""

# ruff: noqa: ANN401, PLC0415 - torch is untyped here, and imported on demand

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import json
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

INCLUDE = ["c_fc", "c_proj"]
"""What the guide replaces: the feed-forward layers of both towers."""
COMPARED = 16
"""Images and texts whose features are compared."""
REPETITIONS = 7
CALLS = 3
"""Calls of encode_image in a row that make one repetition."""
STEPS = 12
TRAINED_ROWS = 64


class Contender(NamedTuple):
    """A model to measure, and the context it runs in."""

    model: Any
    context: Callable[[], Any]


def main() -> None:
    """Measure every model, print its tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=["ViT-L-14", "ViT-H-14"])
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--backends", nargs="*", default=["qdoctor-switchback", "bnb-int8"])
    parser.add_argument("--compile", action="store_true", help="also through torch.compile")
    parser.add_argument("--no-training", dest="training", action="store_false")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    told: dict[str, Any] = {"device": needed(), "models": []}
    in_full_precision()
    print(told["device"], flush=True)
    for name in options.models:
        told["models"].append(measure(name, options))
        if options.json:
            options.json.write_text(json.dumps(told, indent=1), encoding="utf-8")


def needed() -> dict[str, str]:
    """Say what this runs on; leave with a word where it cannot run."""
    try:
        import open_clip
        import torch
    except ImportError as error:
        sys.exit(f"needs torch and open_clip_torch: {error}")
    if not torch.cuda.is_available():
        sys.exit("needs a CUDA GPU")
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


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Compare, time and train one model."""
    import open_clip
    import torch

    torch.manual_seed(5)
    with torch.device("cuda"):
        original = open_clip.create_model(name, precision="fp32", device="cuda").eval()
    row: dict[str, Any] = {"model": name, "batches": options.batches, "contenders": {}}
    made, row["failed"] = contenders(original, options.backends, torch.device("cuda"))
    if options.compile:
        made |= compiled(made)
    exact = features(Contender(original, contextlib.nullcontext), original, torch.device("cuda"))
    for label, contender in made.items():
        row["contenders"][label] = {
            "mib": weight_mib(contender.model),
            **likeness(features(contender, original, torch.device("cuda")), exact),
            "images_per_second": {},
        }
    for batch in options.batches:
        timed = images_per_second(made, original, batch, torch.device("cuda"))
        for label, rate in timed.items():
            row["contenders"][label]["images_per_second"][batch] = rate
    show(row)
    made.clear()
    torch.cuda.empty_cache()
    if options.training:
        row["training"] = training(original, torch.device("cuda"), TRAINED_ROWS)
        show_training(row)
    return row


# The models


def contenders(
    original: Any, backends: list[str], device: Any
) -> tuple[dict[str, Contender], dict[str, str]]:
    """Make every contender from the original on the device, and say which could not be made."""
    import torch

    from qdoctor import nn

    plain, half = contextlib.nullcontext, functools.partial(torch.autocast, device.type)
    half = functools.partial(half, dtype=torch.float16 if device.type == "cuda" else torch.bfloat16)
    made = {
        "autocast": Contender(copy.deepcopy(original).to(device), half),
        "half": Contender(in_half(original, device), plain),
        "guide, Global": Contender(the_guide(original, nn.SwitchBackLinear, device), half),
        "guide, Vectorwise": Contender(
            the_guide(original, nn.SwitchBackLinearVectorwise, device), half
        ),
    }
    failed = {}
    for name in backends:
        try:
            made[f"half, {name}"] = Contender(by_backend(original, name, device), plain)
        except Exception as error:  # noqa: BLE001, PERF203 - a backend that fails is a result
            failed[name] = f"{type(error).__name__}: {error}"
    return made, failed


def the_guide(original: Any, layer: Any, device: Any) -> Any:
    """Make the model int8 as OpenCLIP's guide does."""
    from open_clip.utils import convert_int8_model_to_inference_mode, replace_linear

    model = replace_linear(copy.deepcopy(original), layer, include_modules=INCLUDE)
    model = model.to(device).eval()
    convert_int8_model_to_inference_mode(model)
    return model


def in_half(original: Any, device: Any) -> Any:
    """Copy the model in the 16-bit type of the device."""
    import torch

    dtype = torch.float16 if device.type == "cuda" else torch.bfloat16
    return copy.deepcopy(original).to(device=device, dtype=dtype).eval()


def by_backend(original: Any, name: str, device: Any) -> Any:
    """Give the feed-forward layers of the model in half precision to a backend."""
    from qdoctor.backends import named
    from qdoctor.backends.replacing import quantize_

    model = in_half(original, device)
    done = quantize_(model, named(name), include=INCLUDE)
    if not done.replaced:
        raise RuntimeError(f"nothing was replaced: {done.skipped}")
    return model


def compiled(made: dict[str, Contender]) -> dict[str, Contender]:
    """Make twins of the contenders in half precision whose image tower is compiled."""
    import torch

    twins = {}
    for label, contender in made.items():
        if label.startswith("half"):
            model = copy.deepcopy(contender.model)
            model.visual = torch.compile(model.visual)
            twins[f"{label}, compiled"] = Contender(model, contender.context)
    return twins


# What is measured


def inputs(original: Any, rows: int, device: Any) -> tuple[Any, Any]:
    """Make images (rows x 3 x size x size) and texts (rows x context), seeded."""
    import torch

    generator = torch.Generator().manual_seed(rows)
    height, width = original.visual.image_size
    images = torch.randn(rows, 3, height, width, generator=generator)
    texts = torch.randint(
        1, original.vocab_size - 2, (rows, original.context_length), generator=generator
    )
    texts[:, -1] = original.vocab_size - 1  # the end of the text: its largest token
    return images.to(device), texts.to(device)


def features(contender: Contender, original: Any, device: Any) -> tuple[Any, Any]:
    """Compute the features of images and texts (COMPARED x dim each, float64)."""
    import torch

    images, texts = inputs(original, COMPARED, device)
    dtype = next(contender.model.parameters()).dtype
    with torch.no_grad(), contender.context():
        got = contender.model.encode_image(images.to(dtype)), contender.model.encode_text(texts)
    return got[0].double(), got[1].double()


def likeness(got: tuple[Any, Any], exact: tuple[Any, Any]) -> dict[str, float]:
    """Compare features with the exact ones: the worst cosine, as they are and centred."""
    import torch

    told = {}
    for what, ours, wanted in zip(("image", "text"), got, exact, strict=True):
        cosine = torch.nn.functional.cosine_similarity(ours, wanted, dim=-1)
        centred = torch.nn.functional.cosine_similarity(
            ours - ours.mean(0), wanted - wanted.mean(0), dim=-1
        )
        told[f"{what}_cosine"] = float(cosine.min())
        told[f"{what}_centred"] = float(centred.min())
        told[f"{what}_rel_error"] = float((ours - wanted).norm() / wanted.norm())
    return told


def weight_mib(model: Any) -> float:
    """Return the size of the model's parameters and buffers in MiB."""
    tensors = [*model.parameters(), *model.buffers()]
    return sum(int(tensor.numel() * tensor.element_size()) for tensor in tensors) / 2**20


def images_per_second(
    made: dict[str, Contender], original: Any, rows: int, device: Any
) -> dict[str, dict[str, float]]:
    """Time encode_image of all contenders in turn: median images a second, and p10 and p90."""
    images, _ = inputs(original, rows, device)
    times: dict[str, list[float]] = {label: [] for label in made}
    for repetition in range(REPETITIONS + 2):
        for label, contender in made.items():
            took = encoding(contender, images)
            if repetition >= 2:  # noqa: PLR2004 - the first compile and warm up
                times[label].append(took)
    return {
        label: {
            "median": rows / statistics.median(all_),
            "p10": rows / quantile(all_, 0.9),
            "p90": rows / quantile(all_, 0.1),
        }
        for label, all_ in times.items()
    }


def encoding(contender: Contender, images: Any) -> float:
    """Return the seconds that one of CALLS calls of encode_image takes."""
    import torch

    images = images.to(next(contender.model.parameters()).dtype)
    synchronise(images.device)
    start = time.perf_counter()
    for _ in range(CALLS):
        with torch.no_grad(), contender.context():
            contender.model.encode_image(images)
    synchronise(images.device)
    return (time.perf_counter() - start) / CALLS


def synchronise(device: Any) -> None:
    """Wait for the device, if it runs on its own."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def quantile(values: list[float], share: float) -> float:
    """Return the value below which that share of them lies."""
    return sorted(values)[round(share * (len(values) - 1))]


# Training


def training(original: Any, device: Any, rows: int) -> dict[str, dict[str, float]]:
    """Train each kind of layer for STEPS steps on one batch: ms a step, first and last loss."""
    from qdoctor import nn

    layers = {
        "linear": None,
        "Global": nn.SwitchBackLinearGlobal,
        "GlobalMemEfficient": nn.SwitchBackLinearGlobalMemEfficient,
        "Vectorwise": nn.SwitchBackLinearVectorwise,
    }
    return {name: train(original, layer, device, rows) for name, layer in layers.items()}


def train(original: Any, layer: Any, device: Any, rows: int) -> dict[str, float]:
    """Train a copy of the model with that layer (None: as it is)."""
    import torch
    from open_clip.utils import replace_linear

    model = copy.deepcopy(original)
    if layer is not None:
        model = replace_linear(model, layer, include_modules=INCLUDE)
    model = model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    batch = inputs(original, rows, device)
    losses, times = [], []
    for _ in range(STEPS):
        synchronise(device)
        start = time.perf_counter()
        losses.append(step(model, optimizer, batch))
        synchronise(device)
        times.append(time.perf_counter() - start)
    return {
        "ms": 1000 * statistics.median(times[3:]),
        "first_loss": float(losses[0]),
        "last_loss": float(losses[-1]),
    }


def step(model: Any, optimizer: Any, batch: tuple[Any, Any]) -> Any:
    """Take one step of contrastive training; return the loss before it."""
    import torch
    from open_clip import ClipLoss

    images, texts = batch
    with torch.autocast(images.device.type, dtype=torch.bfloat16):
        image, text, scale = model(images, texts)[:3]
        loss = ClipLoss()(image, text, scale)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


# What is printed


def show(row: dict[str, Any]) -> None:
    """Print one model's table: features beside float32's, images a second beside half's."""
    print(f"\n{row['model']}: cosine of the features to float32's (worst of {COMPARED}), images/s")
    for label, one in row["contenders"].items():
        rates = []
        for batch, rate in one["images_per_second"].items():
            half = row["contenders"]["half"]["images_per_second"][batch]["median"]
            rates.append(f"{batch}: {rate['median']:7.0f}/s x{rate['median'] / half:.2f}")
        print(
            f"  {label:28} {one['mib']:6.0f} MiB  image {one['image_cosine']:.5f} "
            f"(centred {one['image_centred']:.4f})  text {one['text_cosine']:.5f} "
            f"(centred {one['text_centred']:.4f})  {'  '.join(rates)}",
            flush=True,
        )
    for name, why in row["failed"].items():
        print(f"  {name}: {why}", flush=True)


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
