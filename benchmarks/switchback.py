"""What qdoctor.nn.SwitchBackLinear gains: against torch.nn.Linear in bf16 and bitsandbytes' int8.

Forward with prepared weights, and forward + backward, for transformer shapes. Every contender of a
cell runs in turn (A B C A B C ...), after writes that are larger than any cache and take longer
than all its launches, so that a time is the GPU's own, operands coming from memory: CUDA events,
median and the 10th to 90th percentile. ``call`` is the wall time of one of 20 calls in a row: where
it is the larger, Python and launching are what takes the time in eager mode. The relative error is
that of the first 256 rows' forward against float64.

Usage: ``python benchmarks/switchback.py [--rows 16 256 ...] [--shapes 1024x4096 ...]
[--seconds 0.1] [--json FILE]``. Needs a CUDA GPU.
"""

# ruff: noqa: ANN401, PLC0415 - torch is untyped here, and imported on demand

from __future__ import annotations

import argparse
import contextlib
import json
import math
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROWS = (16, 256, 4096, 16384)
SHAPES = ("1024x4096", "4096x1024", "1280x5120", "5120x1280", "4096x4096", "8192x8192")
CHECKED_ROWS = 256
FLUSHED_BYTES = 512 * 2**20
COVER_MS = 2.0
"""GPU work queued before each call at least: below, the first contender after a wait ran dry."""
LEAST, MOST = 10, 100
Call = Callable[[], Any]


