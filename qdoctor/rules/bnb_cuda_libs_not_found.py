"""The CUDA libraries that bitsandbytes needs are not found, or are of another major version.

## What it finds
A cuBLASLt, cuSPARSE or CUDA runtime of the right major version that neither torch's packages nor
the loader's path hold.

## Why it hurts
The native library does not load (`libcusparse.so.11: cannot open shared object file`), or loads and
fails at the first int8 product.

## How we know
What bitsandbytes' library needs is read from its ELF header, and the dynamic loader's way is
followed for each: what torch loaded before, DT_RPATH and DT_RUNPATH, LD_LIBRARY_PATH, the loader's
cache, the default folders. The cuBLASLt probe opens the library as the examined interpreter would,
and says whether none or only another major version is there.

## Fix
Install the torch build for the CUDA major that bitsandbytes' library needs: it brings the libraries
along. Pointing LD_LIBRARY_PATH at a toolkit of that major helps as well.

## When to ignore
If neither int8 nor bitsandbytes is used on the GPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers import bnb_has_cuda_binary, bnb_libs_found
from qdoctor.model import Finding, Fix
from qdoctor.released import fits
from qdoctor.rules.affected import needing, resting_on
from qdoctor.rules.bnb_releases import BNB, serving
from qdoctor.rules.case import Suspicion, rule, suspect
from qdoctor.rules.cuda_libs_in_text import is_anothers, path_of
from qdoctor.rules.observed import what_happened
from qdoctor.rules.torch_builds import offers, offers_of_major, with_a_torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.machine import Machine
    from qdoctor.model import Observation
    from qdoctor.rules.case import Case

NAME = "bnb-cuda-libs-not-found"
_CODES = ("library-missing", "wrong-major")
_PROBE = "cublaslt_igemm"
_SEARCHED = {"bnb-setup-failed", "bnb-setup-no-driver", "bnb-cudart-missing", "bnb-cudart-searched"}
"""Texts of releases that look for the CUDA libraries themselves."""


def find(case: Case) -> Iterator[Finding]:
    """Report CUDA libraries that are missing or of the wrong major version."""
    seen = [one for one in case.observations if one.code in _CODES]
    answer = case.ask(bnb_libs_found)
    suspicion = _seen(seen) if seen else suspect(case, NAME, answer)
    if suspicion is None or _found(case) or (suspicion.undecided and _others(case)):
        return
    wrong = any(one.code == "wrong-major" for one in seen)
    missing = case.said(NAME, "library") or "the CUDA libraries"
    if answer.value == "no" and not seen:
        missing = "the CUDA libraries that bitsandbytes needs"
    probes = [name for one in seen for name in (one.probe, *resting_on(case, one))]
    yield Finding(
        rule=NAME,
        severity="warning",
        title=f"{missing} {'are of another CUDA major' if wrong else 'are not found'}",
        because=suspicion.because,
        fixes=_fixes(case),
        affects=list(dict.fromkeys([*probes, *needing(case, "bnb_has_cuda_binary")])),
        undecided=suspicion.undecided,
    )


def _seen(seen: list[Observation]) -> Suspicion:
    return Suspicion([what_happened(one) for one in seen[:1]])


def _found(case: Case) -> bool:
    """Say whether a probe loaded the library after all: then the text means something else."""
    passed = {one.probe for one in case.observations if one.outcome == "passed"}
    return _PROBE in passed


def _others(case: Case) -> bool:
    """Say whether each text is known to be about another package's libraries."""
    return all(is_anothers(case, one) for one in case.signals_of(NAME))


def _fixes(case: Case) -> list[Fix]:
    why = "it must name the folder of these libraries: a toolkit's lib64, or the nvidia packages'"
    path = Fix(action="set-env", name=path_of(case), why=why, verify=_PROBE)
    builds = offers(case, "the build brings these libraries along", verify=_PROBE, anew=True)
    major = case.said(NAME, "major")
    if major and case.machine.torch.value:  # of another major it would not bring this library
        bringing = [one for one in builds if (one.index or "")[2:].startswith(major)]
        why = f"a build for CUDA {major} brings these libraries along"
        builds = bringing or offers_of_major(case, int(major), why, verify=_PROBE)
    return [*_own_search_ended(case), *builds, path]


def _own_search_ended(case: Case) -> list[Fix]:
    """Offer a bitsandbytes that takes the libraries that torch loaded, where its text is older."""
    texts = [one.signature for one in case.signals_of(NAME)]
    if not set(texts) & _SEARCHED:
        return []
    why = "from this release on it looks for no CUDA libraries: it takes those of torch"
    row = case.matrix.table("bnb_binaries")["by_torch"]

    def by_torch(machine: Machine) -> bool:
        version = machine.bitsandbytes.value or ""
        return fits(case.matrix, BNB, version, row["spec"]) is True

    told = with_a_torch(case)
    return serving(told, [bnb_has_cuda_binary], why, verify=_PROBE, also=by_torch)


RULE = rule(NAME, __doc__, find, symptom_of=("torch-cpu-only", "bnb-cuda-binary-missing"))
