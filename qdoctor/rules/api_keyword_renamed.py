"""A keyword or a function that the installed release does not have: renamed, moved, or never there.

## What it finds
A call with a keyword that this release of transformers, trl or peft does not take (`load_in_8bit`,
`attn_implementation`, `tokenizer` ...), or a function that was renamed.

## Why it hurts
The call fails with `got an unexpected keyword argument`; guides and even the libraries' own
messages name keywords of other releases.

## How we know
The releases that take the keyword were read from their wheels. The installed release decides; where
it is not known, the class in the text may give it away, or the Python that wrote the text.

## Fix
Write what this release calls it; or take a release that has the keyword.

## When to ignore
Never: the call fails.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qdoctor.model import Finding, Fix
from qdoctor.rules import hub_names
from qdoctor.rules.case import quoted, rule
from qdoctor.rules.of_names import is_known, is_of_base_class, missing
from qdoctor.rules.of_text import of_texts
from qdoctor.rules.packages_in_text import asker, blamed
from qdoctor.rules.remedies import pip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case, Signal

NAME = "api-keyword-renamed"
_OF_TEXTS = of_texts(NAME, __doc__, severity="note")
_ANY, _ANY_CALL = "any-keyword", "any-call"
_ANY_ATTRIBUTE = "any-attribute"
_KNOWN_ELSEWHERE = "keyword-unexpected"
"""The row of keywords that the table knows of some classes."""
_OF_A_CLASS = r"\w*[A-Z]\w*\.\w+"
_OF = "package-name-missing"


def find(case: Case) -> Iterator[Finding]:
    """Report the names that the tables know; of one that they do not know, what is sure."""
    known = [*missing(case, NAME, "note"), *_OF_TEXTS.find(case)]
    yield from known
    if not known:
        yield from (_of_package(case, one) for one in case.signals_of(NAME) if one.signature == _OF)
        calls = [one for one in case.signals_of(NAME) if {"needed", "doubled"} & one.said.keys()]
        yield from (_of_a_call(case, one) for one in calls)
    for signal in case.signals_of(NAME) if not known else ():
        owner, name = hub_names.missed(signal)
        if not name or (is_known(case, signal) and not is_of_base_class(case, signal)):
            continue
        of_family = signal.signature == _ANY_ATTRIBUTE and (
            _is_of_a_model(case, owner) or _is_handed_over(case, signal)
        )
        of_class = signal.signature == _KNOWN_ELSEWHERE and re.fullmatch(_OF_A_CLASS, owner)
        between = signal.signature == _ANY_CALL and bool(signal.asked_by)
        if signal.signature == _ANY or of_family or of_class or between:
            yield _of_any(case, signal, owner, name)


def _of_a_call(case: Case, signal: Signal) -> Finding:
    """Say of an argument that is given not at all, or twice, that the call is of another time."""
    on, needed = signal.said["on"], signal.said.get("needed")
    doubled = signal.said.get("doubled")
    asks = f"asks for {needed}: give it" if needed else f"takes {doubled} at another place: name it"
    why = f"{on} of this release {asks}, or take the release of the calling code"
    return Finding(
        rule=NAME,
        severity="note",
        title=f"{on} is called {f'without {needed}' if needed else f'with {doubled} twice'}"
        ", as for another release",
        because=[quoted(signal)],
        fixes=[
            Fix(action="change-code", why=why),
            pip("downgrade", _having(case, on), "", "the calling code is older", verify=NAME),
        ],
        undecided="which releases of the caller and of what is called go together",
    )


def _having(case: Case, on: str) -> str:
    """Name the package whose models have parts that are named so."""
    parts: dict[str, str] = case.matrix.table("api_names")["parts_of_pipelines"]
    named = re.fullmatch(parts["pattern"], on.partition(".")[0])
    return parts["package"] if named else "transformers"


def _is_of_a_model(case: Case, owner: str) -> bool:
    """Say whether a class is named as those that models are made of."""
    parts: str = case.matrix.table("api_names")["parts_of_models"]["pattern"]
    return hub_names.is_of_family(case, owner) or re.fullmatch(parts, owner) is not None


def _is_handed_over(case: Case, signal: Signal) -> bool:
    """Say whether one known package called another one, which missed what it was given.

    torch's modules look names up for everybody: it is nobody's caller here.
    """
    rows = case.matrix.table("python_modules")["rows"]
    return len([one for one in signal.asked_by if one in rows and one != "torch"]) > 1


def _of_package(case: Case, signal: Signal) -> Finding:
    """Say of a name that a package lacks that it and the code that asks are of different times."""
    module, name = hub_names.missed(signal)
    package = module.partition(".")[0].replace("_", "-")
    caller = blamed(case, signal, "") if asker(signal, "") else None
    version = case.machine.package(package).value or "of this release"
    newer = pip(
        "upgrade", package, "", f"where {name} is new, a newer {package} has it", verify=NAME
    )
    why = f"where {name} is gone: leave it out, or write what it is called now"
    instead = [Fix(action="change-code", why=why)]
    asks = [pip("upgrade", caller, "", "it asks for the name", verify=NAME)] if caller else []
    return Finding(
        rule=NAME,
        severity="note",
        title=f"{package} {version} does not have {name}, which {caller or 'some code'} asks for",
        because=[quoted(signal)],
        fixes=[newer, *asks, *instead] if caller else [*instead, newer],
        undecided=f"whether {name} is new in {package} or gone",
    )


def _of_any(case: Case, signal: Signal, on: str, name: str) -> Finding:
    """Say of an unknown name that caller and called are of different releases, or it is wrong."""
    caller = _caller(case, signal) if signal.signature == _ANY_ATTRIBUTE else None
    caller = caller or (blamed(case, signal, "") if asker(signal, "") else None)
    why = f"{on} of this release has no {name}: leave it out, or write what it is called there"
    newer = [pip("upgrade", caller, "", "it makes the call", verify=NAME)] if caller else []
    instead = [Fix(action="change-code", why=why)]
    handed = signal.signature == _ANY_ATTRIBUTE and _is_handed_over(case, signal)
    return Finding(
        rule=NAME,
        severity="note",
        title=f"{on} does not {'take' if 'keyword' in signal.said else 'have'} {name}",
        because=[quoted(signal)],
        fixes=[*newer, *instead] if handed else [*instead, *newer],
        undecided="which releases of the caller and of what is called go together",
    )


def _caller(case: Case, signal: Signal) -> str | None:
    """Name the outermost known package of a call that goes through several; None for fewer."""
    rows = case.matrix.table("python_modules")["rows"]
    known = [one for one in signal.asked_by if one in rows and one != "torch"]
    return str(rows[known[-1]]["package"]) if len(known) > 1 else None


RULE = rule(NAME, __doc__, find)
