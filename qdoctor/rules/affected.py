"""Which backends stand or fall with a layer or a probe: ``matrix/tables/backends.json`` says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdoctor import layers

if TYPE_CHECKING:
    from qdoctor.model import Observation
    from qdoctor.rules.case import Case


def needing(case: Case, layer: str) -> list[str]:
    """Return the backends that need a layer, by its name."""
    return [name for name, row in _rows(case).items() if layer in row["layers"]]


def stands_up(case: Case, backend: str) -> bool:
    """Say whether none of a backend's layers is known to fail on this machine."""
    row = _rows(case).get(backend)
    if row is None:
        return False
    return all(case.ask(getattr(layers, name)).value != "no" for name in row["layers"])


def launches_kernels(case: Case, rule: str) -> bool:
    """Say whether triton may start kernels here, or an error text of ``rule`` says it did."""
    if case.signals_of(rule):
        return True
    return "no" not in {case.ask(layers.gpu_present).value, case.ask(layers.triton_installed).value}


def resting_on(case: Case, seen: Observation) -> list[str]:
    """Return the backends for which a probe stands, by its name and variant."""
    probes = {seen.probe, f"{seen.probe}/{seen.variant}"}
    return [name for name, row in _rows(case).items() if probes & set(row.get("probes", ()))]


def _rows(case: Case) -> dict[str, Any]:
    rows: dict[str, Any] = case.matrix.table("backends")["rows"]
    return rows
