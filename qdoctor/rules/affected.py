"""Which backends stand or fall with a layer or a probe: ``matrix/tables/backends.json`` says."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from qdoctor import layers
from qdoctor.answered import speaks_of
from qdoctor.layers.int8 import igemm_variant
from qdoctor.rules.remedies import use

if TYPE_CHECKING:
    from qdoctor.matrix import Matrix
    from qdoctor.model import Fix, Observation
    from qdoctor.rules.case import Case

_BY_PATH = "by-int8-path"
_INSTALLED = "_installed"
"""How the layers end that ask for a package itself."""


def needing(case: Case, layer: str) -> list[str]:
    """Return the backends that need a layer on this machine, by its name."""
    return list(_needing(case.matrix, _path(case), layer))


@lru_cache(maxsize=512)
def _needing(matrix: Matrix, path: str, layer: str) -> tuple[str, ...]:
    rows = matrix.table("backends")["rows"]
    return tuple(name for name, row in rows.items() if layer in (row[path] or ()))


def needing_gpu(case: Case) -> list[str]:
    """Return the backends that have no path without a GPU, in the releases installed here.

    What only lacks its package is not among them: that, and no GPU, is what it lacks.
    """
    return [name for name, row in _rows(case).items() if not _runs_on_cpu(case, row)]


def stands_up(case: Case, backend: str) -> bool:
    """Say whether a backend has a path on this machine, and none of its layers is known to fail."""
    row = _rows(case).get(backend)
    asked = _layers(case, row) if row else None
    return asked is not None and all(_ask(case, name) != "no" for name in asked)


def running(case: Case, why: str, *backends: str) -> list[Fix]:
    """Offer those of ``backends`` that nothing known speaks against here."""
    return [use(name, why, verify=name) for name in backends if stands_up(case, name)]


def launches_kernels(case: Case, rule: str) -> bool:
    """Say whether triton may start kernels here, or an error text of ``rule`` says it did."""
    if case.signals_of(rule):
        return True
    return "no" not in {case.ask(layers.gpu_present).value, case.ask(layers.triton_installed).value}


def resting_on(case: Case, seen: Observation) -> list[str]:
    """Return the backends that a probe was run for, by its name and variant."""
    return [
        name
        for name, row in _rows(case).items()
        if any(_is_of(case, probe, seen) for probe in row["probes"])
    ]


def _is_of(case: Case, probe: dict[str, Any], seen: Observation) -> bool:
    variant = probe["variant"]
    if variant == _BY_PATH:
        variant = igemm_variant(case.machine, case.matrix)
    return bool(probe["probe"] == seen.probe and speaks_of(seen, variant, case.observations))


def _runs_on_cpu(case: Case, row: dict[str, Any]) -> bool:
    asked = row["cpu_layers"]
    return asked is not None and all(
        _ask(case, name) != "no" for name in asked if not name.endswith(_INSTALLED)
    )


def _layers(case: Case, row: dict[str, Any]) -> list[str] | None:
    asked: list[str] | None = row[_path(case)]
    return asked


def _path(case: Case) -> str:
    """Name the layers that count here: those of the CPU path where there is no GPU."""
    return "cpu_layers" if case.ask(layers.gpu_present).value == "no" else "layers"


def _ask(case: Case, layer: str) -> str:
    asked: layers.Layer = getattr(layers, layer)
    return case.ask(asked).value


def _rows(case: Case) -> dict[str, Any]:
    rows: dict[str, Any] = case.matrix.table("backends")["rows"]
    return rows
