"""Which single fact would decide where a finding is undecided, and how to learn it.

A layer that cannot answer gives the machine's own reason for not knowing a fact. So the fact is
found by that reason, and no rule needs to name it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from qdoctor.model import MissingFact

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qdoctor.machine import Machine
    from qdoctor.model import Finding
    from qdoctor.released import Known

_TORCH = 'python -c "import torch; print(torch.__version__, torch.version.cuda)"'
_HOW = {
    "gpus": "nvidia-smi --query-gpu=index,name,compute_cap --format=csv",
    "driver.version": "nvidia-smi --query-gpu=driver_version --format=csv",
    "driver.libcuda": "ldconfig -p | grep libcuda",
    "torch_cuda": _TORCH,
    "torch_arch_list": 'python -c "import torch; print(torch.cuda.get_arch_list())"',
    "packages.torch": _TORCH,
    "host.os": 'python -c "import platform; print(platform.platform())"',
    "host.machine": 'python -c "import platform; print(platform.machine())"',
    "host.libc": "ldd --version",
    "python.version": "python --version",
    "host.c_compiler": "cc --version",
}
"""The command that tells a fact to a person; ``qdoctor facts`` tells all of them."""
_PACKAGE = "packages."
_EVERYTHING = "qdoctor facts"


def with_missing_facts(findings: Sequence[Finding], machine: Machine) -> list[Finding]:
    """Say of each undecided finding which unknown fact would tell it from its rivals.

    That is the fact that its own question lacks: known, it makes the finding sure, which rules the
    rivals out, or takes it away. Some questions lack no fact but what only a person can say.
    """
    return [_told(one, machine) for one in findings]


def _told(finding: Finding, machine: Machine) -> Finding:
    fact = _missing_in(finding.undecided, machine) if finding.undecided else None
    if fact is None:
        return finding
    return msgspec.structs.replace(finding, decided_by=MissingFact(fact, _how(fact)))


def _how(fact: str) -> str:
    if fact in _HOW:
        return _HOW[fact]
    if fact.startswith(_PACKAGE):
        return f"python -m pip show {fact.removeprefix(_PACKAGE)}"
    return _EVERYTHING


def _missing_in(undecided: str, machine: Machine) -> str | None:
    """Name the fact whose reason for being unknown is told; of several the one that names it all.

    ``torch's CUDA version is not known: whether torch is installed is not known`` asks for the
    first, of which the second is the reason.
    """
    told = [(reason, fact) for reason, fact in _reasons(machine) if reason in undecided]
    return max(told, key=lambda one: len(one[0]))[1] if told else None


def _reasons(machine: Machine) -> Iterator[tuple[str, str]]:
    """Yield why each unknown fact is unknown, in the machine's own words."""
    known: dict[str, tuple[Known[Any], ...]] = {
        "gpus": (machine.gpus, machine.sm),
        "driver.version": (machine.driver_version, machine.driver_cuda),
        "torch_cuda": (machine.torch_cuda,),
        "torch_arch_list": (machine.torch_sm,),
        "host.os": (machine.os,),
        "host.machine": (machine.arch,),
        "host.libc": (machine.libc,),
        "python.version": (machine.python,),
        "python.headers": (machine.headers,),
        "host.c_compiler": (machine.c_compiler,),
    }
    for fact, values in known.items():
        yield from ((one.reason, fact) for one in values if one.value is None and one.reason)
    for package in _PACKAGES:
        version = machine.package(package)
        if version.value is None:
            fact = f"{_PACKAGE}{package}"
            yield from ((reason, fact) for reason in (version.reason, *_asked(package)))
    yield from _OTHERS.items()


def _asked(package: str) -> tuple[str, ...]:
    """Return how rules ask for a release."""
    return f"which {package} is installed", f"which release of {package} is installed"


_PACKAGES = (
    *("torch", "triton", "bitsandbytes", "torchao", "transformers", "accelerate", "peft"),
    *("diffusers", "numpy", "scipy"),
)
"""The packages that some layer or rule asks about; others never decide anything."""
_OTHERS = {
    "which libcuda the loader would find": "driver.libcuda",
    "which libraries the installed": "native",
    "which library holds": "native",
    "would be given is not known": "native",
}
"""How layers and rules ask for facts that the machine holds as they were read."""
