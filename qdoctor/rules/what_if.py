"""Finds the releases with which a layer would fit: the layer is asked, with the facts changed.

So a fix needs no knowledge of its own, and what it promises is what the next check will say.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, TypeVar

import msgspec

from qdoctor.implied_packages import stated
from qdoctor.machine import complete, with_facts, with_packages
from qdoctor.model import Host
from qdoctor.released import parsed, stable
from qdoctor.rules.remedies import pip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from packaging.version import Version

    from qdoctor.layers import Layer
    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix
    from qdoctor.model import Action, Facts, Fix, Gpu
    from qdoctor.rules.case import Case

    Condition = Callable[[Machine], bool]

Listed = TypeVar("Listed")

_IMPLYING_NOTHING = ("bitsandbytes", "triton")
"""Packages of which nothing else is implied (triton implies the system, where that is unknown)."""


class Span(msgspec.Struct, frozen=True):
    """A run of neighbouring known releases that fit; ``above`` is the first one after it."""

    first: Version
    last: Version
    above: Version | None

    @property
    def spec(self) -> str:
        """The span as a PEP 440 specifier set: open above where the newest known release fits."""
        if self.above is None:
            return f">={self.first}"
        return f"=={self.first}" if self.first == self.last else f">={self.first},<{self.above}"

    def holds(self, version: Version) -> bool:
        """Say whether a release lies in the span."""
        return self.first <= version <= self.last

    def __str__(self) -> str:
        """Write the span for people: ``2.0.0``, ``0.37.0 to 0.41.3``, ``0.45.1 or newer``."""
        if self.above is None:
            return f"{self.first} or newer"
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"


def with_package(machine: Machine, matrix: Matrix, package: str, version: str) -> Machine:
    """Return the machine as it would be with another release of one package.

    What was read from the replaced release's own files is forgotten, and worked out anew; several
    rules try the same releases, so each is worked out once.
    """
    key = matrix, package, version
    if key not in machine.others:
        machine.others[key] = _with_package(machine, matrix, package, version)
    return machine.others[key]


def _with_package(machine: Machine, matrix: Matrix, package: str, version: str) -> Machine:
    changed = _changed(machine.facts, package, version)
    if package in _IMPLYING_NOTHING and machine.os.value is not None:
        return with_facts(machine, changed, **{package: stated(changed, package)})
    if package != "triton":
        return with_packages(machine, changed, matrix)
    told = complete(changed, matrix, assume_driver=machine.driver_assumed)
    return msgspec.structs.replace(told, judged=machine.judged)


def spans(case: Case, package: str, fits: Condition) -> list[Span]:
    """Return the runs of known releases of ``package`` for which ``fits`` holds, ascending."""
    known = stable(case.matrix, package)
    good = [fits(with_package(case.machine, case.matrix, package, one)) for one in known]
    return runs(tuple(known.values()), good)


def runs(known: Sequence[Version], good: Sequence[bool]) -> list[Span]:
    """Group neighbouring ``known`` releases, ascending, that are ``good``."""
    found: list[Span] = []
    start = 0
    for at, fits in enumerate(good):
        if not fits:
            continue
        if at == 0 or not good[at - 1]:
            start = at
        if at + 1 == len(known) or not good[at + 1]:
            above = known[at + 1] if at + 1 < len(known) else None
            found.append(Span(known[start], known[at], above))
    return found


def all_yes(case: Case, wanted: Sequence[Layer], kept: Sequence[Layer] = ()) -> Condition:
    """Make a condition: each of ``wanted`` says yes, and none of ``kept`` says no."""

    def fits(machine: Machine) -> bool:
        for layer in wanted:
            if machine.ask(layer, case.matrix).value != "yes":
                return False
        for layer in kept:  # noqa: SIM110 - a generator would cost as much as an answer
            if machine.ask(layer, case.matrix).value == "no":
                return False
        return True

    return fits


def nearest(found: Sequence[Span], installed: str | None) -> tuple[Action, Span] | None:
    """Pick the smallest change: upwards if there is a way, else downwards; None for no way.

    A release that is not known is best left for the newest span. One that the condition holds for
    although this machine's copy fails is to be installed anew.
    """
    now = parsed(installed)
    if not found:
        return None
    if now is None:
        return "upgrade", found[-1]
    if any(span.holds(now) for span in found):
        return "reinstall", Span(now, now, now)
    above = [span for span in found if span.first > now]
    return ("upgrade", above[0]) if above else ("downgrade", found[-1])


def offer(case: Case, package: str, fits: Condition, why: str, *, verify: str) -> list[Fix]:
    """Offer the nearest release of ``package`` for which ``fits`` holds; [] for none."""
    known = stable(case.matrix, package)
    now = parsed(case.machine.package(package).value)
    found = _nearest_of(
        known, now, lambda one: fits(with_package(case.machine, case.matrix, package, one))
    )
    if found is None:
        return []
    action, span = found
    return [pip(action, package, span.spec, f"{why} ({package} {span})", verify=verify)]


def _nearest_of(
    released: Mapping[str, Version], now: Version | None, fits: Callable[[str], bool]
) -> tuple[Action, Span] | None:
    """Pick as ``nearest`` does, asking of no more releases than it takes to find that run."""
    known = tuple(released.items())
    if now is None:
        span = _first_run(known, fits, reversed(range(len(known))))
        return ("upgrade", span) if span else None
    here = bisect_left(tuple(released.values()), now)
    if span := _first_run(known, fits, range(here, len(known))):
        return ("reinstall", Span(now, now, now)) if span.holds(now) else ("upgrade", span)
    span = _first_run(known, fits, reversed(range(here)))
    return ("downgrade", span) if span else None


def _first_run(
    known: Sequence[tuple[str, Version]], fits: Callable[[str], bool], places: Iterable[int]
) -> Span | None:
    good: list[int] = []
    for at in places:
        if fits(known[at][0]):
            good.append(at)
        elif good:
            break
    if not good:
        return None
    first, last = min(good), max(good)
    above = known[last + 1][1] if last + 1 < len(known) else None
    return Span(known[first][1], known[last][1], above)


def _changed(facts: Facts, package: str, version: str) -> Facts:
    changed = msgspec.structs.replace(
        facts,
        packages={**(facts.packages or {}), package: version},
        native=_kept(facts.native, lambda one: one.package != package),
        requires=_without(facts.requires, package),
        packages_found=_kept(facts.packages_found, lambda one: one.name != package),
        triton_names=_kept(facts.triton_names, lambda one: one.package != package),
        triton_has=None if package == "triton" else facts.triton_has,
    )
    if package != "torch":
        return changed
    # torch brings the CUDA libraries along: which files others would be given is another question.
    native = [
        msgspec.structs.replace(one, resolved=None, shadowed=None) for one in changed.native or ()
    ]
    return msgspec.structs.replace(
        changed, torch_cuda=None, torch_arch_list=None, native=native or None
    )


def _kept(listed: list[Listed] | None, of_others: Callable[[Listed], bool]) -> list[Listed] | None:
    return list(filter(of_others, listed)) or None if listed else None


def _without(requires: dict[str, list[str]] | None, package: str) -> dict[str, list[str]] | None:
    return {name: said for name, said in requires.items() if name != package} if requires else None


def with_os(machine: Machine, matrix: Matrix, system: str) -> Machine:
    """Return the machine as it would be under another operating system."""
    host = msgspec.structs.replace(machine.facts.host or Host(), os=system)
    facts = msgspec.structs.replace(machine.facts, host=host)
    return complete(facts, matrix, assume_driver=machine.driver_assumed)


def without_python(machine: Machine, matrix: Matrix) -> Machine:
    """Return the machine as it is where nothing is known of its Python."""
    facts = msgspec.structs.replace(machine.facts, python=None)
    return complete(facts, matrix, assume_driver=machine.driver_assumed)


def with_gpu(machine: Machine, matrix: Matrix, gpu: Gpu) -> Machine:
    """Return the machine as it would be with one GPU in it, and a driver new enough for it."""
    facts = msgspec.structs.replace(machine.facts, gpus=[gpu], driver=None)
    return complete(facts, matrix, assume_driver=True)
