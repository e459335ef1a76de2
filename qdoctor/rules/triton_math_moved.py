"""A libdevice function is not where code looks for it in this triton.

## What it finds
A bitsandbytes, or any other installed package, that uses a function of `triton.language.math` that
moved to `triton.language.extra`.

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

from qdoctor.rules.missing_names import missing_names

NAME = "triton-math-moved"

RULE = missing_names(NAME, __doc__)
