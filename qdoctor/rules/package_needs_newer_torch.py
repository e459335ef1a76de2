"""A package asks for a newer torch than the one installed.

## What it finds
An error text that names what this torch does not have yet (`module 'torch' has no attribute
'int1'`, `No module named 'torch.nn.attention'`) or the release that it asks for, or a
bitsandbytes whose own requirement excludes the installed torch.

## Why it hurts
The package calls what is not there: importing it or its first call fails.

## How we know
When a name came to torch is read from the wheels of its releases; what bitsandbytes requires from
its METADATA, installed or released.

## Fix
Install a torch that has the name, with everything built against torch; or an older release of the
package that asks, which the traceback names. For bitsandbytes: the release that accepts this torch.

## When to ignore
If the package is not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import bnb_accepts_torch
from qdoctor.model import Finding
from qdoctor.released import called, parsed
from qdoctor.rules.bnb_releases import serving
from qdoctor.rules.case import quoted, rule
from qdoctor.rules.of_layer import of_layers
from qdoctor.rules.of_text import of_texts
from qdoctor.rules.packages_in_text import blamed, older
from qdoctor.rules.torch_index import moved_torch
from qdoctor.rules.torch_names import finding, of_an_older_torch, of_unknown_operators, told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Fix
    from qdoctor.rules.case import Case, Signal

NAME = "package-needs-newer-torch"


def find(case: Case) -> Iterator[Finding]:
    """Report names that came to torch later, and a bitsandbytes that does not accept this torch."""
    for signal, known, state in told(case, NAME):
        if state != "too-new" and not (state == "present" and known.came is None):
            yield finding(case, NAME, signal, known, state)
    yield from (_of_old(case, one) for one in of_an_older_torch(case, NAME))
    yield from (_of_operator(case, one) for one in of_unknown_operators(case, NAME))
    yield from _stated(case)
    yield from _OF_TEXTS.find(case)
    yield from (one for one in _OF_BNB.find(case) if one.undecided is None)


def _of_old(case: Case, signal: Signal) -> Finding:
    """Report a package that asks an older torch than those whose names are known."""
    first: str = case.matrix.table("torch_names")["first"]
    torch, asks = case.machine.torch, blamed(case, signal, "torch")
    why = f"{asks} asks for a name that torch {torch.value or ''} does not have".replace("  ", " ")
    newer = moved_torch(
        case, "upgrade", f">={first}", f"{asks} is made for newer ones", verify=NAME
    )
    return Finding(
        rule=NAME,
        severity="warning",
        title=why,
        because=[quoted(signal), *([torch.because] if torch.because else [])],
        fixes=[newer, *older(case, asks, why, verify=NAME)],
        undecided=None if torch.value else "which torch is installed",
    )


def _of_operator(case: Case, signal: Signal) -> Finding:
    """Report an operator of torch's own namespace: only torch brings those, or a newer torch."""
    torch, name = case.machine.torch, f"torch.ops.aten.{signal.said['operator']}"
    asks = blamed(case, signal, "torch")
    why = "only torch registers operators in aten; where this one is known, it came with a newer"
    return Finding(
        rule=NAME,
        severity="warning",
        title=" ".join(f"torch {torch.value or ''} does not have the operator {name}".split()),
        because=[quoted(signal), *([torch.because] if torch.because else [])],
        fixes=[
            moved_torch(case, "upgrade", _newer_than(torch.value), why, verify=NAME),
            *older(case, asks, f"it asks for {name}", verify=NAME),
        ],
        undecided="whether a newer torch has it",
    )


def _newer_than(version: str | None) -> str:
    own = parsed(version)
    return f">{own.public}" if own else ""


def _stated(case: Case) -> Iterator[Finding]:
    """Report the release that a text asks for itself, where the installed one is older."""
    torch = case.machine.torch
    for signal in case.signals_of(NAME):
        said = signal.said.get("torch_needed") or signal.said.get("torch_needed2")
        wanted, own = parsed(said), parsed(torch.value)
        if wanted is None or (own is not None and own >= wanted):
            continue
        asks = blamed(case, signal, "torch") or "a package"
        why = f"{asks} asks for torch {wanted} or newer"
        newer = moved_torch(case, "upgrade", f">={wanted}", why, verify=NAME)
        yield Finding(
            rule=NAME,
            severity="warning",
            title=why,
            because=[quoted(signal), *([torch.because] if torch.because else [])],
            fixes=[newer, *older(case, blamed(case, signal, "torch"), why, verify=NAME)],
            undecided=None if own else "which torch is installed",
        )


def _title(case: Case) -> str:
    bnb, torch = case.machine.bitsandbytes.value, case.machine.torch.value
    return f"{called('bitsandbytes', bnb)} does not accept {called('torch', torch)}"


def _fixes(case: Case) -> list[Fix]:
    return serving(case, [bnb_accepts_torch], "it accepts this torch", verify=NAME)


_OF_TEXTS = of_texts(NAME, __doc__, severity="warning")
_OF_BNB = of_layers(
    NAME, __doc__, (bnb_accepts_torch,), severity="warning", title=_title, fixes=_fixes
)

RULE = rule(NAME, __doc__, find)
