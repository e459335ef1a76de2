"""Which of the causes of a text leads on this machine, where its facts leave several open.

The table names the likeliest first for a machine of which nothing is known. A stated fact that
proves nothing can still speak against a cause: it is then named after the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdoctor.machine import Machine
    from qdoctor.rules.case import Signal

_NO_GPU = "no-cuda-gpu"


def ordered(signals: Sequence[Signal], machine: Machine) -> tuple[Signal, ...]:
    """Return the texts with their causes in the order of this machine.

    Who states a build of torch for CUDA, and no GPUs, has hardly none.
    """
    if machine.gpus.value is not None or not _states_cuda(machine):
        return tuple(signals)
    return tuple(_with_last(one, _NO_GPU) for one in signals)


def _states_cuda(machine: Machine) -> bool:
    """Say whether torch is stated to be a build for CUDA: a default of its release is a guess."""
    said = machine.facts.torch_cuda or "+cu" in (machine.torch.value or "")
    return bool(said and machine.torch_cuda.value)


def _with_last(signal: Signal, rule: str) -> Signal:
    if rule not in signal.rules:
        return signal
    others = tuple(one for one in signal.rules if one != rule)
    return msgspec.structs.replace(signal, rules=(*others, rule))
