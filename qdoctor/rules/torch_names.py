"""When a name of torch came and went, and what to do where a text says that it is missing.

The history is data, read from torch's wheels (``matrix/tables/torch_names.json``); a name that
every release has, or none, says nothing about the installed one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from qdoctor.layers import torch_fits_python
from qdoctor.model import Because, Finding, Fix
from qdoctor.released import cited, parsed
from qdoctor.rules.case import quoted
from qdoctor.rules.packages_in_text import blamed, known_askers, newer, older
from qdoctor.rules.remedies import by_hand
from qdoctor.rules.torch_index import moved_torch
from qdoctor.rules.what_if import with_package

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.matrix import Matrix
    from qdoctor.rules.case import Case, Signal

State: TypeAlias = Literal["too-old", "too-new", "present", "unknown"]

_TELLING: dict[State, str] = {
    "too-old": "torch {version} does not have {name} yet",
    "too-new": "torch {version} does not have {name} any more",
    "present": "torch {version} has {name}: another copy of torch runs",
    "unknown": "this release of torch does not have {name}",
}


class History(msgspec.Struct, frozen=True):
    """The first release that has a name, and the first that lacks it again; None: it did not."""

    name: str
    came: str | None
    went: str | None
    because: Because


def history(matrix: Matrix, name: str) -> History | None:
    """Return when a dotted name of torch came and went; None for one that is not known to have."""
    module, _, own = name.rpartition(".")
    table = matrix.table("torch_names")
    row = table["rows"].get(module)
    if row is None:
        return None
    came, went = (
        next((release for release, names in row[when].items() if own in names), None)
        for when in ("came", "went")
    )
    if came is None and went is None:
        return None
    said = [f"came with torch {came}"] if came else []
    said += [f"is gone from torch {went} on"] if went else []
    return History(name, came, went, cited(table, row, f"{name} {' and '.join(said)}"))


def keyword_history(case: Case, on: str, keyword: str) -> History | None:
    """Return when torch's function ``on`` came to take a keyword, and when it stopped; else None.

    Older releases of Python name a method without its class: then all methods of that name count.
    A bare name may be anybody's: of that, torch's release has to be known.
    """
    table = case.matrix.table("torch_keywords")
    rows: dict[str, dict[str, dict[str, list[str]]]] = table["rows"]
    bare = "." not in on and not on.startswith("__")
    if bare and case.machine.torch.value is None:
        return None
    called = [on] if on in rows else [one for one in rows if bare and one.endswith(f".{on}")]
    spans = {
        tuple(
            next((release for release, names in rows[one][when].items() if keyword in names), None)
            for when in ("came", "went")
        )
        for one in called
    } - {(None, None)}
    if len(spans) != 1:
        return None
    came, went = spans.pop()
    said = [f"since torch {came}"] if came else []
    said += [f"no more from torch {went} on"] if went else []
    text = f"{on} takes {keyword} {' and '.join(said)}"
    return History(f"{on}({keyword}=)", came, went, cited(table, table, text))


def told(case: Case, rule: str) -> Iterator[tuple[Signal, History, State]]:
    """Yield the names of torch that texts of ``rule`` say are missing, and what is wrong there."""
    for signal in case.signals_of(rule):
        if "keyword" in signal.said:
            known = keyword_history(case, signal.said.get("on", ""), signal.said["keyword"])
        else:
            known = history(case.matrix, _named(signal))
        state = _state(case, known) if known is not None else "unknown"
        anybodys = "keyword" in signal.said and state in {"present", "unknown"}
        if known is not None and not anybodys:
            yield signal, known, state


def of_an_older_torch(case: Case, rule: str) -> Iterator[Signal]:
    """Yield texts whose name neither came nor went, of a torch older than all that are known.

    An installed package asks for it: so there is such a name in the torch that it was written for.
    """
    own, first = parsed(case.machine.torch.value), parsed(case.matrix.table("torch_names")["first"])
    for signal in case.signals_of(rule):
        unknown = history(case.matrix, _named(signal)) is None
        older_one = first is not None and (own is None or own < first)
        if unknown and older_one and blamed(case, signal, "torch") and "attribute" in signal.said:
            yield signal


def of_unknown_operators(case: Case, rule: str) -> Iterator[Signal]:
    """Yield texts that miss an operator of torch's own whose history is not known."""
    for signal in case.signals_of(rule):
        if "operator" in signal.said and history(case.matrix, _named(signal)) is None:
            yield signal


