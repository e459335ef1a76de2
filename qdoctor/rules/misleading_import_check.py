"""transformers says that accelerate or bitsandbytes is missing, although both are installed.

## What it finds
The text `requires Accelerate ... and the latest version of bitsandbytes`, or a machine on which
these releases of transformers will say so.

## Why it hurts
Packages are installed again and again: the check fails for another reason.

## How we know
The check was read: in these releases `is_bitsandbytes_available()` asks `torch.cuda.is_available()`
too. So it fails without a GPU, with a CPU build of torch, and in a process that began before the
packages were installed.

## Fix
A build of torch with CUDA where it has none; a restart of the notebook's kernel where torch is
right; another machine where there is no NVIDIA GPU.

## When to ignore
Never: the model is not loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet

from qdoctor.layers import gpu_present, torch_has_cuda
from qdoctor.model import Because, Finding, Fix
from qdoctor.released import parsed
from qdoctor.rules.accelerate_transformers_mismatch import asked_of_accelerate
from qdoctor.rules.case import quoted, rule
from qdoctor.rules.remedies import by_hand, pip
from qdoctor.rules.torch_builds import default_without_cuda, offers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case, Signal

NAME = "misleading-import-check"
_BNB = "bitsandbytes"
_ASKED = ("accelerate", _BNB)
_BY_KEYWORD = "by_keyword"
"""The group of the wording up to transformers 4.37; its check asks for CUDA from 4.32 on."""
_ALONE = "alone"
"""The group of the wording from transformers 4.43 on; its check asks for no CUDA from 4.45 on."""
_METADATA = "package-metadata-missing"
"""The row of signatures of Python's own text: the release of a package is asked for in vain."""
_OPEN = "what torch.cuda.is_available() says in the process that failed"
_RESTART = Fix(
    action="restart-kernel",
    why="a process that began before the packages were installed does not see them",
)


def find(case: Case) -> Iterator[Finding]:
    """Say why the check fails where the packages are there."""
    signals = case.signals_of(NAME)
    for signal in signals:
        if asked_of_accelerate(signal):
            yield from _of_version(case, signal)
        elif package := asked_in_vain(case, signal) or _asked_alone(case, signal):
            yield _of_metadata(case, package, signal)
        elif signal.signature != _METADATA or signal.said.get("module") in _ASKED:
            yield from _of_gpu(case, signal)
    if not signals:
        yield from _foreseen(case)


def _of_version(case: Case, signal: Signal) -> Iterator[Finding]:
    """Report a check for a release of accelerate that the installed one passes."""
    known, wanted = case.machine.package("accelerate"), asked_of_accelerate(signal)
    installed = parsed(known.value)
    if installed is None or wanted is None or installed < wanted or known.because is None:
        return
    yield Finding(
        rule=NAME,
        severity="note",
        title=f"accelerate {installed} is new enough: the process does not see it yet",
        because=[quoted(signal), known.because],
        fixes=[_RESTART],
    )


def asked_in_vain(case: Case, signal: Signal) -> str | None:
    """Name what transformers asks the release of in vain, where nobody says if it is installed."""
    name = signal.said.get("module")
    asked = signal.signature == _METADATA and name in _ASKED
    return name if asked and name and case.machine.package(name).value is None else None


def _asked_alone(case: Case, signal: Signal) -> str | None:
    """Name bitsandbytes where transformers asks for nothing else and nobody says if it is there.

    Only where torch's default build has no CUDA: the later check would not mind that. In a notebook
    that has a GPU, or none, a restart or another machine comes first.
    """
    unknown = _ALONE in signal.said and case.machine.package(_BNB).value is None
    late = unknown and not _asks_for_cuda(case) and default_without_cuda(case)
    return _BNB if late else None


