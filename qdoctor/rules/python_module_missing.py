"""A package imports what it does not require, and nothing else brings it.

## What it finds
A bitsandbytes whose import asks for a Python package (scipy, numpy) that is known to be absent.

## Why it hurts
`import bitsandbytes` ends in `ModuleNotFoundError: No module named 'scipy'`. Some releases do not
name what they import in their metadata, so no installer brings it along.

## How we know
The imports are read from the released files, the requirements from their METADATA.

## Fix
Install the missing package beside it, or a release that requires what it imports.

## When to ignore
Never, if the package is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import bnb_imports
from qdoctor.released import fact
from qdoctor.rules.of_layer import of_layers
from qdoctor.rules.remedies import pip

if TYPE_CHECKING:
    from qdoctor.model import Fix
    from qdoctor.rules.case import Case

NAME = "python-module-missing"


def _title(case: Case) -> str:
    return (
        f"bitsandbytes {case.machine.bitsandbytes.value} cannot be imported: a package is missing"
    )


def _fixes(case: Case) -> list[Fix]:
    version = case.machine.bitsandbytes.value or ""
    needed = fact(case.matrix, "bitsandbytes", version, "import_needs_modules").value or []
    names = [name.replace("_", "-") for name in needed]
    why = f"importing bitsandbytes {version} asks for it"
    return [
        pip("install", name, "", why, verify=NAME)
        for name in names
        if case.machine.package(name).value == ""
    ]


RULE = of_layers(NAME, __doc__, (bnb_imports,), severity="error", title=_title, fixes=_fixes)
