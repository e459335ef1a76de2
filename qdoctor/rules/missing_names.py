"""Makes the rules about names that packages ask triton for and triton does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qdoctor.layers import bnb_imports, switchback_triton_names_resolve
from qdoctor.layers.triton_uses import TOO_OLD, problem_of
from qdoctor.rules.bnb_releases import importable
from qdoctor.rules.case import Rule, rule
from qdoctor.rules.of_layer import of_layers
from qdoctor.rules.packages_asking import with_packages
from qdoctor.rules.switchback import instead
from qdoctor.rules.triton_name_in_text import change_code, named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Finding, Fix
    from qdoctor.rules.case import Case


def missing_names(name: str, doc: str | None) -> Rule:
    """Make the rule ``name``: an error where importing fails, a note where only SwitchBack does."""

    def fixes(case: Case) -> list[Fix]:
        if case.ask(bnb_imports).value == "no":
            return importable(case, "it can be imported beside this triton", verify=name)
        return instead(case)

    layers = (bnb_imports, switchback_triton_names_resolve)
    noted = of_layers(name, doc, layers, severity="note", title=_title, fixes=fixes)

    def find(case: Case) -> Iterator[Finding]:
        importing = case.ask(bnb_imports)
        broken = importing.value == "no" and importing.rule == name
        own = noted.find(case)
        told = [_by_its_text(case, one) for one in own]
        kept = [one for one in told if one is not None]
        found = (msgspec.structs.replace(one, severity="error") if broken else one for one in kept)
        yield from with_packages(found, case, name)

    return rule(name, doc, find)


def _by_its_text(case: Case, found: Finding) -> Finding | None:
    """Judge a finding that rests on a text alone by the name it gives; None: it is another problem.

    The name may be one that no bitsandbytes asks for, so the code that asks has to change.
    """
    name = named(case, found.rule) if found.undecided is not None else None
    if name is None:
        return found
    if problem_of(case.machine, case.matrix, name, at_import=True) == TOO_OLD:
        return None
    fixes = [*change_code(case, name, verify=found.rule), *found.fixes]
    return msgspec.structs.replace(found, fixes=fixes)


def _title(case: Case) -> str:
    bnb, triton = case.machine.bitsandbytes.value, case.machine.triton.value
    return f"bitsandbytes {bnb or '?'} asks for names that triton {triton or '?'} does not have"
