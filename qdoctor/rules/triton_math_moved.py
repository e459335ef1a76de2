"""A libdevice function is not where code looks for it in this triton.

## What it finds
A bitsandbytes that uses a function of `triton.language.math` that moved to `triton.language.extra`.

## Why it hurts
Importing it, or compiling its kernels, fails with a missing module or attribute.

## How we know
The names that bitsandbytes uses, and those of each triton release, are read from the released
files.

## Fix
Install a bitsandbytes made for this triton, or another layer in place of SwitchBack. triton itself
is required by torch in exactly one release.

## When to ignore
If what asks for the name is not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import bnb_imports, switchback_triton_names_resolve
from qdoctor.rules.bnb_releases import importable
from qdoctor.rules.of_layer import of_layers
from qdoctor.rules.switchback import instead

if TYPE_CHECKING:
    from qdoctor.model import Fix
    from qdoctor.rules.case import Case

NAME = "triton-math-moved"


def _title(case: Case) -> str:
    bnb, triton = case.machine.bitsandbytes.value, case.machine.triton.value
    return f"bitsandbytes {bnb or '?'} asks for names that triton {triton or '?'} does not have"


def _fixes(case: Case) -> list[Fix]:
    if case.ask(bnb_imports).value == "no":
        return importable(case, "it can be imported beside this triton", verify=NAME)
    return instead(case)


RULE = of_layers(
    NAME,
    __doc__,
    (bnb_imports, switchback_triton_names_resolve),
    severity="note",
    title=_title,
    fixes=_fixes,
)
