"""A DLL of a package does not load on Windows.

## What it finds
The texts with which Windows refuses a DLL of torch, triton or an extension: the module was not
found (126), a procedure in it was not (127), its initialization failed (1114).

## Why it hurts
Importing the package ends there. The DLL that the text names is there; one that it needs is not, or
is too old.

## How we know
The text names the DLL. Which DLLs of Windows the packages need is read from their import tables:
the Visual C++ runtime, and for some releases one that no installer brings.

## Fix
Install the newest Visual C++ Redistributable; a release that needs a DLL of nobody's is replaced by
the next one.

## When to ignore
Never, if the package is used.
"""

from __future__ import annotations

from qdoctor.rules.of_text import of_texts

NAME = "dll-not-loaded"

RULE = of_texts(NAME, __doc__, severity="error")
