"""The examined interpreter, and what a child of it is given: environment, request, folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec

from qdoctor.shipped import kernels_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from qdoctor.probes.plan import Step

FOLDER_MIB = 256  # compiled kernels and what CUDA compiles from PTX lie in the control folder

_ALWAYS = {
    "DIFFUSERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "TRANSFORMERS_OFFLINE": "1",
}
INSIDE = {
    "CUDA_CACHE_PATH": "cuda",
    "TEMP": "tmp",
    "TMP": "tmp",
    "TMPDIR": "tmp",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
}
"""What the child writes goes into its control folder, never into the user's home."""


class Patient(msgspec.Struct, frozen=True):
    """The interpreter that is examined, and the environment it is examined in.

    ``capabilities`` are the compute capabilities of its GPUs as it numbers them, where all are
    known: what imports may be told without starting CUDA. ``gpu_mib`` is their memory;
    ``exclusive`` whether a GPU takes one process's context only (compute mode EXCLUSIVE_PROCESS).
    """

    python: str
    environ: Mapping[str, str]
    torch_cuda: str | None = None
    harness: Path | None = None
    capabilities: tuple[tuple[int, int], ...] = ()
    gpu_mib: tuple[int, ...] = ()
    exclusive: tuple[bool, ...] = ()

    @property
    def harness_path(self) -> Path:
        """The program that runs a kernel in a child."""
        return self.harness or kernels_folder() / "_harness.py"


def prepare(control: Path, step: Step, patient: Patient, gate: Path | None) -> None:
    """Put into an empty control folder what the harness reads. Raises ``OSError``."""
    (control / "tmp").mkdir()
    request: dict[str, object] = {
        "mode": step.mode,
        "device": step.device,
        "sms": list(step.sms),
        "torch_cuda": patient.torch_cuda,
        "environ": {name: patient.environ.get(name) for name in INSIDE},
    }
    if gate is not None:
        request["gate"] = str(gate)
    (control / "request.json").write_text(json.dumps(request), encoding="utf-8")


def child_environ(environ: Mapping[str, str], control: Path) -> dict[str, str]:
    """The patient's environment as it is, kept offline and out of the home folder.

    Without two variables that make a failure of what is none: a warning, or the end.
    """
    inside = {name: str(control / folder) for name, folder in INSIDE.items()}
    whole = {"CUDA_MODULE_LOADING": "LAZY", **environ, **_ALWAYS, **inside}
    for name in ("PYTHONINSPECT", "PYTHONWARNINGS"):
        whole.pop(name, None)
    return whole
