"""What mining and verifying did, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdoctor.report.paper import Paper

_MIB = 2**20


def mined(paper: Paper, done: Mapping[str, Any]) -> None:
    """Say which releases were read, from how many bytes, and where they lie now."""
    if done["shipped"]:
        paper.line((f"the shipped data holds {done['shipped']} already: nothing to read", ""))
        return
    for name in done["written"]:
        paper.row([("read", "green", 10)], (name, "bold"))
    for name, why in done["failed"].items():
        paper.row([("not read", "red", 10)], (name, "bold"), (f"  {why}", ""))
    counts = (
        f"{len(done['written'])} read, {len(done['unchanged'])} unchanged, "
        f"{len(done['failed'])} not read"
    )
    paper.line((f"{counts}; {cost(done)}", ""))
    paper.line((f"data: {done['folder']}", "dim"))


def cost(done: Mapping[str, Any]) -> str:
    """Return what reading took: MiB, requests, seconds."""
    mib = done["bytes"] / _MIB
    return f"{mib:.1f} MiB in {done['requests']} requests, {done['seconds']:.1f} s"