def finding(case: Case, rule: str, signal: Signal, known: History, state: State) -> Finding:
    """Report one missing name."""
    torch = case.machine.torch
    title = _TELLING[state].format(version=torch.value or "", name=known.name)
    fixes = _restarted() if state == "present" else list(_fixes(case, rule, signal, known, state))
    open_ = {"present": "which torch is really imported", "unknown": "which torch is installed"}
    return Finding(
        rule=rule,
        severity="warning",
        title=" ".join(title.split()),
        because=[quoted(signal), known.because, *([torch.because] if torch.because else [])],
        fixes=fixes,
        undecided=open_.get(state),
    )


def _named(signal: Signal) -> str:
    said = signal.said
    if "missing" in said:
        return said["missing"]
    if "operator" in said:
        return f"torch.{said['operator']}"
    if "tensor" in said:
        return f"torch.Tensor.{said['tensor']}"
    if "attribute" in said:
        return f"{said['within']}.{said['attribute']}"
    return f"{said.get('origin', '')}.{said.get('imported', '')}"


def _state(case: Case, known: History) -> State:
    """Say which way the installed torch is wrong; of an unknown one the history decides.

    A pre-release of the release from which a name is gone may have been built after it went.
    """
    came, went = parsed(known.came), parsed(known.went)
    version = parsed(case.machine.torch.value)
    if version is None and came and went:
        return "unknown"
    if version is None:
        return "too-old" if came else "too-new"
    if came is not None and version < came:
        return "too-old"
    final = parsed(version.base_version)
    return "too-new" if went is not None and final is not None and final >= went else "present"


def _fixes(case: Case, rule: str, signal: Signal, known: History, state: State) -> Iterator[Fix]:
    if state in {"too-old", "unknown"} and known.came:
        yield from _for_old_torch(case, rule, signal, known.name, known.came)
    if state in {"too-new", "unknown"} and known.went:
        yield from _for_new_torch(case, rule, signal, known.name, known.went)


def _for_old_torch(case: Case, rule: str, signal: Signal, name: str, came: str) -> Iterator[Fix]:
    """Offer a newer torch, then an older asker; the other way round where Python is too old."""
    why = f"{name} came with torch {came}; what is built against torch has to follow"
    torch = moved_torch(case, "upgrade", f">={came}", why, verify=rule)
    asker = older(case, blamed(case, signal, "torch"), f"it asks for {name}", verify=rule)
    machine = with_package(case.machine, case.matrix, "torch", came)
    if torch_fits_python(machine, case.matrix).value != "no":
        yield from [torch, *asker]
        return
    yield from asker
    yield by_hand("use-python", f"torch {came} has no wheel for this Python", verify=rule)
    yield torch


def _for_new_torch(case: Case, rule: str, signal: Signal, name: str, went: str) -> Iterator[Fix]:
    """Offer a newer asker, then an older torch."""
    for package, asks in _askers(case, signal, name):
        yield from newer(case, package, asks, verify=rule, name=name)
    why = f"{name} is gone from torch {went} on; what is built against torch has to follow"
    yield moved_torch(case, "downgrade", f"<{went}", why, verify=rule)


def _askers(case: Case, signal: Signal, name: str) -> Iterator[tuple[str, str]]:
    """Yield who asks, and why so: by the traceback, else whoever is known to have asked for it."""
    if (package := blamed(case, signal, "torch")) is not None:
        yield package, f"it asks for {name}"
        return
    for known, without in known_askers(case, name):
        own, mended = parsed(case.machine.package(known).value), parsed(without)
        if own is None or mended is None or own < mended:
            yield known, f"before {without} it asks for {name}{'' if own else ': if you use it'}"


def _restarted() -> list[Fix]:
    why = "the process began before torch was changed, or imports another copy of it"
    return [Fix(action="restart-kernel", why=why)]
