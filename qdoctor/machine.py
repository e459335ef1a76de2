"""The machine: facts completed by what they imply, every implied value with its evidence.

What was read on the machine outranks what the matrix says of a release; where the two disagree the
stronger is kept and the contradiction remembered.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from qdoctor import implied_devices as devices
from qdoctor import implied_packages as packages
from qdoctor.implied_torch import torch_cuda, torch_sm
from qdoctor.implied_triton import triton, triton_pin
from qdoctor.model import Because, Driver, Facts, Gpu, Host, Python
from qdoctor.released import Known, unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdoctor.implied_packages import Contradiction
    from qdoctor.matrix import Matrix
    from qdoctor.model import YesNo

__all__ = ["Known", "Machine", "complete", "with_facts", "with_packages"]

Value = TypeVar("Value", str, bool)
Found = TypeVar("Found")

_COMPLETED = frozenset({"torch", "triton", "bitsandbytes"})
"""Packages whose versions other facts may imply."""


class Machine(msgspec.Struct, frozen=True, dict=True):
    """One machine as far as it is known.

    Every rule asks it anew, so what takes a search is searched for once.

    ``""`` is known to be none: for a package not installed, for ``torch_cuda`` a build without
    CUDA, for ``driver_version`` and ``driver_cuda`` no driver, for ``triton_pin`` no requirement.
    Versions and SMs are plain strings (``"12.1"``, ``"8.6"``, ``"sm_86"`` in ``torch_sm``).
    """

    facts: Facts
    os: Known[str]
    arch: Known[str]
    libc: Known[str]
    python: Known[str]
    torch: Known[str]
    triton: Known[str]
    bitsandbytes: Known[str]
    torch_cuda: Known[str]
    torch_sm: Known[list[str]]
    triton_pin: Known[str]
    driver_version: Known[str]
    driver_cuda: Known[str]
    gpus: Known[list[Gpu]]
    headers: Known[bool]
    c_compiler: Known[bool]
    driver_assumed: bool = False
    contradictions: tuple[Contradiction, ...] = ()
    judged: int = 0
    """Which GPU is judged, as CUDA numbers it; the first one is what torch uses unless told."""

    @cached_property
    def gpu(self) -> Gpu | None:
        """The GPU that is judged: a visible one of NVIDIA; None for none, or not known."""
        usable = self.usable_gpus
        return usable[self.judged] if self.judged < len(usable) else None

    @cached_property
    def usable_gpus(self) -> list[Gpu]:
        """Every GPU that CUDA would number, in its order."""
        return [gpu for gpu in self.gpus.value or () if devices.is_usable(gpu)]

    @property
    def numbered(self) -> bool:
        """Whether it is known which GPU has which of CUDA's numbers, or does not matter."""
        alike = len({(gpu.name, gpu.sm) for gpu in self.usable_gpus}) <= 1
        return alike or "gpus" not in (self.facts.unread or {})

    @cached_property
    def sm(self) -> Known[str]:
        """The SM of the judged GPU, ``"8.6"``."""
        return devices.sm_of(self.gpu, self.gpus.reason)

    def ask(self, question: Callable[[Machine, Matrix], Found], matrix: Matrix) -> Found:
        """Put a question to this machine once: many rules and every backend ask the same few.

        The answer is kept with the machine, and goes with it.
        """
        key = question, matrix
        if key not in self._answers:
            self._answers[key] = question(self, matrix)
        answer: Found = self._answers[key]
        return answer

    @cached_property
    def others(self) -> dict[tuple[Matrix, str, str], Machine]:
        """The machines that this one would be with another release (``rules.what_if``)."""
        return {}

    @cached_property
    def _answers(self) -> dict[tuple[Callable[[Machine, Matrix], Any], Matrix], Any]:
        return {}

    def package(self, name: str) -> Known[str]:
        """Return a package's version, ``""`` where it is known to be absent."""
        if name in _COMPLETED:
            own: Known[str] = getattr(self, name)
            return own
        return packages.stated(self.facts, name)

    def installed(self, name: str) -> YesNo:
        """Say whether a package is installed, even where its version is not known."""
        if (self.facts.packages or {}).get(name) == packages.SOME_VERSION:
            return "yes"
        version = self.package(name).value
        return "unknown" if version is None else "yes" if version else "no"


def complete(facts: Facts, matrix: Matrix, *, assume_driver: bool = False) -> Machine:
    """Work out what ``facts`` imply, by the matrix.

    ``assume_driver``: where no driver is stated, judge as with one that is new enough (a GPU that
    was only named); every reason drawn from that says so.
    """
    host, python, driver = facts.host or Host(), facts.python or Python(), facts.driver or Driver()
    disagreed: list[Contradiction] = []
    system = packages.os_of(facts, matrix)
    implied = _of_packages(facts, matrix, system, disagreed)
    assumed = assume_driver and driver.version is None and driver.cuda is None
    return Machine(
        facts=facts,
        os=system,
        arch=_read(host.machine, "host.machine"),
        libc=_read(host.libc, "host.libc"),
        python=_read(python.version, "python.version"),
        driver_version=_read(driver.version, "driver.version"),
        driver_cuda=devices.driver_cuda(driver, matrix, disagreed, assumed=assumed),
        gpus=devices.gpus(facts, matrix),
        headers=_read(python.headers, "python.headers"),
        c_compiler=_read(host.c_compiler, "host.c_compiler"),
        driver_assumed=assumed,
        contradictions=tuple(disagreed),
        **implied,
    )


def with_packages(machine: Machine, facts: Facts, matrix: Matrix) -> Machine:
    """Work out anew what ``facts`` imply that differ from the machine's in packages alone.

    For packages that do not tell the operating system: it stays, as everything else does.
    """
    disagreed: list[Contradiction] = []
    implied = _of_packages(facts, matrix, machine.os, disagreed)
    others = [one for one in machine.contradictions if one.subject not in implied]
    return with_facts(machine, facts, contradictions=(*disagreed, *others), **implied)


def with_facts(machine: Machine, facts: Facts, **implied: Any) -> Machine:  # noqa: ANN401 - fields
    """Return the machine with other facts, and what they imply, about the same GPUs.

    Which of them is judged is known already.
    """
    other = msgspec.structs.replace(machine, facts=facts, **implied)
    other.__dict__.update(usable_gpus=machine.usable_gpus, gpu=machine.gpu, sm=machine.sm)
    return other


def _of_packages(
    facts: Facts, matrix: Matrix, system: Known[str], disagreed: list[Contradiction]
) -> dict[str, Any]:
    """Return the fields of a machine that its packages decide, where its system is known."""
    cuda = torch_cuda(facts, matrix, system, disagreed)
    return {
        "torch": packages.stated(facts, "torch"),
        "triton": triton(facts, matrix, system),
        "bitsandbytes": packages.stated(facts, "bitsandbytes"),
        "torch_cuda": cuda,
        "torch_sm": torch_sm(facts, matrix, cuda, disagreed),
        "triton_pin": triton_pin(facts, matrix, system),
    }


@lru_cache(maxsize=1024)
def _read(value: Value | None, key: str) -> Known[Value]:
    """Take a stated fact as it is; ``key`` names it."""
    if value is None:
        return unknown(f"{key} is not known")
    return Known(value, Because(f"{key} is {value!r}", f"facts: {key}", "inspected"))
