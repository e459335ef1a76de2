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

from typing import TYPE_CHECKING

from qdoctor.model import Finding, Fix
from qdoctor.rules.case import quoted, rule
from qdoctor.rules.of_names import missing
from qdoctor.rules.packages_in_text import asker, blamed
from qdoctor.rules.remedies import pip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case, Signal

NAME = "api-keyword-renamed"
_ANY = "any-keyword"


def find(case: Case) -> Iterator[Finding]:
    """Report the names that the table knows; of a keyword that it does not know, what is sure."""
    known = list(missing(case, NAME, "note"))
    yield from known
    if not known:
        yield from (_of_any(case, one) for one in case.signals_of(NAME) if one.signature == _ANY)


def _of_any(case: Case, signal: Signal) -> Finding:
    """Say of an unknown keyword that caller and called are of different releases, or wrong."""
    on, keyword = signal.said["on"], signal.said["keyword"]
    caller = blamed(case, signal, "") if asker(signal, "") else None
    why = f"{on} of this release has no {keyword}: leave it out, or write what it is called there"
    newer = [pip("upgrade", caller, "", "it makes the call", verify=NAME)] if caller else []
    return Finding(
        rule=NAME,
        severity="note",
        title=f"{on} does not take {keyword}",
        because=[quoted(signal)],
        fixes=[Fix(action="change-code", why=why), *newer],
        undecided="which releases of the caller and of what is called go together",
    )


RULE = rule(NAME, __doc__, find)
