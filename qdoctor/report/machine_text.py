"""The opening of the text report: what was examined, under which assumptions, and the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qdoctor.report.devices import ranges

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdoctor.model import Driver, Facts, Gpu, Report
    from qdoctor.report.paper import Paper, Part

# The packages whose versions decide, in the order in which they stand on each other.
_DECIDING = ("torch", "triton", "triton-windows", "bitsandbytes", "torchao", "transformers")
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_UNKNOWN: Part = ("unknown", "yellow")


def target(paper: Paper, report: Report) -> None:
    """The first line names the target; each assumption follows."""
    examined = report.target
    name = "a described machine" if examined.kind == "described" else examined.python or "no Python"
    paper.line(("qdoctor examined ", "bold"), (name, "bold cyan"), (f" ({examined.chosen_by})", ""))
    for assumption in examined.assumptions:
        paper.row([("assumed", "yellow", 9)], (assumption, ""))


def machine(paper: Paper, report: Report) -> None:
    """Host, GPUs, driver, toolkit and deciding packages; what is unknown is said to be."""
    facts = report.facts
    paper.heading("Machine")
    paper.row([("host", "dim", 10)], _host(facts))
    for equal in _equal(facts.gpus or []):
        paper.row([("gpu", "dim", 10)], (_gpus(equal, facts), ""))
    if not facts.gpus:
        paper.row([("gpu", "dim", 10)], _UNKNOWN if facts.gpus is None else ("none", ""))
    paper.row([("driver", "dim", 10)], _driver(facts.driver))
    if facts.toolkit_cuda:
        paper.row([("toolkit", "dim", 10)], (f"CUDA {facts.toolkit_cuda}", ""))
    paper.row([("packages", "dim", 10)], _packages(facts))
    for key, reason in (facts.unread or {}).items():
        paper.row([("unread", "yellow", 10)], (f"{key}: {reason}", ""))


def _host(facts: Facts) -> Part:
    host, python = facts.host, facts.python
    known: list[str] = []
    if host is not None:
        known += [text for text in (host.os, host.machine, host.libc) if text]
        known += ["WSL"] * bool(host.wsl) + ["in a container"] * bool(host.container)
    if python is not None and python.version:
        known.append(f"Python {python.version}")
    return (", ".join(known), "") if known else _UNKNOWN


def _equal(gpus: Sequence[Gpu]) -> list[list[Gpu]]:
    """Put GPUs together that differ in their numbers alone."""
    kinds: dict[str, list[Gpu]] = {}
    for gpu in gpus:
        kinds.setdefault(repr(msgspec.structs.replace(gpu, index=None)), []).append(gpu)
    return list(kinds.values())


def _gpus(equal: Sequence[Gpu], facts: Facts) -> str:
    gpu = equal[0]
    known = [
        gpu.name or "unnamed",
        f"SM {gpu.sm}" if gpu.sm else gpu.arch or "SM not stated",
        f"{gpu.memory_mib} MiB" if gpu.memory_mib else "",
        f"MIG {gpu.mig}" if isinstance(gpu.mig, str) and gpu.mig else "MIG" * (gpu.mig is True),
        _why_hidden(gpu, facts) if gpu.visible is False else "",
    ]
    numbers = ranges([one.index for one in equal if one.index is not None])
    number = f"{', '.join(numbers)}: " if numbers else ""
    count = f"{len(equal)} x " if len(equal) > 1 else ""
    return number + count + ", ".join(text for text in known if text)


def _why_hidden(gpu: Gpu, facts: Facts) -> str:
    """Say why CUDA does not show a GPU: of several MIG slices a process gets one."""
    slices = [one for one in facts.gpus or [] if one.mig and one.visible]
    if gpu.mig and slices and _VISIBLE not in (facts.env or {}):
        return "not shown: CUDA shows a process one MIG slice"
    return f"hidden by {_VISIBLE}"


def _driver(driver: Driver | None) -> Part:
    if driver is None or (driver.version is None and driver.cuda is None):
        return _UNKNOWN
    if driver.version == "":
        return ("none", "")
    ceiling = f"CUDA up to {driver.cuda}" if driver.cuda else ""
    lifted = f"lifted to {driver.compat_cuda} by cuda-compat" if driver.compat_cuda else ""
    return (", ".join(text for text in (driver.version, ceiling, lifted) if text), "")


def _packages(facts: Facts) -> Part:
    if facts.packages is None:
        return _UNKNOWN
    installed = [(name, facts.packages.get(name)) for name in _DECIDING]
    known = [f"{name} {version}" for name, version in installed if version]
    absent = [name for name, version in installed[:1] if version == ""]
    known += [f"no {name}" for name in absent]
    cuda = facts.torch_cuda
    built = {None: "", "": "(torch is a CPU build)"}.get(cuda, f"(torch built for CUDA {cuda})")
    return (" ".join(filter(None, [", ".join(known), built])) or "none of those that decide", "")
