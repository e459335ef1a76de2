"""What brings headers and a compiler where Debian's packages do not: ``build_tools.json``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.rules.of_text import offered

if TYPE_CHECKING:
    from qdoctor.model import Fix
    from qdoctor.rules.case import Case


def of_this_system(case: Case, rule: str) -> list[Fix]:
    """Return what helps on this operating system; [] where its packages do."""
    rows = case.matrix.table("build_tools")["rows"]
    mine = [row for row in rows if row["rule"] == rule and row["os"] == case.machine.os.value]
    return [fix for row in mine for one in row["fixes"] for fix in offered(case, rule, one)]
