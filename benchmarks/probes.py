"""What isolation costs: every probe in a child of its own, beside the same work in one process.

In turn, forwards and backwards, so that ratios hold when the machine's speed drifts:

- *isolated*: the engine, as ``qdoctor check`` uses it (start of Python and imports included)
- *one process*: import what the probes want, then each kernel after the other, unprotected
- *quick*: the engine with ``--probe quick``
- ``python -m bitsandbytes`` and ``python -m torch.utils.collect_env``, where they are installed

Every kernel compiles into an empty cache in both. Usage: ``python benchmarks/probes.py [--runs N]
[--without PROBE ...] [--json FILE]``; without a GPU the probes do what they can do there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from qdoctor.facts import collect, find_target
from qdoctor.model import Facts, from_json, to_json, to_plain
from qdoctor.probes import catalog, observe
from qdoctor.probes.patient import INSIDE
from qdoctor.probes.plan import Step, plan
from qdoctor.shipped import kernels_folder

PACKAGES = ("torch", "triton", "bitsandbytes", "torchao")
GOAL = 0.9


def main() -> None:
    """Measure and print; ``--isolated LEVEL`` is what the benchmark itself starts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--without", nargs="*", default=[], metavar="PROBE")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--isolated", nargs=3, metavar=("LEVEL", "FACTS", "RESULT"))
    asked = parser.parse_args()
    if asked.isolated:
        level, facts_file, result = asked.isolated
        isolated(level, facts_file, result, asked.without)
        return
    with tempfile.TemporaryDirectory() as folder:
        told = measure(Path(folder), asked.runs, asked.without)
    show(told)
    if asked.json:
        Path(asked.json).write_text(json.dumps(told, indent=1))


def isolated(level: str, facts_file: str, result: str, without: list[str]) -> None:
    """Let the engine do its work in this process, and say what it took."""
    import resource  # noqa: PLC0415 - POSIX only, like the engine's speed

    facts = from_json(Path(facts_file).read_bytes(), Facts, facts_file)
    left = tuple(kernel for kernel in catalog.read() if kernel.name not in without)
    catalog.read = lambda folder=None: left  # noqa: ARG005 - same signature
    began = time.perf_counter()
    seen = observe(
        find_target(sys.executable, os.environ),
        facts,
        level="quick" if level == "quick" else "full",
        environ=os.environ,
    )
    told = {
        "seconds": time.perf_counter() - began,
        "parent_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "observations": [to_plain(one) for one in seen],
    }
    Path(result).write_text(json.dumps(told))


def measure(folder: Path, runs: int, without: list[str]) -> dict[str, Any]:
    """Times of every command, run by run, and what the probes answered in the first."""
    facts = collect(find_target(sys.executable, os.environ), os.environ)
    (folder / "facts.json").write_text(to_json(facts))
    planned = work(facts, without)
    (folder / "plan.json").write_text(json.dumps(planned))
    commands = commands_of(folder, facts, without)
    times: dict[str, list[float]] = {name: [] for name in commands}
    peaks: dict[str, float] = {}
    lost: dict[str, int] = {}
    for run in range(runs):
        for name in list(commands) if run % 2 == 0 else reversed(list(commands)):
            taken, status, peak = timed(commands[name])
            times[name].append(taken)
            peaks[name] = max(peak, peaks.get(name, 0.0))
            lost.update({name: status} if status else {})
    answers = {
        name: json.loads((folder / f"{name}.json").read_text())
        for name in ("isolated", "one process", "quick")
        if (folder / f"{name}.json").exists()
    }
    skipped = [name for name in PACKAGES if name not in planned["imports"]]
    return {
        "machine": {"gpus": [gpu.name for gpu in facts.gpus or []], "packages": facts.packages},
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "without": without,
        "not_imported": skipped,
        "seconds": times,
        "largest_process_mib": peaks,
        "ended_badly": lost,
        "answers": answers,
    }


