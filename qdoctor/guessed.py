"""What is only guessed of a machine while a text tells what is wrong: it accuses nothing.

People leave the build out of torch's version, and name other machines than theirs beside an error
text. What the index serves by default, or a GPU that is only named there, may explain that text;
a fault that rests on it alone, and that the text is not about, is no more than a note.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qdoctor.released import unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from qdoctor.machine import Machine
    from qdoctor.model import Finding


def noted(
    found: Iterable[Finding], of_rules: Callable[[set[str]], Sequence[Finding]]
) -> list[Finding]:
    """Make notes of the faults that the text is not about and that guesses alone show.

    ``of_rules`` runs the named rules on the machine without its guesses (``without_guesses``).
    """
    found = list(found)
    asides = {one.rule for one in found if _is_aside(one)}
    sure = {one.rule for one in of_rules(asides) if one.severity != "note"} if asides else set()
    return [
        msgspec.structs.replace(one, severity="note")
        if _is_aside(one) and one.rule not in sure
        else one
        for one in found
    ]


def without_guesses(machine: Machine) -> Machine:
    """Return a machine of which it is open what torch was built for, unless it was read."""
    facts = machine.facts
    inspected = any(one.package == "torch" for one in facts.native or ())
    tagged = "+" in (machine.torch.value or "")
    read = facts.torch_cuda is not None or facts.torch_arch_list or inspected or tagged
    if read or not machine.torch.value:
        return machine
    open_ = unknown("torch's build is not stated, and its release's default is a guess")
    return msgspec.structs.replace(machine, torch_cuda=open_, torch_sm=open_)


def _is_aside(one: Finding) -> bool:
    return one.severity != "note" and not one.explains_error
