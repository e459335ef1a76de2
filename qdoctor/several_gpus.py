"""Several GPUs in one machine: each is judged by itself, and what they share is said once.

Pure. A machine is looked at once for each GPU that CUDA would number; what ran on another GPU is
not seen then. With one GPU, none, or an unknown number there is one look, at everything.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qdoctor.machine import Machine
    from qdoctor.model import Finding, Observation

_NUMBER = re.compile(r"cuda:(\d+)")


class Look(msgspec.Struct, frozen=True):
    """A machine with one of its GPUs in view, and the observations that speak of that one.

    ``beside`` are those that were made on other GPUs of the same model.
    """

    machine: Machine
    observations: tuple[Observation, ...]
    beside: tuple[Observation, ...] = ()


def looks(machine: Machine, observations: Iterable[Observation]) -> list[Look]:
    """Return one look a GPU, in CUDA's order; what ran on no GPU in particular is in each."""
    seen = tuple(observations)
    count = len(machine.usable_gpus)
    if count < 2:  # noqa: PLR2004 - several
        return [Look(machine, seen)]
    return [
        Look(
            msgspec.structs.replace(machine, judged=position),
            tuple(one for one in seen if _is_of(one, position, count)),
            tuple(one for one in seen if _number(one) in _equals(machine, position)),
        )
        for position in range(count)
    ]


def merged(found: Sequence[Sequence[Finding]]) -> list[Finding]:
    """Return the findings of all looks, equal ones once.

    ``devices`` of what does not hold for every GPU says for which ones it does.
    """
    holders: list[tuple[Finding, list[int]]] = []
    for position, findings in enumerate(found):
        for one in findings:
            _note(one, position, holders)
    everywhere = len(found)
    return [
        one
        if len(positions) == everywhere
        else msgspec.structs.replace(one, devices=[f"cuda:{position}" for position in positions])
        for one, positions in holders
    ]


def holds_on(finding: Finding, position: int) -> bool:
    """Say whether a finding is about the GPU that CUDA numbers ``position``."""
    return not finding.devices or f"cuda:{position}" in finding.devices


def share_a_gpu(one: Finding, other: Finding) -> bool:
    """Say whether there is a GPU that both findings are about."""
    return not one.devices or not other.devices or bool(set(one.devices) & set(other.devices))


def _note(one: Finding, position: int, holders: list[tuple[Finding, list[int]]]) -> None:
    """Add a GPU to an equal finding of an earlier look, else begin with it."""
    for other, positions in holders:
        if other == one and position not in positions:
            positions.append(position)
            return
    holders.append((one, [position]))


def _number(seen: Observation) -> int | None:
    found = _NUMBER.fullmatch(seen.device or "")
    return int(found[1]) if found else None


def _equals(machine: Machine, position: int) -> set[int]:
    """Number the other GPUs of the same model."""
    kinds = [(gpu.name, gpu.sm) for gpu in machine.usable_gpus]
    return {at for at, kind in enumerate(kinds) if kind == kinds[position]} - {position}


def _is_of(seen: Observation, position: int, count: int) -> bool:
    """What has no GPU's number, or one that no usable GPU has, is not kept from the first look."""
    number = _number(seen)
    return number in {None, position} or (position == 0 and (number or 0) >= count)
