"""The installed bitsandbytes holds no native library for CUDA, though its releases do.

## What it finds
A bitsandbytes whose folder holds no library for CUDA at all, on a platform for which released
wheels carry several: a checkout or an archive of the source that was installed without compiling
it, or compiled for the CPU only.

## Why it hurts
bitsandbytes imports, and every quantized layer on the GPU fails: `'NoneType' object has no
attribute 'cquantize_blockwise_fp16_nf4'`.

## How we know
The files in the installed package are listed; what the release's own wheel holds is known from the
wheel.

## Fix
Install the released wheel; or build the library for torch's CUDA version (`cmake
-DCOMPUTE_BACKEND=cuda`), and install again.

## When to ignore
If bitsandbytes is not used on the GPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.implied_text import possible, wordings
from qdoctor.layers import Answer, bnb_has_cuda_binary
from qdoctor.layers.natives import libraries_of
from qdoctor.model import Because, Finding
from qdoctor.released import called, parsed, release
from qdoctor.rules.affected import needing
from qdoctor.rules.bnb_releases import BNB, installed_anew, serving
from qdoctor.rules.case import rule, suspect
from qdoctor.rules.remedies import by_hand, pip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Fix
    from qdoctor.rules.case import Case

NAME = "bnb-source-build-incomplete"


def find(case: Case) -> Iterator[Finding]:
    """Report an installed bitsandbytes without any CUDA library, where its releases have some."""
    suspicion = suspect(case, NAME, _holds_cuda(case))
    if suspicion is None:
        return
    bnb = case.machine.bitsandbytes.value
    yield Finding(
        rule=NAME,
        severity="warning",
        title=f"{called('bitsandbytes', bnb)} was installed without its library for CUDA",
        because=suspicion.because,
        fixes=_fixes(case),
        affects=needing(case, "bnb_has_cuda_binary"),
        undecided=suspicion.undecided,
    )


def _holds_cuda(case: Case) -> Answer:
    """Ask the layer; what a released wheel holds refutes no text where the folder was not read."""
    answer = case.ask(bnb_has_cuda_binary)
    if answer.rule == NAME or libraries_of(case.machine, BNB):
        return answer
    version = parsed(case.machine.bitsandbytes.value)
    if version is not None and version.is_devrelease and case.signals_of(NAME):
        text = f"bitsandbytes {version} is a development version, which no release is"
        return Answer("no", text, (Because(text, "facts: packages.bitsandbytes", "inspected"),))
    if file := _missed_though_released(case):
        text = f"the wheel of bitsandbytes {version} holds {file}, which this copy lacks"
        return Answer("no", text, (Because(text, "the libraries in the wheel", "mined"),), NAME)
    return Answer("unknown", "which libraries the installed bitsandbytes holds was not read")


def _missed_though_released(case: Case) -> str | None:
    """Name the library that a text misses and the stated release's own wheel holds."""
    version = case.machine.bitsandbytes.value
    known = release(case.matrix, BNB, version) if version else None
    held = {one["file"] for one in known.facts.get("native", ())} if known else set()
    texts = [one for one in case.signals_of(NAME) if "cuda" in one.said]
    worded = wordings(texts)
    if worded and version not in possible(BNB, worded, case.matrix):
        return None  # another copy than the stated release words it so
    said = [one.said["cuda"] for one in texts]
    return next((file for one in said if (file := f"libbitsandbytes_cuda{one}.so") in held), None)


def _fixes(case: Case) -> list[Fix]:
    why = "the released wheel brings libraries for several CUDA versions"
    released = serving(case, [bnb_has_cuda_binary], why, verify=NAME)
    return [
        *(installed_anew(released, NAME) or _same_release(case, why)),
        by_hand("rebuild", "built for CUDA its library is complete", verify=NAME),
    ]


def _same_release(case: Case, why: str) -> list[Fix]:
    """Offer the wheel of the release that the copy calls itself, where there is one."""
    version = case.machine.bitsandbytes.value
    if not version or not case.matrix.matching(BNB, version):
        return []
    return [pip("reinstall", BNB, f"=={version}", why, verify=NAME)]


RULE = rule(NAME, __doc__, find)
