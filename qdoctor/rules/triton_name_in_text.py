"""The triton name that an error text says is missing: whose problem it is, and what to do.

Which releases have the name decides, and which triton is installed; of an unknown one the name's
own history does. What torch itself asks for is torch's business (``triton-pin-mismatch``), what
bitsandbytes asks for is told by the rules that know its releases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import triton_matches_pin
from qdoctor.layers.triton_names import has_name, rule_of
from qdoctor.layers.triton_uses import TOO_OLD
from qdoctor.model import Finding
from qdoctor.released import fact, parsed, release, requirement
from qdoctor.rules.bnb_releases import BNB
from qdoctor.rules.case import quoted
from qdoctor.rules.packages_in_text import asker, blamed, known_askers, newer, older
from qdoctor.rules.remedies import by_hand, pip
from qdoctor.rules.triton_releases import (
    History,
    distribution,
    first_torch_with,
    has_before,
    history,
    pinned,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Action, Fix
    from qdoctor.rules.case import Case, Signal

_LIBDEVICE = "extra.libdevice"
_MATH = "triton.language.math"
_LANGUAGE = "triton.language"
_MOVED = "triton-math-moved"
_OTHER = "triton-api-moved-other"
_OF_TORCH = "triton-pin-mismatch"
_ASKED_BY_BNB = ("triton_names_used", "import_needs", "switchback_names_used")
_STATED = ("triton", "pytorch-triton", "triton-windows")


def name_in(signal: Signal) -> str | None:
    """Return the dotted name that a text says is missing; None where it names none."""
    said = signal.said
    if "missing" in said:
        return said["missing"]
    if "attribute" in said and "within" in said:
        return f"{said['within']}.{said['attribute']}"
    if "imported" in said and "origin" in said:
        return f"{said['origin']}.{said['imported']}"
    return f"{_MATH}.{said['name']}" if "name" in said else None


def named(case: Case, rule: str) -> str | None:
    """Return the name that the first text of ``rule`` says is missing."""
    return next((name for s in case.signals_of(rule) if (name := name_in(s))), None)


def in_text(case: Case, rule: str) -> Iterator[Finding]:
    """Report each text whose missing name is the problem ``rule``, whatever code asks for it."""
    for signal in case.signals_of(rule):
        name = name_in(signal)
        if name is None or asked_by_torch(case, signal, name):
            continue
        if (TOO_OLD if before_all(case, signal, name) else problem(case, name)) != rule:
            continue
        if rule == TOO_OLD or not asked_by_bnb(case, signal, name):
            yield _finding(case, rule, signal, history(case, name))


def internal_in_text(case: Case) -> Iterator[Finding]:
    """Report code that uses a member of triton's classes, where torch's own triton is installed.

    Beside another one torch's compiler is the likelier to ask (``triton-pin-mismatch``).
    """
    stated = any((case.machine.facts.packages or {}).get(one) for one in _STATED)
    if not (stated and case.machine.triton_pin.value and not pin_is_broken(case)):
        return
    for signal in case.signals_of(_OTHER):
        member, asks = signal.said.get("member"), asker(signal, "triton")
        if member is None or asks == "torch":
            continue
        triton, why = case.machine.triton, f"{member} is no part of triton's language: do without"
        yield Finding(
            rule=_OTHER,
            severity="note",
            title=f"{blamed(case, signal, 'triton') or 'some code'} uses {member} inside triton, "
            f"which triton {triton.value} does not have",
            because=[quoted(signal), *([triton.because] if triton.because else [])],
            fixes=[
                *newer(case, blamed(case, signal, "triton"), f"it uses {member}", verify=_OTHER),
                by_hand("change-code", why, verify=_OTHER),
            ],
            undecided="which releases of triton have it",
        )


def before_all(case: Case, signal: Signal, name: str) -> bool:
    """Say whether only a triton older than all that are known can miss ``name`` so.

    It was missed in a module inside triton, so triton it was, and all the known releases have it.
    """
    said, known = signal.said, history(case, name)
    module = said.get("within", said.get("origin", ""))
    inside = "." in module and "partly" not in said
    own = parsed(case.machine.triton.value)
    older = own < known.known[0] if own else case.machine.triton.value is None
    return inside and older and len(known.having) == len(known.known)


def asked_by_torch(case: Case, signal: Signal, name: str) -> bool:
    """Say whether torch's own code asks: by the traceback, else where its pin is broken.

    Of what lies inside triton torch's compiler uses most, other code hardly anything.
    """
    asks = asker(signal, "triton")
    if signal.rules[:1] == (_OF_TORCH,):
        return True
    if asks is None and _only_torch_asks(case, name):
        return True
    if asks is not None or not pin_is_broken(case):
        return asks == "torch"
    internals: list[str] = case.matrix.table("name_askers")["internals"]["of_torch"]
    known = "torch" in dict(known_askers(case, name))
    return known or name.startswith(tuple(internals))


def _only_torch_asks(case: Case, name: str) -> bool:
    """Say whether only torch is known to ask for a name, where no version speaks against it.

    None does where no release of triton has the name: torch asks for it when others are gone.
    """
    packages = case.machine.facts.packages or {}
    stated = history(case, name).having and any(packages.get(one) for one in (*_STATED, "torch"))
    return not stated and {one for one, _ in known_askers(case, name)} == {"torch"}


def pin_is_broken(case: Case) -> bool:
    """Say whether triton is known not to be of the minor release that this torch is made for."""
    if case.ask(triton_matches_pin).value == "no":
        return True
    own = parsed((case.machine.triton.value or "").replace(".x", ""))
    torch = parsed(case.machine.torch.value)
    known = fact(case.matrix, "torch", torch.base_version, "triton_pin").value if torch else None
    pin = pinned(known)
    return pin is not None and own is not None and pin.release[:2] != own.release[:2]


def asked_by_bnb(case: Case, signal: Signal, name: str) -> bool:
    """Say whether bitsandbytes asks: by the traceback, else by what its releases ask for."""
    if (module := asker(signal, "triton")) is not None:
        return module == BNB
    version = case.machine.bitsandbytes.value
    if version == "":
        return False
    releases = [version] if version else [str(one) for one in case.matrix.versions(BNB)]
    return any(_asks(case, one, name) for one in releases)


def change_code(case: Case, name: str, *, where: str = "", verify: str) -> list[Fix]:
    """Say under which name triton has a function now; that of the newest where it is not known."""
    known = [str(one) for one in case.matrix.versions("triton")]
    triton = case.machine.triton.value or known[-1]
    found = release(case.matrix, "triton", triton)
    names: list[str] = found.facts.get("names", []) if found else []
    there = _now(name, names)
    if there is None:
        return []
    why = f"in triton {triton} {name} is {there}{where}"
    return [by_hand("change-code", why, verify=verify)]


def newer_triton(case: Case, name: str, *, verify: str) -> list[Fix]:
    """Offer the first newer triton that has a name, and the torch that brings such a one along."""
    came = history(case, name).came_after(parsed(case.machine.triton.value))
    if came is None:
        return []
    torch = first_torch_with(case.matrix, came)
    package = distribution(case.machine)
    why = f"{name} is there from triton {came} on; every torch requires its own triton"
    there = package == "triton" or package in (case.machine.facts.packages or {})
    action: Action = "upgrade" if there else "install"
    fixes = [pip(action, package, f">={came}", why, verify=verify, applicability="unsafe")]
    if torch:
        why = f"it is the first to bring a triton along that has {name}"
        spec = f">={torch}"
        fixes.append(pip("upgrade", "torch", spec, why, verify=verify, applicability="unsafe"))
    return fixes


def _finding(case: Case, rule: str, signal: Signal, known: History) -> Finding:
    triton, name = case.machine.triton, known.name
    asks = blamed(case, signal, "triton") or "some code"
    too_old = rule == TOO_OLD
    fixes = _for_old(case, rule, signal, name) if too_old else _for_new(case, rule, signal, known)
    return Finding(
        rule=rule,
        severity="note",
        title=f"{asks} asks for {name}, which triton {triton.value or ''} does not have"
        f"{' yet' if too_old else ''}".replace("  ", " "),
        because=[quoted(signal), known.because, *([triton.because] if triton.because else [])],
        fixes=list(fixes),
    )


def problem(case: Case, name: str) -> str | None:
    """Name the problem of code that asks for ``name`` here.

    None where the release that is only implied has the name, and where every release has it: then
    the triton that runs is not the one that is known.
    """
    known = history(case, name)
    own = parsed(case.machine.triton.value)
    stated = any((case.machine.facts.packages or {}).get(one) for one in _STATED)
    if len(known.having) == len(known.known):
        return None
    if own is not None and not stated and has_name(case.machine, case.matrix, name) == "yes":
        return None
    if not known.having:
        return _MOVED if _is_math(case, name) else _OTHER
    older_ones = known.having[0] <= own if own else known.having[0] == known.known[0]
    in_between = own is None and known.went is not None
    return rule_of(name, case.matrix) if older_ones or in_between else TOO_OLD


def _is_math(case: Case, name: str) -> bool:
    """Say whether a name that no release has is that of a function which some have elsewhere."""
    scope, _, last = name.rpartition(".")
    return scope == _LANGUAGE and bool(history(case, f"{_MATH}.{last}").having)


def _for_new(case: Case, rule: str, signal: Signal, known: History) -> Iterator[Fix]:
    """Offer what is true where triton is too new for the code: triton stays, for torch pins it."""
    yield from _required(case, known, verify=rule)
    for package in _askers(case, signal, known.name):
        sure = blamed(case, signal, "triton") is not None
        why = (
            f"it asks for {known.name}"
            if sure
            else f"older ones ask for {known.name}: if you use it"
        )
        yield from newer(case, package, why, verify=rule, name=known.name)
    if known.compiled:
        why = "its compiled part and its Python files are of different releases: remove both first"
        yield pip("reinstall", distribution(case.machine), "", why, verify=rule)
    yield from change_code(case, known.name, verify=rule)
    if known.went is not None and has_before(case, known.went):
        along = "; take the torch that requires such a triton along with it" * bool(known.having)
        why = f"{known.because.text}{along}"
        package, spec = distribution(case.machine), f"<{known.went}"
        yield pip("downgrade", package, spec, why, verify=rule, applicability="unsafe")
    elif known.went is None:
        yield by_hand("change-code", f"{known.because.text}: look for it first", verify=rule)


def _askers(case: Case, signal: Signal, name: str) -> list[str]:
    """Return who asks, by the traceback; without one whoever is known to have asked for it."""
    package = blamed(case, signal, "triton")
    return [package] if package else [one for one, _ in known_askers(case, name) if one != "torch"]


def _for_old(case: Case, rule: str, signal: Signal, name: str) -> Iterator[Fix]:
    yield from newer_triton(case, name, verify=rule)
    yield from older(case, blamed(case, signal, "triton"), f"it asks for {name}", verify=rule)


def _required(case: Case, known: History, *, verify: str) -> Iterator[Fix]:
    """Offer the triton of the torch that an installed package requires, if it has the name.

    Only where the installed triton is not known: too old or too new, that one is right.
    """
    if case.machine.triton.value is not None or not known.having:
        return
    for package, version in (case.machine.facts.packages or {}).items():
        torch = _required_torch(case, package, version)
        pin = fact(case.matrix, "torch", torch, "triton_pin").value if torch else None
        if pin and pinned(pin) in known.having:
            why = f"{package} {version} requires torch {torch}, which requires triton{pin}"
            yield pip("install-matching", distribution(case.machine), pin, why, verify=verify)
            return


def _required_torch(case: Case, package: str, version: str) -> str | None:
    needed = fact(case.matrix, package, version, "requires_in_matrix").value or []
    found = [one for line in needed if (one := requirement(line)) and one.name == "torch"]
    exact = [own.version for one in found for own in one.specifier if own.operator == "=="]
    return exact[0] if exact else None


def _asks(case: Case, version: str, name: str) -> bool:
    return any(name in (fact(case.matrix, BNB, version, k).value or ()) for k in _ASKED_BY_BNB)


def _now(name: str, names: list[str]) -> str | None:
    """Return the name of the same function elsewhere; libdevice's, if it has it."""
    top = "triton.language." if name.startswith("triton.language.") else "triton."
    last = name.rpartition(".")[2]
    inside = (one for one in names if one.startswith(top) and one != name)
    found = [one for one in inside if one.endswith(f".{last}")]
    return min(found, key=lambda one: (_LIBDEVICE not in one, len(one)), default=None)
