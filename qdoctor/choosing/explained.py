"""A selection in lines for people."""

from __future__ import annotations

from typing import Any

from qdoctor.choosing.bounds import AIMS


def explained(selection: dict[str, Any]) -> str:
    """Say what was selected and why, what was asked, and why each other backend lost."""
    lines = [_chosen(selection), _asked(selection), *_basis(selection), ""]
    lines += [_candidate(one, selection["selected"]) for one in selection["candidates"]]
    return "\n".join(printable(line) for line in lines)


def printable(text: str) -> str:
    """One line without control characters: it may end in a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _chosen(selection: dict[str, Any]) -> str:
    name = selection["selected"] or "none"
    return f"selected: {name}: {selection['reason']}"


def _asked(selection: dict[str, Any]) -> str:
    asked, device = selection["asked"], selection["device"]
    sm = f" (SM {device['sm']})" if device.get("sm") else ""
    on = f" on {device['name']}{sm}" if device.get("name") else ""
    bound = f", error at most {asked['max_error']:g}" if asked.get("max_error") else ""
    if asked.get("max_slowdown"):
        bound += f", at most {asked['max_slowdown']:g} times half's time"
    purpose = "training" if asked["training"] else "inference"
    return (
        f"asked: {asked['objective']} ({AIMS[asked['objective']].wants}) for {purpose}{bound}{on}"
    )


def _basis(selection: dict[str, Any]) -> list[str]:
    notes = [f"note: {note}" for note in selection.get("notes", ())]
    if selection["measured"]:
        starting = selection.get("starting_seconds", 0.0)
        more = f"; starting and importing took {starting:.1f} s more" if starting else ""
        return [f"measured in {selection['seconds'] - starting:.1f} s{more}", *notes]
    return ["not measured: the probes' pass or fail and the matrix decided", *notes]


def _candidate(one: dict[str, Any], selected: str | None) -> str:
    figures = [
        f"{one['speedup_vs_half']:.2f}x the speed of half" if one.get("speedup_vs_half") else "",
        f"rel. error {one['rel_error']:.2g}" if one.get("rel_error") is not None else "",
        f"{one['weight_bytes_per_param']:.3g} bytes a weight"
        if one.get("weight_bytes_per_param") is not None
        else "",
    ]
    told = ", ".join(filter(None, figures))
    why = "selected" if one["backend"] == selected else one.get("lost") or one["reason"]
    return f"{one['backend']}: {told}{'; ' if told else ''}{why}"
