"""The probes of one machine: what is planned, run by the engine, as observations."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from qdoctor.probes import catalog
from qdoctor.probes.engine import carry_out
from qdoctor.probes.patient import Patient, child_environ
from qdoctor.probes.plan import Level, interpreter, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from qdoctor.model import Facts, Observation, Target

__all__ = ["Patient", "carry_out", "child_environ", "observe"]


def observe(  # noqa: PLR0913 - the options of a check, by keyword
    target: Target,
    facts: Facts,
    *,
    level: Level,
    compile_for: Sequence[str] = (),
    progress: Callable[[str], None] = lambda _: None,
    environ: Mapping[str, str] | None = None,
    budget: float | None = None,
    asked: Collection[str] = (),
) -> list[Observation]:
    """Run the shipped probes in the target's interpreter; they answer in the order of their names.

    Never raises for what a probe does. ``asked`` names probes to run though ``level`` is
    quick. ``progress`` gets a line before each child; ``budget`` and an interrupt end what still
    runs, as ``engine.carry_out`` says.
    """
    python = interpreter(target, facts) or ""  # "": every step is a skip
    patient = _patient(python, os.environ if environ is None else environ, facts)
    steps = plan(target, facts, catalog.read(), level, compile_for, asked=asked)
    return carry_out(steps, patient, progress, budget)


def _patient(python: str, environ: Mapping[str, str], facts: Facts) -> Patient:
    """Tell the engine of the GPUs that the examined process will see, unless one is unknown."""
    gpus = [
        gpu
        for gpu in facts.gpus or []
        if gpu.vendor in {None, "nvidia"} and gpu.visible is not False
    ]
    known = [pair for gpu in gpus if (pair := _capability(gpu.sm)) is not None]
    return Patient(
        python,
        environ,
        facts.torch_cuda,
        capabilities=tuple(known) if len(known) == len(gpus) else (),
        gpu_mib=tuple(gpu.memory_mib or 0 for gpu in gpus),
        exclusive=tuple((gpu.compute_mode or "").startswith("Exclusive") for gpu in gpus),
    )


def _capability(sm: str | None) -> tuple[int, int] | None:
    major, _, minor = (sm or "").partition(".")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None
