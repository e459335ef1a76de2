"""What importing bitsandbytes asks of others than triton: Python packages, torch's compiler."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from qdoctor.layers.answer import Answer, no, unknown, yes
from qdoctor.layers.bnb_binaries import PACKAGE
from qdoctor.layers.triton_names import rule_of
from qdoctor.released import cited, fact, has, row_for

if TYPE_CHECKING:
    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix

_COMPILER_TABLE = "torch_compiler"


def modules_there(machine: Machine, matrix: Matrix) -> Answer:
    """Are the packages installed that importing this bitsandbytes always asks for?

    Some releases import scipy without requiring it. Only a package that is known to be absent
    counts: a description need not name every dependency.
    """
    version = machine.bitsandbytes.value or ""
    needed = fact(matrix, PACKAGE, version, "import_needs_modules")
    if needed.value is None:
        return unknown(needed.reason)
    for name in needed.value:
        package = machine.package(name.replace("_", "-"))
        if package.value == "":
            text = f"importing {PACKAGE} {version} needs {name}, which is not installed"
            return no("python-module-missing", text, needed.because, package.because)
    return yes(f"no package that importing {PACKAGE} {version} needs is missing", needed.because)


def torch_compiler_loads(machine: Machine, matrix: Matrix) -> Answer:
    """Where importing makes torch load its compiler: has triton what that one imports?"""
    version, triton = machine.bitsandbytes.value or "", machine.triton.value or ""
    return _compiler_loads(matrix, version, triton, machine.torch.value or "")


@lru_cache(maxsize=8192)
def _compiler_loads(matrix: Matrix, version: str, triton: str, torch: str) -> Answer:
    loads = fact(matrix, PACKAGE, version, "import_loads_torch_compiler")
    if not loads.value or not triton:
        return yes(f"importing {PACKAGE} {version} makes torch ask nothing of triton")
    table = matrix.table(_COMPILER_TABLE)
    row = row_for(matrix, table["rows"], "torch", torch) if torch else None
    needs = row["needs"] if row else []
    missing = [name for name in needs if has(matrix, "triton", triton, name) == "no"]
    if row is None or not missing:
        return yes(f"torch's compiler is not known to miss a name in triton {triton}")
    who = f"torch {torch}'s compiler, which importing {PACKAGE} {version} loads,"
    text = f"{who} imports {missing[0]}, which triton {triton} does not have"
    listing = matrix.because("triton", triton, "names", f"the names of triton {triton}")
    because = cited(table, row, f"torch {torch}'s compiler imports {', '.join(needs)}")
    return no(rule_of(missing[0], matrix), text, loads.because, because, listing)