def work(facts: Facts, without: list[str]) -> dict[str, Any]:
    """The steps that the engine would take, for one process."""
    target = find_target(sys.executable, os.environ)
    steps = [one for one in plan(target, facts, catalog.read(), "full") if isinstance(one, Step)]
    steps = [step for step in steps if step.kernel.name not in without]
    wanted = {name for step in steps for name in step.kernel.header.imports}
    installed = facts.packages or {}
    return {
        "harness": str(kernels_folder() / "_harness.py"),
        "imports": [name for name in PACKAGES if name in wanted and installed.get(name)],
        "inside": INSIDE,
        "steps": [
            {
                "name": step.kernel.name,
                "path": str(step.kernel.path),
                "request": {
                    "mode": step.mode,
                    "device": step.device,
                    "sms": list(step.sms),
                    "torch_cuda": facts.torch_cuda,
                },
            }
            for step in steps
        ],
    }


def commands_of(folder: Path, facts: Facts, without: list[str]) -> dict[str, list[str]]:
    """What is timed, by name; a peer only where it is installed."""
    here, python = Path(__file__).resolve(), sys.executable
    level = [python, str(here), "--without", *without, "--isolated"]
    commands = {
        "isolated": [*level, "full", str(folder / "facts.json"), str(folder / "isolated.json")],
        "one process": [
            *(python, "-B", str(here.with_name("_one_process.py"))),
            *(str(folder / "plan.json"), str(folder / "one process.json")),
        ],
        "quick": [*level, "quick", str(folder / "facts.json"), str(folder / "quick.json")],
    }
    packages = facts.packages or {}
    if packages.get("bitsandbytes"):
        commands["python -m bitsandbytes"] = [python, "-m", "bitsandbytes"]
    if packages.get("torch"):
        commands["collect_env"] = [python, "-m", "torch.utils.collect_env"]
    return commands


def timed(command: list[str]) -> tuple[float, int, float]:
    """Seconds, exit status and the peak resident MiB of one process."""
    began = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return time.perf_counter() - began, child.returncode, usage.ru_maxrss / 1024


def show(told: dict[str, Any]) -> None:
    """Print the medians with their spread, the ratios, the memory, and what was left out."""
    print(f"GPUs: {told['machine']['gpus'] or 'none'}; {told['cores']} cores")
    for what, names in (("left out", told["without"]), ("not here", told["not_imported"])):
        if names:
            print(f"{what}: {', '.join(names)}")
    for name, values in told["seconds"].items():
        low, middle, high = min(values), statistics.median(values), max(values)
        print(f"{name:24} median {middle:7.2f} s  (min {low:.2f}, max {high:.2f}, n={len(values)})")
    for name, status in told["ended_badly"].items():
        print(f"{name}: ended with status {status}")
    times = told["seconds"]
    for other in ("one process", "python -m bitsandbytes", "collect_env"):
        if other in times and other not in told["ended_badly"]:
            ratios = [a / b for a, b in zip(times["isolated"], times[other], strict=True)]
            goal = f" (goal: at most {GOAL})" if other == "one process" else ""
            print(f"isolated / {other}: median {statistics.median(ratios):.2f}{goal}")
    show_answers(told["answers"], told["largest_process_mib"])


def show_answers(answers: dict[str, Any], peaks: dict[str, float]) -> None:
    """Print what each probe cost, and where isolation changed an outcome."""
    seen = [one for one in answers["isolated"]["observations"] if "seconds" in one["numbers"]]
    costs = {
        f"{one['probe']} {one['device']}": (one["numbers"]["seconds"], one["numbers"]["peak_mib"])
        for one in seen
        if "peak_mib" in one["numbers"]
    }
    for name, (seconds, mib) in costs.items():
        print(f"  {name:36} {seconds:6.2f} s {mib:6.0f} MiB")
    parent = answers["isolated"]["parent_mib"]
    print(
        f"parent: {parent:.0f} MiB; largest child: {max(mib for _, mib in costs.values()):.0f} MiB"
    )
    print(f"all in one process: {peaks['one process']:.0f} MiB resident")
    if "quick" in answers:
        print(f"engine alone, quick: {answers['quick']['seconds']:.2f} s")
    if "one process" in answers:
        mine = {(one["probe"], one["variant"], one["outcome"]) for one in seen}
        theirs = {(one[0], one[1], one[3]) for one in answers["one process"]["outcomes"]}
        print(
            f"outcomes alike: {len(mine & theirs)}; only isolated: {sorted(mine - theirs, key=str)}"
        )
        print(f"only in one process: {sorted(theirs - mine, key=str)}")


if __name__ == "__main__":
    main()
