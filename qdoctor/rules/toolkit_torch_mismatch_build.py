"""An extension is compiled with a CUDA toolkit that does not fit torch's CUDA.

## What it finds
The texts by which torch, DeepSpeed, apex and flash-attn stop the build of an extension: nvcc is of
another CUDA version than torch, or too old.

## Why it hurts
The package that is compiled while it is installed cannot be. Running torch is not concerned.

## How we know
The text states both versions, or which compilers the toolkit accepts.

## Fix
A build of torch for the toolkit's CUDA version, or a toolkit of torch's for the build
(`CUDA_HOME`); best of all a wheel of the package, which needs no compiler.

## When to ignore
If nothing is compiled: then the versions may differ (`version-misreading`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.model import Finding, Fix
from qdoctor.rules.case import quoted, rule
from qdoctor.rules.of_text import answer_to, of_texts
from qdoctor.rules.remedies import torch_build
from qdoctor.rules.torch_builds import never_has_cuda, refused, tags_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "toolkit-torch-mismatch-build"
_TOOLKIT = "cuda-toolkit"
_TORCH_REFUSES = "nvcc-mismatch"
_ANY_BUILD = "build-failed"
"""The row of texts in which builds end, whatever stopped them."""
_UNSAID = "an extension could not be compiled: the compiler's first error, above, tells why"
_OF_TEXTS = of_texts(NAME, __doc__, severity="note")


def find(case: Case) -> Iterator[Finding]:
    """Report a build that was stopped because of nvcc's version."""
    yield from _OF_TEXTS.find(case)
    for signal in case.signals_of(NAME):
        if answer_to(case, NAME, signal) is not None:
            continue
        toolkit = signal.said.get("toolkit") or case.machine.facts.toolkit_cuda
        built = signal.said.get("built_with") or case.machine.torch_cuda.value
        wanted = signal.said.get("needed") or _knowing(case, signal.said.get("compute"))
        unsaid = signal.signature == _ANY_BUILD and not (toolkit and built)
        if signal.signature == _ANY_BUILD and toolkit and toolkit == built:
            continue  # something else stopped this build: its first error tells
        yield Finding(
            rule=NAME,
            severity="note",
            title=_UNSAID if unsaid else _title(toolkit, built, wanted),
            because=[quoted(signal)],
            fixes=list(_fixes(case, toolkit, built, wanted)),
            undecided="what the compiler said first" if unsaid else None,
        )


def _title(toolkit: str | None, built: str | None, wanted: str | None) -> str:
    if wanted:
        return f"nvcc is older than CUDA {wanted}, which this extension needs to be compiled"
    if toolkit and toolkit == built:
        return f"an extension needs a part of CUDA {toolkit} that its compiler does not find"
    own = f"CUDA {toolkit}" if toolkit else "this machine's CUDA"
    other = f"CUDA {built}" if built else "another CUDA"
    return f"an extension is compiled with {own}, while torch is built with {other}"


def _fixes(case: Case, toolkit: str | None, built: str | None, wanted: str | None) -> Iterator[Fix]:
    """Offer what pip can do, then a toolkit for the build, which changes nothing that runs.

    Of torch's own version a toolkit lacks a part, and torch stays.
    """
    if toolkit and not wanted and toolkit != built and not never_has_cuda(case):
        yield from _torch_for(case, toolkit) or _of_its_major(case, toolkit)
    version = f"{wanted} or newer" if wanted else built or "the version that torch is built with"
    if version:
        yield Fix(
            action="install-system",
            package=_TOOLKIT,
            spec=_spec(wanted, built),
            name=f"{_TOOLKIT} {version}",
            why=f"the build needs nvcc of CUDA {version}, with CUDA_HOME pointing to it; "
            f"conda: `conda install -c nvidia cuda-nvcc`",
        )
        yield Fix(action="set-env", name="CUDA_HOME", why="where several toolkits are installed")


def _spec(wanted: str | None, built: str | None) -> str | None:
    """Return which toolkits do: from a version on, or of torch's; None for unknown."""
    return f">={wanted}" if wanted else f"=={built}.*" if built else None


def _knowing(case: Case, compute: str | None) -> str | None:
    """Return the first CUDA version whose compiler knows an SM (``120``); None for unknown."""
    sm = f"{compute[:-1]}.{compute[-1]}" if compute else ""
    row = case.matrix.row("ptxas", sm)
    return row["since"] if row else None


def _torch_for(case: Case, toolkit: str) -> list[Fix]:
    """Offer torch built for the toolkit's CUDA version."""
    why = f"torch built for CUDA {toolkit}, which nvcc is of"
    return _built_for(case, "cu" + toolkit.replace(".", ""), why)


def _of_its_major(case: Case, toolkit: str) -> list[Fix]:
    """Offer torch of the toolkit's CUDA major, the nearest one, where torch stopped the build.

    torch's own check (torch/utils/cpp_extension.py) refuses another major and only warns of another
    minor; DeepSpeed and apex hold to the minor.
    """
    if not any(one.signature == _TORCH_REFUSES for one in case.signals_of(NAME)):
        return []
    tags = {tag for one in case.matrix.versions("torch") for tag in tags_of(case, str(one))}
    near = sorted((tag for tag in tags if _major(tag) == toolkit.partition(".")[0]), key=_minor)
    near.sort(key=lambda tag: abs(_minor(tag) - int(toolkit.partition(".")[2] or 0)))
    for tag in near:
        why = f"torch built for CUDA {_major(tag)}.{_minor(tag)}: nvcc has to be of the same major"
        if found := _built_for(case, tag, f"{why} only, which {toolkit} is"):
            return found
    return []


def _major(tag: str) -> str:
    return tag.removeprefix("cu")[:-1]


def _minor(tag: str) -> int:
    return int(tag[-1])


def _built_for(case: Case, tag: str, why: str) -> list[Fix]:
    """Offer torch built for a CUDA version: the installed release if it is, else any that is.

    [] where no known release is built for that version, or none suits GPU and driver.
    """
    version = (case.machine.torch.value or "").partition("+")[0]
    known = [str(one) for one in case.matrix.versions("torch")]
    built = [one for one in known if tag in tags_of(case, one) and not refused(case, one, tag)]
    if version in built:
        return [torch_build(f"=={version}", tag, why, verify=NAME)]
    if built:
        alone = built[0] == built[-1]
        spec = f"=={built[0]}" if alone else f">={built[0]},<={built[-1]}"
        return [torch_build(spec, tag, why, verify=NAME)]
    return []


RULE = rule(NAME, __doc__, find)
