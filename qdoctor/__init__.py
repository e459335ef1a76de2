"""qdoctor: which quantization backend works on this machine, and what is wrong where one does not.

Importing this package costs a few milliseconds, imports no torch and touches no GPU: every public
name is loaded when it is first used.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # as typing's, without the cost of importing typing
if TYPE_CHECKING:
    from typing import Any

    from qdoctor import matrix as matrix
    from qdoctor.api import check, select_backend
    from qdoctor.backend import Backend
    from qdoctor.backends.kind import BackendUnavailable
    from qdoctor.choosing.agreement import NoAgreement
    from qdoctor.choosing.notice import SelectionWarning
    from qdoctor.doctor import diagnose
    from qdoctor.model import (
        BadInput,
        Diagnosis,
        Facts,
        Finding,
        Fix,
        Observation,
        Report,
        Verdict,
    )

__version__ = "0.1.0"

__all__ = [
    "Backend",
    "BackendUnavailable",
    "BadInput",
    "Diagnosis",
    "Facts",
    "Finding",
    "Fix",
    "NoAgreement",
    "Observation",
    "Report",
    "SelectionWarning",
    "Verdict",
    "__version__",
    "check",
    "diagnose",
    "matrix",
    "select_backend",
]

_HOME_OF = {
    "Backend": "backend",
    "BackendUnavailable": "backends.kind",
    "BadInput": "model",
    "Diagnosis": "model",
    "Facts": "model",
    "Finding": "model",
    "Fix": "model",
    "NoAgreement": "choosing.agreement",
    "Observation": "model",
    "Report": "model",
    "SelectionWarning": "choosing.notice",
    "Verdict": "model",
    "check": "api",
    "diagnose": "doctor",
    "select_backend": "api",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the public name stands for
    """Load a public name on first use."""
    if name == "matrix":
        return importlib.import_module("qdoctor.matrix")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'qdoctor' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"qdoctor.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name what is public, loaded or not."""
    return sorted({*globals(), *__all__})
