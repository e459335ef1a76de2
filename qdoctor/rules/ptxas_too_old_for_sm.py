"""The ptxas that comes with triton does not know this GPU.

## What it finds
A triton whose ptxas cannot compile for the GPU's SM.

## Why it hurts
Every Triton kernel fails with `Value 'sm_...' is not defined for option 'gpu-name'`.

## How we know
The ptxas release that a triton wheel carries is read from the wheel; which SMs a ptxas knows from
NVIDIA's documentation. The probe `triton_toolchain` asks the ptxas that triton takes here itself.

## Fix
Name a newer ptxas of a CUDA toolkit in TRITON_PTXAS_PATH, or install a torch that brings a newer
triton along.

## When to ignore
If nothing here uses Triton or `torch.compile`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import triton_int8_on_sm, triton_knows_sm
from qdoctor.model import Finding, Fix
from qdoctor.rules.affected import needing, running
from qdoctor.rules.case import accused, rule
from qdoctor.rules.observed import what_happened
from qdoctor.rules.of_layer import of_layers
from qdoctor.rules.remedies import pip
from qdoctor.rules.toolchain import PROBE
from qdoctor.rules.triton_releases import distribution
from qdoctor.rules.what_if import all_yes, nearest, spans

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "ptxas-too-old-for-sm"
_ANY_FAILURE = "ptxas-failed"
_VARIABLES = {"ptxas-blackwell": "TRITON_PTXAS_BLACKWELL_PATH"}
"""The variable that names a ptxas, by the name the ptxas gives itself; else TRITON_PTXAS_PATH."""


def _title(case: Case) -> str:
    gpu = case.machine.gpu
    named = (gpu.name if gpu else None) or "this GPU"
    sm = case.machine.sm.value or "?"
    return f"{named} (SM {sm}) is unknown to the ptxas that triton takes"


def _fixes(case: Case) -> list[Fix]:
    own = Fix(
        action="set-env",
        name=_VARIABLES.get(case.said(NAME, "ptxas") or "", "TRITON_PTXAS_PATH"),
        why="it names the ptxas of a CUDA toolkit that knows this GPU",
        verify="triton_libdevice",
    )
    newer = _newer(case)
    ways = [*newer, own] if _is_llvm(case) or not _pinned(case) else [own, *newer]
    return [*ways, *running(case, "it needs no Triton kernel", "bnb-nf4", "half")]


def _is_llvm(case: Case) -> bool:
    """Say whether triton's own LLVM does not know the GPU, which no other ptxas mends."""
    signals = case.signals_of(NAME)
    return bool(signals) and all("ptxas" not in signal.said for signal in signals)


def _pinned(case: Case) -> bool:
    """Say whether torch requires one triton: on Windows, of other makers, it does not."""
    return case.machine.os.value != "windows"


def _newer(case: Case) -> list[Fix]:
    """Offer a triton that came with a ptxas for this GPU: unsafe where torch pins its triton."""
    sm = case.machine.sm.value
    if sm is None:
        why = "newer ones know newer GPUs; torch pins its triton: upgrade torch, which brings it"
        ours = [pip("upgrade", "triton", "", why, verify=NAME, applicability="unsafe")]
        return ours if _is_llvm(case) else []
    found = spans(case, "triton", all_yes(case, [triton_knows_sm]))
    way = nearest(found, case.machine.triton.value)
    if way is None or way[0] != "upgrade":
        return []
    why = f"triton {way[1]} knows SM {sm}"
    if not _pinned(case):
        return [pip("upgrade", distribution(case.machine), way[1].spec, why, verify=NAME)]
    why += "; torch pins its triton: upgrade torch, which brings it"
    return [pip("upgrade", "triton", way[1].spec, why, verify=NAME, applicability="unsafe")]


_READ = of_layers(
    NAME, __doc__, (triton_knows_sm, triton_int8_on_sm), severity="note", title=_title, fixes=_fixes
)


def find(case: Case) -> Iterator[Finding]:
    """Report a ptxas that does not know the GPU: the one that triton takes here, else by its data.

    Which one it takes a variable may decide, so what the probe saw counts more.
    """
    own = float(case.machine.sm.value or 0)
    tried = [one for one in case.observations if (one.probe, one.variant) == (PROBE, "ptxas")]
    seen = next((one for one in tried if one.ran and one.numbers.get("sm") == own), None)
    if seen is None:
        known = _is_known_to_all(case)
        found = [one for one in _READ.find(case) if one.undecided is None or not known]
        yield from found or ([] if known else _accused(case))
    elif seen.code == NAME and (affects := needing(case, "triton_knows_sm")):
        yield Finding(
            rule=NAME,
            severity="note",
            title=_title(case),
            because=[what_happened(seen)],
            fixes=_fixes(case),
            affects=affects,
        )


def _is_known_to_all(case: Case) -> bool:
    """Say whether a text speaks of any failure of ptxas, and every triton's ptxas knows the GPU."""
    said = case.signals_of(NAME)
    if not said or any(one.signature != _ANY_FAILURE for one in said):
        return False
    known = spans(case, "triton", all_yes(case, [triton_knows_sm])) if case.machine.sm.value else []
    oldest = case.matrix.versions("triton")[0]
    return any(one.first == oldest and one.above is None for one in known)


def _accused(case: Case) -> Iterator[Finding]:
    """Keep what the text says where the data knows better: then another ptxas is taken."""
    suspicion = accused(case, NAME, "which ptxas triton takes here")
    if suspicion is not None:
        yield Finding(
            rule=NAME,
            severity="note",
            title=_title(case),
            because=suspicion.because,
            fixes=_fixes(case),
            undecided=suspicion.undecided,
        )


RULE = rule(NAME, __doc__, find)
