"""Layer: does bitsandbytes' int8 product run on this GPU, by the layouts that the release uses?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdoctor import released
from qdoctor.layers.answer import Answer, no, unknown, yes
from qdoctor.layers.bnb_binaries import PACKAGE
from qdoctor.layers.gpu import int8_tensor_cores
from qdoctor.released import parsed

if TYPE_CHECKING:
    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix


def bnb_int8_on_this_sm(machine: Machine, matrix: Matrix) -> Answer:
    """Does the int8 path of this bitsandbytes (table ``bnb_int8``) run on this GPU?"""
    version, sm = machine.bitsandbytes, machine.sm
    if not version.value:
        return unknown(version.reason or f"{PACKAGE} is not installed")
    if sm.value is None:
        return unknown(sm.reason)
    table = matrix.table("bnb_int8")
    row = released.row_for(matrix, table["rows"], PACKAGE, version.value)
    if row is None:
        return unknown(f"which int8 path {PACKAGE} {version.value} takes is not known")
    units = int8_tensor_cores(machine, matrix)
    if units.value == "no":
        text = f"{units.reason}: {row['text']}"
        return no(units.rule, text, *units.because, released.cited(table, row, row["text"]))
    if units.value == "unknown":
        return units
    return _by_layout(machine, matrix, table, row)


def bnb_int8_in_half(machine: Machine, matrix: Matrix) -> bool:
    """Say whether this bitsandbytes' int8 layers work in half precision without matrix units."""
    version = machine.bitsandbytes.value
    rows = matrix.table("bnb_int8")["rows"]
    row = released.row_for(matrix, rows, PACKAGE, version) if version else None
    return row is not None and row["without_int8_mma"] == "half"


def bnb_int8_odd_depth(machine: Machine, matrix: Matrix) -> Answer:
    """Does this bitsandbytes multiply in int8 where the depth is no multiple of 4, on a GPU?"""
    version = machine.bitsandbytes
    if not version.value:
        return unknown(version.reason or f"{PACKAGE} is not installed")
    table = matrix.table("bnb_int8")
    row = released.row_for(matrix, table["rows"], PACKAGE, version.value)
    if row is None or row["odd_depth"] is None:
        return unknown(f"how {PACKAGE} {version.value} multiplies odd depths is not known")
    text = f"{PACKAGE} {version.value}: {row['odd_depth']}"
    return no("silent-slow-path", text, released.cited(table, row, text))


def _by_layout(
    machine: Machine, matrix: Matrix, table: dict[str, Any], row: dict[str, Any]
) -> Answer:
    sm, version = machine.sm.value or "", machine.bitsandbytes.value
    if row["path"] == "plain":
        text = (
            f"{PACKAGE} {version} multiplies row-major int8, which SM {sm} does in its matrix units"
        )
        return yes(text, released.cited(table, row, text))
    order = _order(sm, row["orders"])
    known = matrix.row("sm", sm)
    accepted = known["cublaslt_int8_legacy_layouts"] if known else None
    if accepted is None or order is None:
        return unknown(
            f"whether cuBLASLt takes {PACKAGE} {version}'s int8 layout on SM {sm} is not known"
        )
    text = f"{PACKAGE} {version} gives cuBLASLt int8 weights in the order {order}"
    because = (released.cited(table, row, text), matrix.because_row("sm", sm, f"orders on SM {sm}"))
    if order not in accepted:
        return no("bnb-hopper-int8-unsupported", f"{text}, which it refuses on SM {sm}", *because)
    return yes(f"{text}, which it takes on SM {sm}", *because)


def _order(sm: str, orders: list[list[str]]) -> str | None:
    """Return the first order whose SM floor this SM reaches."""
    own = parsed(sm)
    return next((order for floor, order in orders if own and own >= parsed(floor)), None)  # type: ignore[operator]


def igemm_row_major(machine: Machine, matrix: Matrix) -> Answer:
    """Does cuBLASLt multiply row-major int8 on this GPU? Without int8 matrix units: not known."""
    units = int8_tensor_cores(machine, matrix)
    if units.value == "no":
        return unknown(f"{units.reason}; whether cuBLASLt multiplies int8 elsewhere is not known")
    return units


def igemm_col4_4r2_8c(machine: Machine, matrix: Matrix) -> Answer:
    """Does cuBLASLt take int8 weights in Turing's order on this GPU?"""
    return _takes_order(machine, matrix, "COL4_4R2_8C")


def igemm_col32_2r_4r4(machine: Machine, matrix: Matrix) -> Answer:
    """Does cuBLASLt take int8 weights in Ampere's order on this GPU?"""
    return _takes_order(machine, matrix, "COL32_2R_4R4")


def igemm_variant(machine: Machine, matrix: Matrix) -> str | None:
    """Return the variant of the probe cublaslt_igemm that this bitsandbytes' int8 path takes."""
    version, sm = machine.bitsandbytes.value, machine.sm.value
    rows = matrix.table("bnb_int8")["rows"]
    row = released.row_for(matrix, rows, PACKAGE, version) if version else None
    if row is None or sm is None:
        return None
    order = _order(sm, row["orders"])
    return order.lower() if order else "row-major"


def _takes_order(machine: Machine, matrix: Matrix, order: str) -> Answer:
    sm = machine.sm
    if sm.value is None:
        return unknown(sm.reason)
    row = matrix.row("sm", sm.value)
    accepted = row["cublaslt_int8_legacy_layouts"] if row else None
    if accepted is None:
        return unknown(f"whether cuBLASLt takes the order {order} on SM {sm.value} is not known")
    taken = order in accepted
    text = f"cuBLASLt {'takes' if taken else 'refuses'} the order {order} on SM {sm.value}"
    because = matrix.because_row("sm", sm.value, text)
    return yes(text, because) if taken else no("bnb-hopper-int8-unsupported", text, because)
