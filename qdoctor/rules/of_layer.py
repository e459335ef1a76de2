"""Makes a rule of a layer: what the layer answers for this rule is all that there is to find."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.model import Finding
from qdoctor.rules.affected import needing
from qdoctor.rules.case import Rule, Suspicion, rule, suspect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qdoctor.layers import Layer
    from qdoctor.model import Fix, Severity
    from qdoctor.rules.case import Case


def of_layers(  # noqa: PLR0913 - a rule has these parts
    name: str,
    doc: str | None,
    layers: tuple[Layer, ...],
    *,
    severity: Severity,
    title: Callable[[Case], str],
    fixes: Callable[[Case], list[Fix]],
    aside: bool = False,
) -> Rule:
    """Make a rule that speaks up where one of ``layers`` says no in its name.

    It keeps quiet where nothing that is judged needs the layer and no error text asks about it.
    ``aside``: everything else is said first, unless it is asked for.
    """

    def find(case: Case) -> Iterator[Finding]:
        found = _first(case, name, layers)
        if found is None:
            return
        affects = [one for layer in layers for one in needing(case, layer.__name__)]
        if not (affects or case.signals_of(name)):
            return
        yield Finding(
            rule=name,
            severity=severity,
            title=title(case),
            because=found.because,
            fixes=fixes(case),
            affects=list(dict.fromkeys(affects)),
            undecided=found.undecided,
        )

    return rule(name, doc, find, aside=aside)


def _first(case: Case, name: str, layers: tuple[Layer, ...]) -> Suspicion | None:
    """Return the suspicion that the facts confirm; else one that only a text raises."""
    weighed = [found for layer in layers if (found := suspect(case, name, case.ask(layer)))]
    return min(weighed, key=lambda found: found.undecided is not None, default=None)
