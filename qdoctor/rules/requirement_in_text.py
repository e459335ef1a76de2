"""A requirement that a text says is broken: whose, of what, and which release was found instead.

pip names the package that requires; transformers' and diffusers' own check does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from qdoctor.model import Because, Finding
from qdoctor.released import parsed
from qdoctor.rules.case import quoted
from qdoctor.rules.remedies import pip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Action
    from qdoctor.rules.case import Case, Signal

SIGNATURE = "requirement-broken"
_LOWER = {">=", ">", "==", "~=", "==="}
_TOO_NEW = "accelerate-transformers-mismatch"
_TOO_OLD = {"accelerate": _TOO_NEW, "peft": "peft-too-old"}
"""The rules of packages that have one of their own."""
_ANY_TOO_OLD = "package-too-old"


class Broken(msgspec.Struct, frozen=True):
    """A broken requirement: what is required, as a specifier set, and the release that is there."""

    package: str
    spec: SpecifierSet
    found: Version
    asker: str | None

    @property
    def too_old(self) -> bool:
        """Say whether an older release is there than is required."""
        lower = (one.version.removesuffix(".*") for one in self.spec if one.operator in _LOWER)
        return any(self.found < Version(one) for one in lower)

    @property
    def rule(self) -> str:
        """Name the rule that reports it."""
        return _TOO_OLD.get(self.package, _ANY_TOO_OLD) if self.too_old else _TOO_NEW


def broken(signal: Signal) -> Broken | None:
    """Read the requirement that a text of the signature names; None for another text."""
    said = signal.said
    package = said.get("required") or said.get("required2")
    found = parsed(said.get("found_release") or said.get("found_release2"))
    try:
        spec = SpecifierSet((said.get("spec") or said.get("spec2") or "").strip(" ,"))
    except InvalidSpecifier:
        return None
    if signal.signature != SIGNATURE or package is None or found is None or not spec:
        return None
    return Broken(canonicalize_name(package), spec, found, said.get("asker"))


def finding(case: Case, rule: str, signal: Signal, told: Broken) -> Finding:
    """Report a broken requirement; the required package moves, or else who requires."""
    way: Action = "upgrade" if told.too_old else "downgrade"
    asks = told.asker or "a package"
    why = f"{asks} requires {told.package}{told.spec}"
    newer = f"a newer {asks} may be made for {told.package} {told.found}"
    others = [pip("upgrade", told.asker, "", newer, verify=rule)] if told.asker else []
    known = case.machine.package(told.package).because
    return Finding(
        rule=rule,
        severity="warning",
        title=f"{why}, and {told.found} is there",
        because=[quoted(signal), *([known] if isinstance(known, Because) else [])],
        fixes=[pip(way, told.package, str(told.spec), why, verify=rule), *others],
    )


def in_texts(case: Case, rule: str) -> Iterator[Finding]:
    """Report the broken requirements that texts name and ``rule`` is about."""
    for signal in case.signals_of(rule):
        told = broken(signal)
        if told is not None and told.rule == rule:
            yield finding(case, rule, signal, told)
