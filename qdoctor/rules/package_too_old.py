"""A text says itself which package to upgrade, and mostly to which release.

## What it finds
A check that asks for a newer release of a package (`requires bitsandbytes>=0.39.0 - please
upgrade`, `the minimum required version of torchao is 0.7.0`), where the installed one is older or
not known. Or a name that one installed package imports and the other does not have, or not any
more: the older of the two is named.

## Why it hurts
The call that was made is refused.

## How we know
The text names the package; the installed release is held against the one that it asks for.

## Fix
Upgrade the package. Where the installed release is new enough already, the process began before it
was installed, or imports another copy: start it anew.

## When to ignore
If the program goes on without what it asks for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from qdoctor.model import Because, Finding, Fix
from qdoctor.released import parsed
from qdoctor.rules import hub_names
from qdoctor.rules.case import quoted, rule
from qdoctor.rules.of_names import between_known
from qdoctor.rules.of_text import answer_to, answered
from qdoctor.rules.remedies import pip
from qdoctor.rules.requirement_in_text import in_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case, Signal

NAME = "package-too-old"
_MODELS = "transformers"
_OF_MODELS = {
    "model_type": ("model_types", ""),
    "model_type2": ("model_types", ""),
    "model_class": ("imports", _MODELS),
    "model_class2": ("imports", _MODELS),
    "model_class3": ("imports", _MODELS),
}
"""The groups of signatures that name a model, and where the table of names has it."""
_GROUPS = ("", "2", "3", "4")
"""What the groups of a pattern's alternatives end in: names must differ."""


def find(case: Case) -> Iterator[Finding]:
    """Report each package that a text asks to upgrade."""
    yield from in_texts(case, NAME)
    yield from between_known(case, NAME, "warning")
    for signal in case.signals_of(NAME):
        package = _said(signal, "wanted_package")
        model = next((one for one in _OF_MODELS if one in signal.said), None)
        if model is not None and answer_to(case, NAME, signal) is None:
            yield from _of_model(case, signal, signal.said[model], *_OF_MODELS[model])
        elif package is not None:
            yield _finding(case, signal, canonicalize_name(package), _said(signal, "at_least"))
        elif (row := answer_to(case, NAME, signal)) is not None:
            yield answered(case, NAME, "warning", signal, row, None)


def _of_model(case: Case, signal: Signal, name: str, kind: str, owner: str) -> Iterator[Finding]:
    """Report a model that only a later transformers knows; of an unknown one its text speaks."""
    known = case.machine.package(_MODELS)
    came, own = hub_names.came_with(case, _MODELS, kind, owner, name), parsed(known.value)
    wanted = parsed(came)
    if wanted is None or (own is not None and own >= wanted):
        return
    read = [known.because] if known.because else []
    source = "the names in the wheels of transformers"
    text = f"{name} is in transformers {came}, not in the release looked at before it"
    yield Finding(
        rule=NAME,
        severity="warning",
        title=f"transformers {known.value or ''} does not know {name} yet".replace("  ", " "),
        because=[quoted(signal), Because(text, source, "mined"), *read],
        fixes=[pip("upgrade", _MODELS, f">={came}", "it knows the model", verify=NAME)],
    )


def _said(signal: Signal, group: str) -> str | None:
    names = (f"{group}{ending}" for ending in _GROUPS)
    return next((signal.said[name] for name in names if name in signal.said), None)


def _finding(case: Case, signal: Signal, package: str, release: str | None) -> Finding:
    known = case.machine.package(package)
    own, wanted = parsed(known.value), parsed(release)
    enough = own is not None and wanted is not None and own >= wanted
    what = f"{package} {wanted} or newer" if wanted else f"a newer {package}"
    read = known.because or Because(known.reason, "facts: packages", "inspected")
    return Finding(
        rule=NAME,
        severity="warning",
        title=f"{package} {own} is new enough: the process does not see it yet"
        if enough
        else f"the program asks for {what}",
        because=[quoted(signal), read],
        fixes=_restarted() if enough else [_newer(package, release)],
        undecided=None if own else f"which {package} is installed",
    )


def _newer(package: str, release: str | None) -> Fix:
    spec = f">={release}" if release else ""
    return pip("upgrade", package, spec, "as the text asks", verify=NAME)


def _restarted() -> list[Fix]:
    return [Fix(action="restart-kernel", why="a process sees new packages from its start on")]


RULE = rule(NAME, __doc__, find)
