"""transformers and PEFT with every backend, for real: load, generate, train adapters, merge, save.

Each backend takes tests/integration/transformers_flow.py in a process of its own, some at once, and
each no longer than it may: one that hangs, or takes the GPU with it, costs only itself. A line a
backend says what came of it, as far as it got and what it was at when it ended, and whether that is
what the README promises: the layers are replaced, logits are near the model's, words are generated,
and after ``quantize_`` every adapter gets its gradient and learns, and merging changes the logits
by no more than the backend's own error, or is refused with a reason. Where a library's own loader
falls short of that, or of answering the same once saved and loaded, the line says so as LIBRARY: it
is no promise of ours.

Usage: ``python benchmarks/adapters.py [--backends bnb-fp4 ...] [--device cuda|cpu] [--seconds 120]
[--budget 300] [--jobs 4] [--json FILE]``. Needs transformers, PEFT and accelerate. Exit status: 1
where a promise is broken.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parent.parent
if sys.path[0] != str(HOME):  # in place of this folder, whose inspect.py is not the library's
    sys.path[:1] = [str(HOME)]

from qdoctor.backends import NAMES  # noqa: E402 - see above; it imports no torch

FLOW = HOME / "tests" / "integration" / "transformers_flow.py"
OFFLINE = {
    "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
    "TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false",
}  # fmt: skip
BOUND = 0.06
"""By how much logits may be off, ||got - wanted|| / ||wanted||: two layers deep, 8 bits."""
BOUNDS = {
    "bnb-nf4": 0.3, "bnb-fp4": 0.4, "torch-fp8": 0.15, "torchao-fp8": 0.15, "torchao-int4": 0.3,
    "torchao-mxfp4": 0.5, "torchao-nvfp4": 0.4,
}  # fmt: skip
MERGES = (
    "half", "bnb-int8", "bnb-nf4", "bnb-fp4", "qdoctor-switchback", "torch-fp8", "torchao-int8",
    "torchao-fp8",
)  # fmt: skip
"""Backends into whose layers PEFT merges; those of torchao's that dequantize, once told how."""
LEARNED = 0.2
"""By which the loss falls at least in the steps."""
Told = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """Run every backend, a line each as soon as it ends; 1 where a promise is broken."""
    options = _options(arguments)
    end = time.monotonic() + options.budget
    waiting, found = list(options.backends), {}
    running: list[Run] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            while waiting or running:
                while waiting and len(running) < options.jobs and time.monotonic() < end:
                    running.append(Run(waiting.pop(0), options, Path(folder), end))
                if not running:
                    break
                for one in [one for one in running if one.ended()]:
                    running.remove(one)
                    found[one.name] = one.told()
                    if options.json:
                        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
                    print(line(one.name, found[one.name], one.seconds), flush=True)
                time.sleep(0.05)
        finally:  # whatever happens here, nothing is left on the GPU
            for one in running:
                one.stop()
                one.told()
    for name in waiting:
        print(f"unasked {name}: the budget is spent", flush=True)
    return int(any(broken(name, told) for name, told in found.items()))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backends", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--seconds", type=float, default=120.0, help="for one backend")
    parser.add_argument("--budget", type=float, default=math.inf, help="seconds for all of it")
    parser.add_argument("--jobs", type=int, default=4, help="backends at once")
    parser.add_argument("--json", type=Path)
    return parser.parse_args(arguments)