def _of_metadata(case: Case, package: str, signal: Signal) -> Finding:
    """Report that the Python that runs has no such package, wherever else it may be installed."""
    why = "what asks for bitsandbytes wants a CUDA GPU next"
    in_vain = package == _BNB and case.ask(gpu_present).value == "no"
    return Finding(
        rule=NAME,
        severity="note",
        title=f"the process that failed does not see {package}",
        because=[quoted(signal)],
        fixes=[
            *([by_hand("change-hardware", why, verify=NAME)] if in_vain else []),
            pip("install", package, "", "into the Python that runs the program", verify=NAME),
            _RESTART,
        ],
        undecided=f"whether {package} is installed, and for which Python",
    )


def _of_gpu(case: Case, signal: Signal) -> Iterator[Finding]:
    absent = [name for name in _ASKED if case.machine.package(name).value == ""]
    cuda, gpu = case.ask(torch_has_cuda), case.ask(gpu_present)
    sure = bool(absent) or (cuda.value == "yes" and gpu.value == "yes")
    yield Finding(
        rule=NAME,
        severity="note",
        title=_title(absent, built=cuda.value == "yes"),
        because=[
            quoted(signal),
            _check(case),
            *(cuda.because[:1] if cuda.value != "unknown" else ()),
        ],
        fixes=list(_fixes(case, absent, signal)),
        undecided=None if sure else _OPEN,
    )


def _title(absent: list[str], *, built: bool) -> str:
    if absent:
        return f"transformers is right here: {' and '.join(absent)} is not installed"
    if built:
        return "transformers misses installed packages: the process began before they were there"
    return "transformers misses installed packages because torch sees no CUDA GPU"


def _fixes(case: Case, absent: list[str], signal: Signal) -> Iterator[Fix]:
    """Offer what changes nothing first, unless torch is known or likely to have no CUDA.

    Likely is it in the words of the releases that came to ask for CUDA: programs that ran before
    fail then (``_BY_KEYWORD``), where later words mostly come from a first installation.
    """
    built = ""
    if absent:
        for name in absent:
            yield pip("install", name, "", "transformers asks for it", verify=NAME)
    elif case.ask(gpu_present).value == "no":
        yield by_hand("change-hardware", "the check asks for a CUDA GPU", verify=NAME)
    elif (built := case.ask(torch_has_cuda).value) == "no" or (
        built == "unknown"
        and (_asks_for_cuda(case) or default_without_cuda(case) or _BY_KEYWORD in signal.said)
    ):
        built = "no"
        yield from offers(case, "with CUDA the check finds the GPU", verify=NAME)
    yield _RESTART
    if not absent and built == "unknown":
        yield from offers(case, "if torch is a build without CUDA: one with it", verify=NAME)


def _asks_for_cuda(case: Case) -> bool:
    """Say whether the check of the stated transformers asks for a CUDA GPU (table)."""
    row = case.matrix.table("import_checks")["rows"][0]
    version = parsed(case.machine.package(row["package"]).value)
    return version is not None and SpecifierSet(row["spec"]).contains(version, prereleases=True)


def _foreseen(case: Case) -> Iterator[Finding]:
    """Report that a transformers of this machine will say so: it asks for CUDA where none is."""
    row = case.matrix.table("import_checks")["rows"][0]
    known = case.machine.package(row["package"])
    version = parsed(known.value)
    if not _asks_for_cuda(case):
        return
    gpu = case.ask(gpu_present)
    if gpu.value != "no" or known.because is None:
        return
    yield Finding(
        rule=NAME,
        severity="note",
        title=f"transformers {version} calls bitsandbytes missing where there is no CUDA GPU",
        because=[known.because, _check(case), *gpu.because[:1]],
        fixes=[
            by_hand("change-hardware", "the check asks for a CUDA GPU", verify=NAME),
            pip("upgrade", row["package"], row["until"], row["why"], verify=NAME),
        ],
    )


def _check(case: Case) -> Because:
    table = case.matrix.table("import_checks")
    row = table["rows"][0]
    text = f"is_bitsandbytes_available() of transformers {row['spec']} asks for a CUDA GPU"
    return Because(text, table["sources"][row["source"]], row["strength"])


RULE = rule(NAME, __doc__, find)
