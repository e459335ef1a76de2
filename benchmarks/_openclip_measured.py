"""What OpenCLIP models answer, how fast they are and how they train. For openclip.py."""

# ruff: noqa: ANN401, PLC0415 - torch is untyped here, and imported on demand

from __future__ import annotations

import contextlib
import copy
import gc
import math
import statistics
import time
import warnings
from typing import TYPE_CHECKING, Any

from benchmarks._openclip_models import INCLUDE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks._openclip_models import Contender

COMPARED = 16
"""Images and texts whose features are compared."""
CALLS = 3
"""Calls of encode_image in a row that make one repetition."""
STEPS = 12


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
    made: dict[str, Contender],
    images: Any,
    repetitions: int,
    *,
    captured: bool = False,
    enough: float = math.inf,
) -> dict[str, dict[str, float]]:
    """Time encode_image of all contenders in turn: median images a second, and p10 and p90.

    captured: as CUDA graphs, which cost no time to launch; what cannot be captured is left out, as
    is what has no room. After ``enough`` seconds no further repetition begins.
    """
    calls: dict[str, Callable[[], Any]] = {}
    for label, contender in made.items():
        try:
            call = encoding(contender, images)
            call = graph_of(call) if captured else call
            seconds(call, images.device)  # the first compiles and warms up
        except TimeoutError:
            raise
        except Exception:  # noqa: BLE001 - what has no room, or refuses capture, is left out
            freed(images.device)
            continue
        calls[label] = call
    times: dict[str, list[float]] = {label: [] for label in calls}
    begun = time.monotonic()
    for repetition in range(repetitions):
        if repetition > 1 and time.monotonic() - begun > enough:
            break
        for label, call in calls.items():
            times[label].append(seconds(call, images.device))
    return {label: rate(len(images), all_) for label, all_ in times.items()}


def freed(device: Any) -> None:
    """Give unused memory back; after a capture that failed torch may refuse to."""
    import torch

    gc.collect()
    if device.type == "cuda":
        with contextlib.suppress(RuntimeError):
            torch.cuda.empty_cache()


def rate(rows: int, times: list[float]) -> dict[str, float]:
    """Turn the seconds of calls on so many images into images a second."""
    return {
        "median": rows / statistics.median(times),
        "p10": rows / quantile(times, 0.9),
        "p90": rows / quantile(times, 0.1),
    }


def encoding(contender: Contender, images: Any) -> Callable[[], Any]:
    """Return the call that encodes the images."""
    import torch

    images = images.to(next(contender.model.parameters()).dtype)

    def call() -> Any:
        with torch.no_grad(), contender.context():
            return contender.model.encode_image(images)

    return call


def graph_of(call: Callable[[], Any]) -> Callable[[], Any]:
    """Capture what the call launches; return what replays it.

    Raises ``RuntimeError`` for a call that waits for the GPU, before it is captured: a capture that
    fails leaves torch's allocator and random numbers as if it went on, for all that follows.
    """
    import torch

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        call()
        with waiting_refused():
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    replay: Callable[[], Any] = graph.replay
    return replay


@contextlib.contextmanager
def waiting_refused() -> Iterator[None]:
    """Let torch raise ``RuntimeError`` where an operation waits for the GPU."""
    import torch

    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():  # torch says that this mode misses some operations
        warnings.simplefilter("ignore")
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.cuda.set_sync_debug_mode(before)


def seconds(call: Callable[[], Any], device: Any) -> float:
    """Return what one of CALLS calls in a row takes, in seconds."""
    synchronise(device)
    start = time.perf_counter()
    for _ in range(CALLS):
        call()
    synchronise(device)
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


def kinds() -> dict[str, Any]:
    """Return the layers that are trained: by name, None for torch.nn.Linear as it is."""
    from qdoctor import nn

    return {
        "linear": None,
        "Global": nn.SwitchBackLinearGlobal,
        "Vectorwise": nn.SwitchBackLinearVectorwise,
        "GlobalMemEfficient": nn.SwitchBackLinearGlobalMemEfficient,
    }


def training(original: Any, device: Any, rows: int) -> dict[str, dict[str, Any]]:
    """Train each kind of layer for STEPS steps on one batch: see ``train``."""
    found: dict[str, dict[str, Any]] = {}
    wanted: list[Any] = []
    for name, layer in kinds().items():
        found[name], wanted = train(original, layer, device, rows, wanted)
    return found


def train(
    original: Any, layer: Any, device: Any, rows: int, wanted: list[Any]
) -> tuple[dict[str, Any], list[Any]]:
    """Train a copy of the model with that layer (None: as it is).

    Returns ms a step, first and last loss, and how the first step's gradients of the replaced
    weights compare with ``wanted``, those of another run: the least cosine, None where none are
    given; and the gradients that the next run is to be compared with, the first run's.
    """
    import torch
    from open_clip.utils import replace_linear

    model = copy.deepcopy(original)
    if layer is not None:
        with device:
            model = replace_linear(model, layer, include_modules=INCLUDE)
    model = model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5)
    batch = inputs(original, rows, device)
    losses, times, cosine = [], [], None
    for number in range(STEPS):
        synchronise(device)
        start = time.perf_counter()
        losses.append(step(model, optimizer, batch))
        synchronise(device)
        times.append(time.perf_counter() - start)
        if not number:
            got = gradients(model)
            cosine = least_cosine(got, wanted) if wanted else None
            wanted = wanted or got
            del got
    told = {
        "ms": 1000 * statistics.median(times[3:]),
        "first_loss": float(losses[0]),
        "last_loss": float(losses[-1]),
        "gradient_cosine": cosine,
    }
    return told, wanted


def gradients(model: Any) -> list[Any]:
    """Copy the gradients of the weights that the guide replaces, in the model's order."""
    import torch

    return [
        parameter.grad.to(torch.bfloat16, copy=True)
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and name.endswith(tuple(f"{one}.weight" for one in INCLUDE))
    ]


def least_cosine(got: list[Any], wanted: list[Any]) -> float:
    """Compare gradients weight by weight. Raises ``ValueError`` where they are not as many."""
    import torch

    pairs = zip(got, wanted, strict=True)
    cosine = torch.nn.functional.cosine_similarity
    return min(float(cosine(a.float().flatten(), b.float().flatten(), dim=0)) for a, b in pairs)


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
