"""Layers of torchao's formats beside int8: fp8, int4 weights, MXFP4 and NVFP4."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdoctor import released
from qdoctor.layers.answer import Answer, no, unknown, yes
from qdoctor.layers.torchao import PACKAGE, offered, tried
from qdoctor.released import fact

if TYPE_CHECKING:
    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix
    from qdoctor.model import Because

_TABLE = "torchao_formats"


def torchao_has_fp8(machine: Machine, matrix: Matrix) -> Answer:
    """Does this torchao offer a layer that multiplies fp8, under any name it has had?"""
    return _has(machine, matrix, "fp8")


def torchao_has_int4(machine: Machine, matrix: Matrix) -> Answer:
    """Does this torchao offer a layer with int4 weights?"""
    return _has(machine, matrix, "int4")


def torchao_has_mxfp4(machine: Machine, matrix: Matrix) -> Answer:
    """Does this torchao offer a layer that multiplies MXFP4?"""
    return _has(machine, matrix, "mxfp4")


def torchao_has_nvfp4(machine: Machine, matrix: Matrix) -> Answer:
    """Does this torchao offer a layer that multiplies NVFP4?"""
    return _has(machine, matrix, "nvfp4")


def torchao_fp8_fits_torch(machine: Machine, matrix: Matrix) -> Answer:
    """Does this torchao's fp8 layer work with this torch: as it requires, and as was seen?"""
    return _fits_torch(machine, matrix, "fp8")


def torchao_int4_fits_torch(machine: Machine, matrix: Matrix) -> Answer:
    """Does this torchao's int4 layer work with this torch on a GPU?"""
    return _fits_torch(machine, matrix, "int4")


def torchao_mxfp4_fits_torch(machine: Machine, matrix: Matrix) -> Answer:
    """Does this torchao's MXFP4 layer work with this torch?"""
    return _fits_torch(machine, matrix, "mxfp4")


def torchao_nvfp4_fits_torch(machine: Machine, matrix: Matrix) -> Answer:
    """Does this torchao's NVFP4 layer work with this torch?"""
    return _fits_torch(machine, matrix, "nvfp4")


def torchao_fp8_on_sm(machine: Machine, matrix: Matrix) -> Answer:
    """Does this torchao's fp8 layer run on a GPU of this SM?"""
    return _on_sm(machine, matrix, "fp8")


def torchao_int4_on_sm(machine: Machine, matrix: Matrix) -> Answer:
    """Does this torchao's int4 layer run on a GPU of this SM?"""
    return _on_sm(machine, matrix, "int4")


def torchao_mxfp4_on_sm(machine: Machine, matrix: Matrix) -> Answer:
    """Does this torchao's MXFP4 layer run on a GPU of this SM, not emulated?"""
    return _on_sm(machine, matrix, "mxfp4")


def torchao_nvfp4_on_sm(machine: Machine, matrix: Matrix) -> Answer:
    """Does this torchao's NVFP4 layer run on a GPU of this SM?"""
    return _on_sm(machine, matrix, "nvfp4")


def torchao_fp8_on_cpu(machine: Machine, matrix: Matrix) -> Answer:
    """Does this torchao's fp8 layer run on a CPU, with this torch?"""
    return _fits_torch(machine, matrix, "fp8", device="cpu")


def torchao_int4_on_cpu(machine: Machine, matrix: Matrix) -> Answer:
    """Does this torchao's int4 layer run on a CPU, with this torch?"""
    return _fits_torch(machine, matrix, "int4", device="cpu")


def _has(machine: Machine, matrix: Matrix, name: str) -> Answer:
    row = matrix.table(_TABLE)["formats"][name]
    return offered(machine, matrix, row["names"], row["title"])


def _fits_torch(machine: Machine, matrix: Matrix, name: str, *, device: str = "gpu") -> Answer:
    """Answer from what the release requires, then from the pairs that were tried."""
    table = matrix.table(_TABLE)
    rows = [
        row for row in table["rows"] if row["format"] == name and row["device"] in (device, "any")
    ]
    title = table["formats"][name]["title"]
    where = " on a CPU" if device == "cpu" else ""
    pair = f"{PACKAGE} {machine.package(PACKAGE).value} with torch {machine.torch.value}"
    return tried(machine, matrix, table, rows) or unknown(
        f"whether the {title} of {pair} runs{where} is not known"
    )


