"""Run the planned probes, one child each, and turn whatever happens into observations."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from qdoctor import process
from qdoctor.model import Observation
from qdoctor.probes import answer, catalog
from qdoctor.probes.ending import Fate, fate
from qdoctor.probes.plan import Level, Skip, Step, interpreter, plan
from qdoctor.shipped import kernels_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from qdoctor.model import Facts, Target

_FOLDER_MIB = 256  # compiled kernels and what CUDA compiles from PTX lie in the control folder

_ALWAYS = {
    "DIFFUSERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "TRANSFORMERS_OFFLINE": "1",
}
_INSIDE = {
    "CUDA_CACHE_PATH": "cuda",
    "TEMP": "tmp",
    "TMP": "tmp",
    "TMPDIR": "tmp",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
}
"""What the child writes goes into its control folder, never into the user's home."""


class Patient(msgspec.Struct, frozen=True):
    """The interpreter that is examined, and the environment it is examined in."""

    python: str
    environ: Mapping[str, str]
    torch_cuda: str | None = None
    harness: Path | None = None


def observe(  # noqa: PLR0913 - the options of a check, by keyword
    target: Target,
    facts: Facts,
    *,
    level: Level,
    compile_for: Sequence[str] = (),
    progress: Callable[[str], None] = lambda _: None,
    environ: Mapping[str, str] | None = None,
) -> list[Observation]:
    """Run the shipped probes in the target's interpreter, in the order of their names.

    Never raises for what a probe does. An interrupt ends the running probe; it and those after it
    are then ``skipped`` with the code ``interrupted``. ``progress`` gets a line before each child.
    """
    python = interpreter(target, facts) or ""  # "": every step is a skip
    patient = Patient(python, os.environ if environ is None else environ, facts.torch_cuda)
    return carry_out(plan(target, facts, catalog.read(), level, compile_for), patient, progress)


def carry_out(
    steps: Sequence[Step | Skip], patient: Patient, progress: Callable[[str], None]
) -> list[Observation]:
    """Do the steps one after another; each is independent of the others."""
    seen: list[Observation] = []
    left = list(steps)
    try:
        while left:
            if isinstance(left[0], Step):
                progress(f"{left[0].kernel.header.title}: {_doing(left[0])}")
            seen += _carry_out_one(left[0], patient)
            del left[0]
    except KeyboardInterrupt:
        seen += [_skipped(Skip(step.kernel, "interrupted", "interrupted")) for step in left]
    return seen


def _carry_out_one(step: Step | Skip, patient: Patient) -> list[Observation]:
    """What became of one step.

    A compiler that crashes for one SM says nothing about the others: each is then asked alone.
    """
    if isinstance(step, Skip):
        return [_skipped(step)]
    seen = _child(step, patient)
    if len(step.sms) > 1 and any(one.outcome == "crashed" for one in seen):
        return [
            one
            for sm in step.sms
            for one in _child(msgspec.structs.replace(step, sms=(sm,)), patient)
        ]
    return seen


def _child(step: Step, patient: Patient) -> list[Observation]:
    try:
        with tempfile.TemporaryDirectory(prefix="qdoctor-", ignore_cleanup_errors=True) as name:
            control = Path(name)
            ended = _start(step, patient, control)
            return _observations(step, ended, control)
    except OSError as error:
        detail = f"no control folder for the probe: {error}; set TMPDIR to a writable folder"
        return [_from_fate(step, Fate("failed", "no-control-folder", detail, []), ())]


def _start(step: Step, patient: Patient, control: Path) -> process.Ended:
    (control / "tmp").mkdir()
    (control / "request.json").write_text(json.dumps(_request(step, patient)), encoding="utf-8")
    harness = patient.harness or kernels_folder() / "_harness.py"
    return process.run(
        [patient.python, "-B", str(harness), str(step.kernel.path), str(control)],
        seconds=step.kernel.header.seconds,
        env=child_environ(patient.environ, control),
        memory_mib=step.kernel.header.memory_mib,
        watch_folder=control,
        folder_mib=_FOLDER_MIB,
    )


def _request(step: Step, patient: Patient) -> dict[str, Any]:
    return {
        "mode": step.mode,
        "device": step.device,
        "sms": list(step.sms),
        "torch_cuda": patient.torch_cuda,
    }


def child_environ(environ: Mapping[str, str], control: Path) -> dict[str, str]:
    """The patient's environment as it is, kept offline and out of the home folder."""
    inside = {name: str(control / folder) for name, folder in _INSIDE.items()}
    return {"CUDA_MODULE_LOADING": "LAZY", **environ, **_ALWAYS, **inside}


def _observations(step: Step, ended: process.Ended, control: Path) -> list[Observation]:
    """Everything the child answered, then how it ended where that says something more."""
    result = answer.read(control / "result.json")
    answered = bool(result.outcomes)
    outcomes = result.outcomes or answer.read(control / "partial.json").outcomes or []
    end = fate(ended, answer.phase(control), answered=answered)
    if result.garbage and (end is None or end.code == "no-answer"):
        end = Fate("failed", "unreadable-answer", result.garbage, end.evidence if end else [])
    seen = [_from_outcome(step, one) for one in outcomes]
    reached = [one.variant for one in outcomes]
    return seen + ([_from_fate(step, end, reached)] if end else [])


def _from_outcome(step: Step, one: answer.Outcome) -> Observation:
    plain = msgspec.structs.asdict(one)
    plain["device"] = one.device or _place(step)
    plain["evidence"] = [*one.evidence, *filter(None, [step.note])]
    return Observation(probe=step.kernel.name, **plain)


def _from_fate(step: Step, end: Fate, reached: Sequence[str | None]) -> Observation:
    """Name the variant where only one had not answered yet."""
    left = [name for name in step.kernel.header.variants if name not in reached]
    return Observation(
        probe=step.kernel.name,
        outcome=end.outcome,
        variant=left[0] if len(left) == 1 else None,
        device=_place(step),
        detail=end.detail,
        code=end.code,
        ran=step.mode == "run",
        evidence=[*end.evidence, *filter(None, [step.note])],
    )


def _skipped(skip: Skip) -> Observation:
    return Observation(
        probe=skip.kernel.name, outcome="skipped", detail=skip.why, code=skip.code, ran=False
    )


def _place(step: Step) -> str | None:
    """Return the device as it is written in observations; None for several SMs."""
    if step.mode == "run":
        return "cpu" if step.device is None else f"cuda:{step.device}"
    return f"sm_{step.sms[0].replace('.', '')}" if len(step.sms) == 1 else None


def _doing(step: Step) -> str:
    return (
        f"running on {_place(step)}"
        if step.mode == "run"
        else f"compiling for SM {', '.join(step.sms)}"
    )