def main() -> None:
    """Measure every cell, print a line each, then what the speedups come to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="KxN")
    parser.add_argument("--seconds", type=float, default=0.1, help="for a contender in a cell")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        sys.exit("needs a CUDA GPU")
    warnings.filterwarnings("ignore", message="MatMul8bitLt: inputs will be cast")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, peer: {_peer_version()}")
    cells = []
    for shape in options.shapes:
        depth, columns = (int(word) for word in shape.split("x"))
        for rows in options.rows:
            for passes in ("forward", "forward+backward"):
                cells.append(measure(torch, (rows, depth, columns), passes, options.seconds))
                print(line(cells[-1]), flush=True)
    for text in summary(cells):
        print(text)
    if options.json:
        options.json.write_text(json.dumps(cells, indent=1), encoding="utf-8")


def measure(torch: Any, shape: tuple[int, int, int], passes: str, seconds: float) -> dict[str, Any]:
    """Time all contenders on one shape (rows, depth, columns) of one kind of pass."""
    torch.manual_seed(7)
    layers = _layers(torch, shape, training=passes != "forward")
    calls, errors, failed = {}, {}, {}
    for name, (layer, dtype) in layers.items():
        x = torch.randn(shape[0], shape[1], device="cuda", dtype=dtype)
        try:
            errors[name] = _error(torch, layer, layers["linear"][0], x)
            calls[name] = _call(torch, layer, x, training=passes != "forward")
            for _ in range(3):
                calls[name]()
            torch.cuda.synchronize()
        except Exception as error:  # noqa: BLE001 - a peer that fails is a result
            calls.pop(name, None)
            failed[name] = f"{type(error).__name__}: {error}"[:200]
    call_ms = {name: _call_milliseconds(torch, call) for name, call in calls.items()}
    times = _times(torch, calls, call_ms, seconds)
    rows, depth, columns = shape
    return {
        "rows": rows, "depth": depth, "columns": columns, "passes": passes, "failed": failed,
        "contenders": {
            name: {
                "ms": statistics.median(times[name]),
                "p10": _quantile(times[name], 0.1), "p90": _quantile(times[name], 0.9),
                "repetitions": len(times[name]),
                "call_ms": call_ms[name],
                "rel_error": errors[name],
            }
            for name in calls
        },
    }  # fmt: skip


def _layers(
    torch: Any, shape: tuple[int, int, int], *, training: bool
) -> dict[str, tuple[Any, Any]]:
    """Make every contender with one and the same weight, and the dtype of input it is best at."""
    from qdoctor import nn

    _, depth, columns = shape
    linear = torch.nn.Linear(depth, columns, device="cuda", dtype=torch.bfloat16)
    made = {"linear": (linear, torch.bfloat16)}
    kinds = {"switchback-vector": nn.SwitchBackLinearVectorwise}
    kinds["switchback-global"] = nn.SwitchBackLinearGlobal
    if training:
        kinds["switchback-mem-efficient"] = nn.SwitchBackLinearGlobalMemEfficient
    for name, kind in kinds.items():
        layer = kind(depth, columns, device="cuda", dtype=torch.bfloat16)
        layer.load_state_dict(linear.state_dict())
        if not training:
            layer.eval().prepare_for_eval()
        made[name] = (layer, torch.bfloat16)
    with contextlib.suppress(Exception):
        made["Linear8bitLt"] = (_bitsandbytes(torch, linear, training=training), torch.float16)
    return made


def _bitsandbytes(torch: Any, linear: Any, *, training: bool) -> Any:
    import bitsandbytes

    layer = bitsandbytes.nn.Linear8bitLt(
        linear.in_features, linear.out_features, has_fp16_weights=training, threshold=0.0
    )
    layer.load_state_dict({name: t.cpu() for name, t in linear.half().state_dict().items()})
    linear.to(torch.bfloat16)
    layer = layer.half().cuda()
    return layer.train(training)


def _peer_version() -> str:
    try:
        import bitsandbytes
    except Exception as error:  # noqa: BLE001 - its import may fail in any way
        return f"none ({type(error).__name__}: {error})"
    return f"bitsandbytes {bitsandbytes.__version__}"


def _call(torch: Any, layer: Any, x: Any, *, training: bool) -> Call:
    if not training:

        def forward() -> Any:
            with torch.no_grad():
                return layer(x)

        return forward
    x = x.requires_grad_()
    grad = torch.randn(x.shape[0], layer.out_features, device="cuda", dtype=x.dtype)

    def both() -> None:
        x.grad = None
        layer.zero_grad(set_to_none=True)
        layer(x).backward(grad)

    return both


def _error(torch: Any, layer: Any, linear: Any, x: Any) -> float:
    some = x[:CHECKED_ROWS].detach()
    with torch.no_grad():
        wanted = some.double() @ linear.weight.double().t() + linear.bias.double()
        return float((layer(some).double() - wanted).norm() / wanted.norm())


def _times(
    torch: Any, calls: dict[str, Call], call_ms: dict[str, float], seconds: float
) -> dict[str, list[float]]:
    """Milliseconds of single calls, contenders in turn until each had its seconds."""
    cache = torch.empty(FLUSHED_BYTES, dtype=torch.int8, device="cuda")
    flush_ms = _call_milliseconds(torch, cache.zero_)
    cover = {name: max(COVER_MS, 3 * ms) for name, ms in call_ms.items()}
    flushes = {name: math.ceil(ms / flush_ms) for name, ms in cover.items()}
    events: dict[str, list[tuple[Any, Any]]] = {name: [] for name in calls}
    start = time.perf_counter()
    for repetition in range(MOST):
        spent = time.perf_counter() - start
        if repetition >= LEAST and spent > seconds * len(calls):
            break
        for name, call in calls.items():
            for _ in range(flushes[name]):
                cache.zero_()
            before = torch.cuda.Event(enable_timing=True)
            after = torch.cuda.Event(enable_timing=True)
            before.record()
            call()
            after.record()
            events[name].append((before, after))
        torch.cuda.synchronize()
    return {name: [a.elapsed_time(b) for a, b in pairs] for name, pairs in events.items()}


def _call_milliseconds(torch: Any, call: Call, calls: int = 20) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(calls):
        call()
    torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - start) / calls


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[round(share * (len(values) - 1))]


def line(cell: dict[str, Any]) -> str:
    """Put a cell into words: each contender's median and spread in ms, its speedup, its error."""
    made = cell["contenders"]
    base = made["linear"]["ms"]
    words = [
        f"{name} {one['ms']:.3f} [{one['p10']:.3f} {one['p90']:.3f}] call {one['call_ms']:.3f}"
        f" x{base / one['ms']:.2f} e{one['rel_error']:.4f}"
        for name, one in made.items()
    ]
    words += [f"{name} FAILED {why}" for name, why in cell["failed"].items()]
    size = f"{cell['rows']:6} x {cell['depth']}->{cell['columns']}"
    return f"{size:20} {cell['passes']:16} " + " | ".join(words)


def summary(cells: list[dict[str, Any]]) -> list[str]:
    """Say for each contender and pass: the geometric mean, least and greatest speedup."""
    found: dict[tuple[str, str], list[float]] = {}
    for cell in cells:
        base = cell["contenders"]["linear"]["ms"]
        for name, one in cell["contenders"].items():
            found.setdefault((cell["passes"], name), []).append(base / one["ms"])
    return [
        f"{passes:16} {name:26} speedup over bf16 Linear: geometric mean "
        f"{statistics.geometric_mean(all_):.2f}, {min(all_):.2f} to {max(all_):.2f}"
        for (passes, name), all_ in found.items()
    ]


if __name__ == "__main__":
    main()