def _on_sm(machine: Machine, matrix: Matrix, name: str) -> Answer:
    """Answer from what torchao refuses, what the GPU lacks, where it ran, what is stated."""
    sm, version = machine.sm, machine.package(PACKAGE)
    if sm.value is None:
        return unknown(sm.reason)
    table = matrix.table(_TABLE)
    row = table["formats"][name]
    stated = _refused(machine, matrix, row) if version.value else unknown(version.reason)
    denied = stated if stated.value == "no" else _lacking(machine, matrix, row)
    if denied is not None:
        return denied
    if not version.value:
        return unknown(version.reason or f"{PACKAGE} is not installed")
    seen = table["gpus"].get(f"{name} {sm.value}")
    if seen is not None:
        text = f"{PACKAGE}'s {row['title']} runs on SM {sm.value}"
        return yes(text, released.cited(table, seen, text))
    if row["runs_from_there"] and stated.value == "yes":
        return stated
    return unknown(f"whether {PACKAGE}'s {row['title']} runs on SM {sm.value} is not known")


def _lacking(machine: Machine, matrix: Matrix, row: dict[str, Any]) -> Answer | None:
    """Say that the GPU has no units for the product; None where it has, or that is not known."""
    sm = machine.sm.value or ""
    known = matrix.row("sm", sm)
    who = f"{machine.gpu.name or 'this GPU'} (SM {sm})" if machine.gpu else f"SM {sm}"
    if row["only_on"] is not None and known is not None and known.get(row["ability"]):
        return _outside(matrix, row, who, sm)
    if row["ability"] is None or known is None or known.get(row["ability"]) is not False:
        return None
    text = f"{who} has no {row['units']}"
    if row["otherwise"]:
        text = f"{text}; {row['otherwise']}"
    return no(row["rule"], text, matrix.because_row("sm", sm, text), machine.sm.because)


def _outside(matrix: Matrix, row: dict[str, Any], who: str, sm: str) -> Answer | None:
    """Say that torch multiplies the format on other GPUs only, though this one has the units."""
    if sm in row["only_on"]:
        return None
    text = f"torch multiplies {row['title'].split()[0]} on SM {' and '.join(row['only_on'])} only"
    return no(
        row["rule"], f"{text}; {who} is none", released.cited(matrix.table(_TABLE), row, text)
    )


def _refused(machine: Machine, matrix: Matrix, row: dict[str, Any]) -> Answer:
    """Hold the SM against the lowest one that this release, else its documents, take."""
    sm, version = machine.sm.value or "", machine.package(PACKAGE).value or ""
    lowest, text, because = _lowest(matrix, version, row)
    own, floor = released.parsed(sm), released.parsed(lowest or "")
    if own is None or floor is None:
        return unknown(f"from which SM on {PACKAGE} {version} has a {row['title']} is not known")
    told = f"the {row['title']} of {PACKAGE} {version} needs SM {lowest}{text}; this is SM {sm}"
    if own < floor:
        return no(row["rule"], told, because, machine.sm.because)
    return yes(told, because)


def _lowest(
    matrix: Matrix, version: str, row: dict[str, Any]
) -> tuple[str | None, str, Because | None]:
    """Give the lowest SM that is taken: (SM, torchao's own words, why); what it refuses counts."""
    demands = fact(matrix, PACKAGE, version, "gpu_demands")
    for function in row["refused_by"]:
        found = [one for one in demands.value or () if one["function"] == function]
        if found:
            lowest = min(found, key=lambda one: [int(part) for part in one["sm"].split(".")])
            words = f" ({lowest['text']!r})" if lowest["text"] else ""
            return lowest["sm"], words, demands.because
    if row["from"] is None:
        return None, "", None
    return row["from"], "", released.cited(matrix.table(_TABLE), row, f"from SM {row['from']} on")
