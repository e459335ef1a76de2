"""There is no triton for this Python.

## What it finds
A triton release without a wheel for this Python version.

## Why it hurts
An installer leaves triton out or refuses: `torch.compile` and Triton kernels are not there.

## How we know
The Python versions of each release are read from the tags of its wheels.

## Fix
Use a Python that this torch and its triton have wheels for.

## When to ignore
If nothing here uses Triton or `torch.compile`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import triton_fits_python
from qdoctor.rules.of_layer import of_layers
from qdoctor.rules.remedies import by_hand

if TYPE_CHECKING:
    from qdoctor.model import Fix
    from qdoctor.rules.case import Case

NAME = "triton-missing-for-python"


def _title(case: Case) -> str:
    triton, python = case.machine.triton.value, case.machine.python.value
    return f"triton {triton or '?'} has no wheel for Python {python or '?'}"


def _fixes(case: Case) -> list[Fix]:
    why = f"triton {case.machine.triton.value or ''} has wheels for other Python versions"
    return [by_hand("use-python", why.replace("  ", " "), verify=NAME)]


RULE = of_layers(NAME, __doc__, (triton_fits_python,), severity="note", title=_title, fixes=_fixes)