class Run:
    """One backend's process, which writes what it found after each step."""

    def __init__(self, name: str, options: argparse.Namespace, folder: Path, end: float) -> None:
        """Start it; it is stopped after its seconds, or when the budget is spent."""
        self.name, self._answer = name, folder / f"{name}.json"
        self._begun = time.monotonic()
        self._until = min(end, self._begun + options.seconds)
        self._errors = (folder / f"{name}.txt").open("w+", encoding="utf-8")
        share = max(1, (os.cpu_count() or 1) // options.jobs)  # more threads wait for each other
        self._child = subprocess.Popen(
            [sys.executable, str(FLOW), str(HOME), str(self._answer), options.device, name],
            env={"OMP_NUM_THREADS": f"{share}", **os.environ, **OFFLINE},
            stdout=subprocess.DEVNULL, stderr=self._errors,
        )  # fmt: skip
        self.seconds = 0.0
        self._late = False

    def ended(self) -> bool:
        """Say whether it is over, and stop it where it takes too long."""
        if self._child.poll() is None:
            if time.monotonic() < self._until:
                return False
            self._late = True
            self.stop()
        self.seconds = time.monotonic() - self._begun
        return True

    def stop(self) -> None:
        """End it at once; one that the GPU's driver holds is not waited for."""
        self._child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(10)

    def told(self) -> Told:
        """Return what it found; ``ended`` says why there is no more, ``said`` its last words."""
        try:
            found: Told = json.loads(self._answer.read_text("utf-8"))["backends"][self.name]
        except (OSError, ValueError, KeyError):
            found = {}
        with self._errors:
            self._errors.seek(0)
            said = self._errors.read().strip().splitlines()
        start = "the end" if found else "the start: not even the model is made"
        at = f" at {found.get('at', start)}"
        if self._late:
            found["ended"] = f"stopped after {self.seconds:.0f} s{at}"
        elif self._child.returncode:
            found["ended"] = f"exit {self._child.returncode}{at}: {_error(said)[:300]}"
        elif "done" not in found and "unavailable" not in found:
            found["ended"] = f"exit 0 without an end{at}"
        if "ended" in found:
            found["said"] = said[-40:]
        return found


def _error(said: list[str]) -> str:
    """Find the line that names the exception: torch's go on with advice."""
    named = [one for one in said if _EXCEPTION.match(one)]
    return (named or said or ["it said nothing"])[-1]


_EXCEPTION = re.compile(r"[\w.]*(Error|Exception|Exit|Interrupt|Unavailable)\b")


def broken(name: str, told: Told) -> list[str]:
    """Return the promises that do not hold, each in words with its figure."""
    if "unavailable" in told:
        return []
    found = []
    if "ended" in told and not told["ended"].startswith("stopped"):
        found.append(told["ended"])
    if "logits" in told:
        found += _of_loading(name, told)
    for label, step in told.items():
        if label.startswith("lora by quantize_"):
            found += [f"{label}: {why}" for why in _of_adapters(name, label, step)]
    return found + ([] if told.get("config") else _of_saving(told))


def lacking(name: str, told: Told) -> list[str]:
    """Return where a library's own loader, by its configuration, falls short."""
    found = []
    for label, step in told.items():
        if label.startswith("lora by config"):
            found += [f"{label}: {why}" for why in _of_adapters(name, label, step)]
    return found + (_of_saving(told) if told.get("config") else [])


def _of_loading(name: str, told: Told) -> list[str]:
    limit, found = BOUNDS.get(name, BOUND), []
    if not told["logits"] <= limit:  # NaN is more than any limit
        found.append(f"logits are off by {told['logits']:.3f}, more than {limit}")
    if name != "half" and not told["logits"]:
        found.append("logits are the model's own: nothing was quantized")
    if told["words"] != [2, 17]:
        found.append(f"generated {told['words']}, not 2 x 17 words")
    output = [kind for layer, kind in told["layers"].items() if layer.endswith("lm_head")]
    if output != ["Linear:Parameter"]:
        found.append(f"the output layer became {output}")
    return found


def _of_adapters(name: str, label: str, step: Told) -> list[str]:
    refused = "training=True" in label and "BackendUnavailable" in step.get("error", "")
    if refused:  # with the reason, before anything was trained
        return []
    if "error" in step:
        return [step["error"]]
    found = []
    if step["without_gradient"]:
        found.append(f"no gradient reaches {len(step['without_gradient'])} adapters")
    if not step["losses"][-1] < step["losses"][0] - LEARNED:
        found.append(f"the loss went from {step['losses'][0]:.3f} to {step['losses'][-1]:.3f}")
    merged = step.get("merged", {})
    if name in MERGES or "training=True" in label:
        limit = BOUNDS.get(name, BOUND)
        if "error" in merged:
            found.append(f"merging: {merged['error']}")
        elif not merged.get("logits", math.nan) <= limit:
            found.append(f"merging changed logits by {merged.get('logits')}, more than {limit}")
    return found


def _of_saving(told: Told) -> list[str]:
    found = []
    for label in ("saved, fresh", "saved, answered first"):
        off = told.get(label)
        if isinstance(off, dict):
            found.append(f"{label}: {off['error']}")
        elif off:
            found.append(f"{label}: logits are off by {off:.3f}")
    return found


def line(name: str, told: Told, seconds: float) -> str:
    """Put what came of a backend into one line."""
    if "unavailable" in told:
        return f"no      {name}: {told['unavailable'][:300]} ({seconds:.0f} s)"
    bad = broken(name, told)
    word = "MISSED " if bad else "met    " if told.get("done") else "so far "
    words = []
    if "logits" in told:
        words += [f"{told['config'] or 'quantize_'}, logits off {told['logits']:.3f}"]
    words += [_step(label, one) for label, one in told.items() if label.startswith("lora")]
    words += [told["ended"]] if told.get("ended", "").startswith("stopped") else []
    words += [f"BROKEN {why}" for why in bad]
    words += [f"LIBRARY {why[:160]}" for why in lacking(name, told)]
    return f"{word} {name} ({seconds:.0f} s): " + " | ".join(words)


def _step(label: str, one: Told) -> str:
    what = label.removeprefix("lora by ")
    if "error" in one:
        return f"{what}: {one['error'][:120]}"
    merged = one["merged"]
    end = merged["error"][:60] if "error" in merged else f"{merged['logits']:.3f}"
    first, *_, last = one["losses"]
    gradients = "" if not one["without_gradient"] else f" {len(one['without_gradient'])} lack them"
    return f"{what}: loss {first:.2f} -> {last:.2f}{gradients}, merged {end}"


if __name__ == "__main__":
    sys.exit(main())
