"""What an error text says of the machine it comes from, where the facts leave it open.

A text names a CUDA version, a driver, a GPU's SM; its wording dates the release that printed it;
a path in it gives the operating system away. ``matrix/tables/signatures.json`` says which text
says what. What was stated or read outranks it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec
from packaging.specifiers import SpecifierSet

from qdoctor.implied_prose import gpu_in, system_in
from qdoctor.machine import complete
from qdoctor.model import Because, Driver, Facts, Gpu, Host
from qdoctor.released import unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix
    from qdoctor.rules.case import Signal


class Wording(msgspec.Struct, frozen=True):
    """Releases of a package, as a PEP 440 specifier set, that print a text, and the evidence."""

    package: str
    spec: str
    because: Because


def informed(machine: Machine, signals: Sequence[Signal], text: str, matrix: Matrix) -> Machine:
    """Complete a machine by what ``text``, in which ``signals`` were recognized, says of it."""
    facts, known = machine.facts, {}
    for name, said, because in _said(signals, text, matrix):
        field, fill = _FILLS[name]
        filled = fill(facts, said) if _is_open(machine, field) else facts
        if filled is not facts and field not in known:
            facts, known[field] = filled, because
    if not known:
        return _of_a_build(machine, text, matrix)
    told = complete(facts, matrix, assume_driver=machine.driver_assumed)
    replaced = {
        field: msgspec.structs.replace(getattr(told, field), because=because)
        for field, because in known.items()
    }
    return _of_a_build(msgspec.structs.replace(told, **replaced), text, matrix)


def _is_open(machine: Machine, field: str) -> bool:
    """Say whether a field is not known; of the GPUs also where what is there has no known SM."""
    no_sm = field == "gpus" and bool(machine.facts.gpus) and machine.sm.value is None
    return no_sm or getattr(machine, field).value is None


def _of_a_build(machine: Machine, text: str, matrix: Matrix) -> Machine:
    """Take back that torch is the system's default build without CUDA, where a text refutes it.

    Which CUDA version it is built for stays open. What was stated or read is left as it is.
    """
    stated = machine.facts.torch_cuda is not None or "+" in (machine.torch.value or "")
    if machine.torch_cuda.value != "" or not machine.torch.value or stated:
        return machine
    if not any(
        _compiled(row["pattern"]).search(text) for row in matrix.table("signatures")["builds"]
    ):
        return machine
    open_ = unknown("the text is of a build with CUDA; for which version is not known")
    return msgspec.structs.replace(machine, torch_cuda=open_, torch_sm=open_)


def wordings(signals: Iterable[Signal]) -> list[Wording]:
    """Return which releases the recognized texts can come from."""
    return [
        Wording(package, spec, _because(signal, f"only {package} {spec} prints this"))
        for signal in signals
        for package, spec in signal.printed_by.items()
    ]


def possible(package: str, found: Iterable[Wording], matrix: Matrix) -> list[str]:
    """Return the known releases of ``package`` that can have printed all of the texts."""
    specs = [SpecifierSet(one.spec) for one in found if one.package == package]
    known = [str(one) for one in matrix.versions(package)] if specs else []
    return [one for one in known if all(spec.contains(one, prereleases=True) for spec in specs)]


def _said(
    signals: Sequence[Signal], text: str, matrix: Matrix
) -> Iterable[tuple[str, str, Because]]:
    for signal in signals:
        for name, said in signal.said.items():
            if name in _FILLS:
                yield name, said, _because(signal, f"the error text says {name} {said}")
    table = matrix.table("signatures")
    for row in table["systems"]:
        if found := _compiled(row["pattern"]).search(text):
            said = f"the error text holds the path {found[0].strip()[:80]}"
            yield "os", row["os"], Because(said, table["sources"][row["source"]], "observed")
    if system := system_in(text, matrix):
        yield "os", *system
    if gpu := gpu_in(text, matrix):
        yield "gpu", gpu[0].name, gpu[1]


def _because(signal: Signal, text: str) -> Because:
    return Because(f"{text}: {signal.line}", f"known from {signal.source}", "observed")


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.MULTILINE)


def _os(facts: Facts, said: str) -> Facts:
    return msgspec.structs.replace(
        facts, host=msgspec.structs.replace(facts.host or Host(), os=said)
    )


def _torch_cuda(facts: Facts, said: str) -> Facts:
    if (facts.env or {}).get("BNB_CUDA_VERSION"):
        return facts  # then the library is named after that, not after torch
    return msgspec.structs.replace(facts, torch_cuda=f"{said[:-1]}.{said[-1]}")


def _torch_cuda_dotted(facts: Facts, said: str) -> Facts:
    return msgspec.structs.replace(facts, torch_cuda=said)


def _driver_cuda(facts: Facts, said: str) -> Facts:
    """Read what the CUDA runtime calls a driver's version: 11070 is 11.7 (cudaDriverGetVersion)."""
    cuda = f"{int(said) // 1000}.{int(said) % 1000 // 10}"
    driver = msgspec.structs.replace(facts.driver or Driver(), cuda=cuda)
    return msgspec.structs.replace(facts, driver=driver)


def _torch(facts: Facts, said: str) -> Facts:
    return msgspec.structs.replace(facts, packages={**(facts.packages or {}), "torch": said})


def _sm(facts: Facts, said: str) -> Facts:
    """Take the SM (``120``, ``121a``, ``8.6``) of the only GPU that is known to be there."""
    digits = said.rstrip("af").replace(".", "")
    sm = f"{digits[:-1]}.{digits[-1]}"
    gpus = facts.gpus or [Gpu(index=0, vendor="nvidia")]
    if len(gpus) > 1:
        return facts
    return msgspec.structs.replace(facts, gpus=[msgspec.structs.replace(gpus[0], sm=sm)])


def _gpu(facts: Facts, said: str) -> Facts:
    if facts.gpus is not None:
        return facts
    return msgspec.structs.replace(facts, gpus=[Gpu(index=0, name=said, vendor="nvidia")])


_FILLS: dict[str, tuple[str, Callable[[Facts, str], Facts]]] = {
    "cuda": ("torch_cuda", _torch_cuda),
    "cuda_dotted": ("torch_cuda", _torch_cuda_dotted),
    "driver_cuda": ("driver_cuda", _driver_cuda),
    "gpu": ("gpus", _gpu),
    "os": ("os", _os),
    "sm": ("gpus", _sm),
    "torch": ("torch", _torch),
}
"""What a text may say -> the machine's field that it fills, and how."""
