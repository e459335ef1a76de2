"""Makes the rules about names that packages ask triton for and triton does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qdoctor.layers import bnb_imports, switchback_triton_names_resolve
from qdoctor.released import called
from qdoctor.rules.bnb_releases import importable
from qdoctor.rules.case import Rule, rule
from qdoctor.rules.of_layer import of_layers
from qdoctor.rules.packages_asking import moved, of_packages, with_packages
from qdoctor.rules.switchback import instead
from qdoctor.rules.triton_name_in_text import asked_by_bnb, in_text, name_in, problem

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
        own = [one for one in noted.find(case) if one.undecided is None or _is_of_bnb(case, name)]
        found = (msgspec.structs.replace(one, severity="error") if broken else one for one in own)
        if case.signals_of(name) and not any(True for _ in of_packages(case, name, moved)):
            yield from in_text(case, name)
        yield from with_packages(found, case, name)

    return rule(name, doc, find)


def _is_of_bnb(case: Case, rule: str) -> bool:
    """Say whether a text of ``rule`` misses a name that bitsandbytes asks for."""
    names = [(signal, name_in(signal)) for signal in case.signals_of(rule)]
    return any(
        name is not None and asked_by_bnb(case, signal, name) and problem(case, name) == rule
        for signal, name in names
    )


def _title(case: Case) -> str:
    bnb, triton = case.machine.bitsandbytes.value, case.machine.triton.value
    asks, has = called("bitsandbytes", bnb), called("triton", triton)
    return f"{asks} asks for names that {has} does not have"
