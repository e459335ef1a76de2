"""Makes one probe go wrong on purpose, so that tests can show that nothing else does. Tests only.

``QDOCTOR_INJECT=probe[#device]:kind[@stage]``, several separated by commas; ``*`` is any probe, and
``#1`` only one that runs on ``cuda:1``. The kinds are the functions of ``_harm.py``; the stages, in
their order: ``load`` (before the kernel is loaded), ``run`` (the default: loaded, nothing computed
yet), ``answer`` (computed, not yet written down) and ``end`` (written down). What was done is said
as ``injected: kind@stage``, on stderr and in the evidence of every outcome that follows, so that
nobody takes it for a machine's own fault. Without the variable the harness does not even load this
file.

Python 3.8 syntax, standard library only: this runs inside the examined interpreter.
"""

# ruff: noqa: ANN401 - modules and any JSON value

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional

VARIABLE = "QDOCTOR_INJECT"
STAGES = ("load", "run", "answer", "end")
ANY = "*"

Outcomes = List[Dict[str, Any]]


class Injection(NamedTuple):
    """One harm: what, and when."""

    kind: str
    stage: str
    due: str
    """The stage at which it is done."""


def wanted(asked: str, probe: str, device: Optional[int] = None) -> List[Injection]:
    """Read what the variable asks of one probe on one device.

    Raises ValueError for what it cannot ask.

    A kind that spoils what a kernel computes needs it to be loaded: ``load`` means ``run`` there.
    """
    found = []
    for entry in filter(None, (part.strip() for part in asked.split(","))):
        who, _, what = entry.partition(":")
        name, _, number = who.partition("#")
        kind, _, stage = what.partition("@")
        stage = stage or "run"
        if kind not in _harm().KINDS or stage not in STAGES:
            known = "{} at {}".format(", ".join(sorted(_harm().KINDS)), ", ".join(STAGES))
            text = "{}={}: not one of: {}".format(VARIABLE, entry, known)
            raise ValueError(text)
        waits = kind in _harm().SPOIL_NUMBERS and stage == "load"
        if name in (probe, ANY) and number in ("", str(device)):
            found.append(Injection(kind, stage, "run" if waits else stage))
    return found


def at(stage: str, probe: str, control: Path, outcomes: Optional[Outcomes] = None) -> Outcomes:
    """Do what the variable asks of this probe at this stage; may never return.

    Returns the outcomes, changed where that is the harm: only ``answer`` uses them. May raise what
    a broken library raises, OSError where the control folder is gone, ValueError as ``wanted``.
    """
    reached = list(outcomes or [])
    device = _harm().request_of(Path(control)).get("device")
    for harm in wanted(os.environ.get(VARIABLE, ""), probe, device):
        if harm.due == stage:
            _announce("injected: {}@{}".format(harm.kind, harm.stage))
            patient = _harm().Patient(stage, probe, Path(control), reached)
            reached = _harm().KINDS[harm.kind](patient) or reached
    if stage == "answer":
        reached = _harm().postponed(reached)
        reached = [dict(one, evidence=[*one.get("evidence", []), *_harm().said]) for one in reached]
    return reached


def _announce(text: str) -> None:
    _harm().said.append(text)
    with contextlib.suppress(OSError):  # an earlier harm may have closed it
        os.write(2, (text + "\n").encode())


def _harm() -> Any:
    name = "qdoctor_kernel__harm"
    if name not in sys.modules:
        path = Path(__file__).resolve().with_name("_harm.py")
        spec = importlib.util.spec_from_file_location(name, str(path))
        module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        sys.modules[name] = module
        spec.loader.exec_module(module)  # type: ignore[union-attr]
    return sys.modules[name]
