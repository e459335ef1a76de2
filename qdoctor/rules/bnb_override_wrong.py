"""BNB_CUDA_VERSION makes bitsandbytes load a library that is not there, or does not fit.

## What it finds
The variable set to something that is not the CUDA version of this torch.

## Why it hurts
bitsandbytes loads just that library, without a way back: it is missing, needs CUDA libraries that
torch did not bring along, or was built without cuBLASLt (`..._nocublaslt`).

## How we know
The variable is read from the environment, torch's CUDA version from its files.

## Fix
Remove the variable: bitsandbytes then chooses by torch's CUDA version.

## When to ignore
If the library that it names exists, its CUDA libraries are on the loader's path, and it works.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.model import Because, Finding
from qdoctor.rules.affected import needing
from qdoctor.rules.case import quoted, rule
from qdoctor.rules.remedies import unset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "bnb-override-wrong"
_VARIABLE = "BNB_CUDA_VERSION"
_SOME = "set"
_TELLING = {"bnb-override-and-failure"}
"""Texts that say that the variable is set, if not always to what."""


def find(case: Case) -> Iterator[Finding]:
    """Report an override that names another library than the one for torch's CUDA version."""
    sure = [one for one in case.signals_of(NAME) if NAME not in one.confirmed]
    told = next((one.said["override"] for one in sure if "override" in one.said), None)
    value = (case.machine.facts.env or {}).get(_VARIABLE) or told or _requested(case)
    value = value or (_SOME if any(one.signature in _TELLING for one in sure) else None)
    if not value or not _suspicious(case, value):
        return
    cuda = case.machine.torch_cuda.value
    text = f"{_VARIABLE} is {value}" + (f"; torch is built for CUDA {cuda}" if cuda else "")
    stated = _VARIABLE in (case.machine.facts.env or {})
    shown = _VARIABLE if value == _SOME else f"{_VARIABLE}={value}"
    where = f"facts: env.{_VARIABLE}" if stated else "the error text"
    yield Finding(
        rule=NAME,
        severity="warning",
        title=f"{shown} chooses another library than torch's CUDA version would",
        because=[Because(text, where, "inspected"), *map(quoted, case.signals_of(NAME)[:1])],
        fixes=[unset(_VARIABLE, "bitsandbytes then chooses by torch's CUDA version", verify=NAME)],
        affects=needing(case, "bnb_has_cuda_binary"),
    )


def _suspicious(case: Case, value: str) -> bool:
    """Say whether the override differs from torch's CUDA version, or an error text points at it."""
    cuda = case.machine.torch_cuda.value
    differs = bool(cuda) and value != (cuda or "").replace(".", "")
    texts = case.signals_of(NAME)
    return differs or (not cuda and bool(texts)) or any(NAME not in one.confirmed for one in texts)


def _requested(case: Case) -> str | None:
    """Return the override where a text asks for another CUDA version than torch's."""
    for one in case.signals_of(NAME):
        asked, own = one.said.get("requested"), one.said.get("cuda_dotted")
        if asked and own and asked != own:
            return asked.replace(".", "")
    return None


RULE = rule(NAME, __doc__, find)
