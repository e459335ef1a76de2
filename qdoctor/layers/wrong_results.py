"""Releases that compute wrongly without an error (table ``known_bad``): whether it strikes here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdoctor.layers.answer import Answer, no, unknown, yes
from qdoctor.layers.gpu import gpu_present
from qdoctor.layers.int8 import bnb_int8_on_this_sm
from qdoctor.model import Host
from qdoctor.released import cited, fits

if TYPE_CHECKING:
    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix

TABLE = "known_bad"
KIND = "wrong-results"
_RULES = {
    "bitsandbytes": "bnb-version-regression",
    "torchao": "torchao-version-regression",
}
_NEEDED = {"bnb_int8_on_this_sm": bnb_int8_on_this_sm}
"""Layers without which the faulty code is not reached, by the names that rows know them by."""


def rows_of(matrix: Matrix, package: str) -> list[dict[str, Any]]:
    """Return what is known to be computed wrongly by releases of a package."""
    rows: list[dict[str, Any]] = matrix.table(TABLE)["rows"]
    return [row for row in rows if row["kind"] == KIND and row["package"] == package]


def spared(
    machine: Machine, matrix: Matrix, row: dict[str, Any], *, wherever: bool = False
) -> Answer:
    """Is this machine spared what a row describes: by its release, its GPU or its CPU?

    ``wherever``: only the release is asked about; a text has told that it struck.
    """
    package = row["package"]
    version = machine.package(package)
    if not version.value:
        return unknown(version.reason or f"{package} is not installed")
    held = fits(matrix, package, version.value, row["spec"])
    named = f"{package} {version.value}"
    if held is None:
        return unknown(f"which release {named} is, is not known")
    if not held:
        return yes(f"{named}: nothing is known against {row['what']}", version.because)
    elsewhere = _elsewhere(machine, matrix, {} if wherever else row.get("strikes", {}))
    if elsewhere is not None:
        return elsewhere
    because = cited(matrix.table(TABLE), row, f"{named}: {row['text']}")
    return no(_RULES[package], row["text"], because)


def bnb_4bit_of_any_size(machine: Machine, matrix: Matrix) -> Answer:
    """Are 4-bit weights of this bitsandbytes read back rightly here, whatever their size?"""
    asked = [
        spared(machine, matrix, row)
        for row in rows_of(matrix, "bitsandbytes")
        if row.get("question") == "bnb_4bit_of_any_size"
    ]
    order = ("no", "unknown", "yes")
    return min(asked, key=lambda one: order.index(one.value))


def _elsewhere(machine: Machine, matrix: Matrix, strikes: dict[str, Any]) -> Answer | None:
    """Say that it strikes elsewhere, or that this is not known; None where it strikes here."""
    if not strikes:
        return None
    gpu = gpu_present(machine, matrix)
    if gpu.value == "unknown":
        return unknown(gpu.reason)
    if (gpu.value == "yes") != (strikes["on"] == "gpu"):
        return yes(f"it is wrong on a {strikes['on'].upper()}, and {gpu.reason}", *gpu.because)
    for name in strikes.get("needs", ()):
        running = _NEEDED[name](machine, matrix)
        if running.value == "no":
            return yes(f"it does not run at all: {running.reason}", *running.because)
    return _another_system(machine, strikes) or _another_cpu(machine, strikes)


def _another_system(machine: Machine, strikes: dict[str, Any]) -> Answer | None:
    systems = strikes.get("os")
    if not systems or machine.os.value in systems:
        return None
    if machine.os.value is None:
        return unknown(machine.os.reason)
    return yes(f"it is right on {machine.os.value}", machine.os.because)


def _another_cpu(machine: Machine, strikes: dict[str, Any]) -> Answer | None:
    wanted = strikes.get("cpu_features", [])
    has = (machine.facts.host or Host()).cpu_features
    if has is None:
        return unknown("host.cpu_features is not known") if wanted else None
    lacking = [one for one in wanted if one not in has]
    return yes(f"this CPU has no {', '.join(lacking)}") if lacking else None
