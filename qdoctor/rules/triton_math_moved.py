"""A libdevice function is not where code looks for it in this triton.

## What it finds
A bitsandbytes, or any other installed package, that uses a function of `triton.language.math` that
moved to `triton.language.extra`; a text that misses one; and code that names the functions of CUDA
(`triton.language.extra.cuda`) where triton compiles for another device.

## Why it hurts
Importing it, or compiling its kernels, fails with a missing module or attribute.

## How we know
The names that bitsandbytes uses, and those of each triton release, are read from the released
files; what other packages use from their installed files. Code that looks first is not accused.

## Fix
Install a release of the package made for this triton, or another layer in place of SwitchBack.
triton itself is required by torch in exactly one release.

## When to ignore
If what asks for the name is not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.model import Finding
from qdoctor.rules.case import quoted, rule
from qdoctor.rules.missing_names import missing_names
from qdoctor.rules.packages_in_text import blamed, newer
from qdoctor.rules.remedies import by_hand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Fix
    from qdoctor.rules.case import Case, Signal

NAME = "triton-math-moved"
_DEVICE_FUNCTION = "device_function"
_NAMES = missing_names(NAME, __doc__)


def find(case: Case) -> Iterator[Finding]:
    """Report names that moved, and functions of CUDA that triton refuses to convert."""
    yield from _NAMES.find(case)
    for signal in case.signals_of(NAME):
        if _DEVICE_FUNCTION in signal.said:
            yield Finding(
                rule=NAME,
                severity="note",
                title="a kernel calls a function of CUDA's libdevice by its own name",
                because=[quoted(signal)],
                fixes=_fixes(case, signal),
            )


def _fixes(case: Case, signal: Signal) -> list[Fix]:
    package = blamed(case, signal, "triton")
    why = "it calls a function of triton.language.extra.cuda"
    called = f"__nv_{signal.said[_DEVICE_FUNCTION]}"
    instead = f"take {called} from triton.language.extra.libdevice, which fits every device"
    return [
        *newer(case, package, why, verify=NAME),
        by_hand("change-code", instead, verify=NAME),
    ]


RULE = rule(NAME, __doc__, find)
