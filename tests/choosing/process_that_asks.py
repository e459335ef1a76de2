"""A process that asks for a backend while others do; started by asking.py.

Arguments: a folder, and JSON: ``takes`` seconds for working an answer out (pretended and counted by
a file each), ``start`` (wait for the file ``go``), ``dies`` (is killed meanwhile), ``times``,
``patience`` (seconds with one that works, beside three budgets).
Writes what it was told to ``told.<process number>``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import qdoctor
from qdoctor import choosing
from qdoctor.choosing import key, notice

if TYPE_CHECKING:
    from qdoctor.model import Asked, Selection


def main() -> None:
    folder, plan = Path(sys.argv[1]), json.loads(sys.argv[2])

    def choose(asked: Asked, *_: object) -> Selection:
        from qdoctor.model import Candidate, Selection  # noqa: PLC0415 - not for one that is told

        mark = folder / f"worked.{os.getpid()}.{time.monotonic_ns()}"
        mark.write_text("")
        if plan.get("dies"):
            os.kill(os.getpid(), signal.SIGKILL)
        if plan.get("sick"):
            raise OSError("no such device")
        time.sleep(plan.get("takes", 0.0))
        return Selection(
            asked=asked,
            selected=plan.get("selects", "half"),
            reason=f"worked out by {os.getpid()}",
            candidates=[Candidate(backend="half", usable="yes", reason="made up")],
            measured=True,
        )

    # What the whole way would take a minute for; and the tree under test may be worked on.
    vars(choosing)["choose"] = choose
    vars(key)["installed"] = lambda: ({"torch": "1.0 stamp"}, [])
    if "patience" in plan:
        from qdoctor.choosing import working_out  # noqa: PLC0415 - not for one that is told

        vars(working_out)["_PATIENCE_SECONDS"] = plan["patience"]
    if plan.get("start"):
        (folder / f"ready.{os.getpid()}").write_text("")
        while not (folder / "go").exists():
            time.sleep(0.005)
    told: list[dict[str, Any]] = []
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(plan.get("times", 1)):
            backend = qdoctor.select_backend(**plan.get("asks", {}))
            told.append({"name": backend.name})
        told[-1]["reason"] = backend.selection["reason"]
    told[-1]["said"] = [str(one.message) for one in said if one.category is notice.SelectionWarning]
    (folder / f"told.{os.getpid()}").write_text(json.dumps(told))


if __name__ == "__main__":
    main()
