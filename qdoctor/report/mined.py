"""What mining and verifying did, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdoctor.report.release import places

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdoctor.report.paper import Paper

_MIB = 2**20
_OUTCOMES = {"holds": "green", "changed": "red", "unread": "yellow"}


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


def verified(paper: Paper, done: Mapping[str, Any], *, with_evidence: bool) -> None:
    """Say which statements still hold; those that do are named with ``with_evidence``."""
    for one in done["statements"]:
        if one["outcome"] != "holds" or with_evidence:
            told = f"  {one['package']} {one['version']}"
            why = f": {one['why']}" if one["why"] else ""
            labels = [(one["outcome"], _OUTCOMES[one["outcome"]], 9)]
            paper.row(labels, (one["fact"], "bold"), (told + why, ""))
            places(paper, [one["place"]])
    total = len(done["statements"])
    paper.line(
        (f"{done['holds']} of {total} statements hold", "bold"),
        (f", {done['changed']} changed, {done['unread']} could not be read; {cost(done)}", ""),
    )
    paper.line((f"matrix {done['matrix_version']}, {done['age_days']} days old", "dim"))
    paper.line((f"the same sample again: --seed {done['seed']} --sample {done['sample']}", "dim"))
