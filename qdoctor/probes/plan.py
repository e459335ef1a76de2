"""What will run, on what, and what will not, with the reason. Pure: facts in, steps out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from qdoctor.model import Facts, Gpu, Target
    from qdoctor.probes.catalog import Kernel, Mode

Level: TypeAlias = Literal["none", "quick", "full"]

_GPU = "gpu"
_FIRST = 0  # as CUDA numbers what the examined process may use


class Step(msgspec.Struct, frozen=True):
    """One child to start: on ``device`` when it runs, for each of ``sms`` when it compiles.

    ``device`` None is the CPU, for a kernel that can do without a GPU.
    ``note`` says why it only compiles, where it could have run on a better machine.
    """

    kernel: Kernel
    mode: Mode
    device: int | None = None
    sms: tuple[str, ...] = ()
    note: str = ""


class Skip(msgspec.Struct, frozen=True):
    """One kernel that is left out, and why; ``code`` is the reason for machines."""

    kernel: Kernel
    code: str
    why: str


Reason: TypeAlias = tuple[str, str]
_NOT_QUICK: Reason = ("level", "not among the quick probes; --probe full runs it")


def plan(  # noqa: PLR0913 - what is examined, and what was asked of it
    target: Target,
    facts: Facts,
    catalog: Iterable[Kernel],
    level: Level,
    compile_for: Sequence[str] = (),
    *,
    asked: Collection[str] = (),
) -> list[Step | Skip]:
    """Decide for every kernel, in the catalog's order.

    ``quick`` is the quick kernels and those ``asked`` for by name; ``full`` is all of them.

    A kernel runs on every GPU that the examined process may use, equal ones too: a single broken
    board is a real case. What CUDA_VISIBLE_DEVICES hides, and every MIG slice but the one that CUDA
    shows to a process, has no number there and is left alone. Where no GPU is, and for those SMs
    of ``compile_for`` ("8.6" or "sm_86") that no visible GPU has, it compiles, if it can; and where
    no GPU is it runs on the CPU, if it can do that.
    """
    wanted = tuple(dict.fromkeys(dotted(sm) for sm in compile_for))
    steps: list[Step | Skip] = []
    for kernel in catalog:
        left_out = level == "quick" and not kernel.header.quick and kernel.name not in asked
        reason = _out_of_question(target, facts, level) or _unsupported(facts, kernel)
        reason = reason or (_NOT_QUICK if left_out else None)
        steps += [Skip(kernel, *reason)] if reason else _steps(facts, kernel, wanted)
    return steps


def dotted(sm: str) -> str:
    """Spell an SM with a dot: ``sm_86``, ``86`` and ``8.6`` are ``8.6``."""
    digits = sm.removeprefix("sm_")
    return digits if "." in digits else f"{digits[:-1]}.{digits[-1:]}"


def _steps(facts: Facts, kernel: Kernel, wanted: tuple[str, ...]) -> list[Step | Skip]:
    header = kernel.header
    cannot_run = _cannot_run(facts, kernel)
    here = {gpu.sm for gpu in _usable(facts.gpus or [])}
    others = tuple(sm for sm in wanted if sm not in here) if not cannot_run else wanted
    steps: list[Step | Skip] = []
    if cannot_run is None:
        steps += [Step(kernel, "run", device=device) for device in _devices(facts, kernel)]
    elif _runs_on_cpu(facts, kernel):
        steps.append(Step(_without_gpu(kernel), "run"))
    if "compile" in header.modes and (others or cannot_run):
        absent = _absent(facts, header.compile_needs)
        sms = others or header.sms
        note = f"not run: {cannot_run[1]}" if cannot_run else "not run: for another GPU"
        step = Step(kernel, "compile", sms=sms, note=note)
        steps.append(Skip(kernel, *absent) if absent else step)
    if not steps and cannot_run:
        steps.append(Skip(kernel, *cannot_run))
    return steps


def _devices(facts: Facts, kernel: Kernel) -> list[int | None]:
    """Number what it runs on; None is the CPU. With GPUs unknown, trying the first one tells."""
    if _no_gpu(facts, kernel):
        return [None]
    usable = len(_usable(facts.gpus or [])) if kernel.header.gpu_mib else 1
    return list(range(usable)) or [_FIRST]


def _runs_on_cpu(facts: Facts, kernel: Kernel) -> bool:
    """Say whether a kernel that needs a GPU elsewhere runs on this machine's CPU."""
    needs = kernel.header.cpu_needs
    if needs is None or "run" not in kernel.header.modes or not _no_gpu(facts, kernel):
        return False
    return _absent(facts, needs) is None


def _without_gpu(kernel: Kernel) -> Kernel:
    """Let a kernel import no more than it needs on the CPU: the rest may not be installed."""
    header = kernel.header
    imports = tuple(one for one in header.imports if one in (header.cpu_needs or ()))
    fewer = msgspec.structs.replace(header, imports=imports)
    return msgspec.structs.replace(kernel, header=fewer)


def interpreter(target: Target, facts: Facts) -> str | None:
    """Return the path of the interpreter to start the probes with; None if it is not known."""
    return target.python or (facts.python and facts.python.executable) or None


def _out_of_question(target: Target, facts: Facts, level: Level) -> Reason | None:
    if target.kind == "described":
        return "described", "the machine is described, not here"
    if level == "none":
        return "level", "no probe was asked for (--probe none)"
    if interpreter(target, facts) is None:
        return "no-interpreter", "there is no interpreter to run it with"
    return None


def _unsupported(facts: Facts, kernel: Kernel) -> Reason | None:
    try:
        version = Version((facts.python and facts.python.version) or "")
    except InvalidVersion:
        return None  # unknown: running it tells
    wanted = kernel.header.requires_python
    if SpecifierSet(wanted).contains(version, prereleases=True):
        return None
    return "python-unsupported", f"Python {version} is examined; this probe needs Python {wanted}"


def _cannot_run(facts: Facts, kernel: Kernel) -> Reason | None:
    """Why it cannot run here; what is unknown does not stop it: running it tells."""
    if "run" not in kernel.header.modes:
        return "compile-only", "this probe only compiles"
    needs = kernel.header.needs
    return _absent(facts, needs) or (_no_gpu(facts, kernel) if _GPU in needs else None)


def _no_gpu(facts: Facts, kernel: Kernel) -> Reason | None:
    if facts.gpus is not None and not _usable(facts.gpus):
        return "no-gpu", _why_no_gpu(facts.gpus)
    if facts.driver is not None and facts.driver.version == "":
        return "no-driver", "no GPU driver is installed"
    if "torch" in kernel.header.needs and facts.torch_cuda == "":
        return "torch-cpu-only", "the installed torch is a build without CUDA"
    return None


def _absent(facts: Facts, needs: Iterable[str]) -> Reason | None:
    packages = facts.packages or {}
    missing = [name for name in needs if name != _GPU and packages.get(name) == ""]
    if not missing:
        return None
    return "package-missing", f"{' and '.join(missing)} not installed in the examined environment"


def _usable(gpus: Iterable[Gpu]) -> list[Gpu]:
    return [gpu for gpu in gpus if gpu.vendor in {None, "nvidia"} and gpu.visible is not False]


def _why_no_gpu(gpus: Sequence[Gpu]) -> str:
    if not gpus:
        return "no GPU is here"
    hidden = [gpu for gpu in gpus if gpu.vendor in {None, "nvidia"}]
    if hidden:
        return "CUDA_VISIBLE_DEVICES hides every CUDA GPU"
    return f"no CUDA GPU: {', '.join(gpu.name or gpu.vendor or 'unknown' for gpu in gpus)}"
