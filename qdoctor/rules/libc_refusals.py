"""What an installer does not find because this system's C library is older than the wheels need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.layers.wheel import oldest_libc
from qdoctor.model import Finding
from qdoctor.rules.case import quoted
from qdoctor.rules.installer_refusals import asked_in
from qdoctor.rules.remedies import by_hand, pip
from qdoctor.rules.wheels_here import asked_for, libc_refuses, nearest_with_libc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qdoctor.model import Fix
    from qdoctor.rules.case import Case, Signal

TEXTS = {
    "no-bnb-to-install",
    "no-triton-to-install",
    "nothing-to-install",
    "uv-no-wheel",
    "uv-no-wheel-bnb",
    "uv-no-wheel-triton",
}
"""The rows of signatures in which an installer says that it found nothing."""
_AT_LEAST = (">", "~=")


def kept_away(case: Case, name: str) -> Iterator[Finding]:
    """Report each package of which every release asked for was built for a newer C library."""
    asked: dict[str, list[Signal]] = {}
    longest: dict[str, str] = {}
    for signal in case.signals_of(name):
        package, wanted = asked_in(case, signal) if signal.signature in TEXTS else (None, "")
        if package:
            asked.setdefault(package, []).append(signal)
            longest[package] = max(longest.get(package, ""), wanted, key=len)
    for package, wanted in longest.items():
        why, libc = libc_refuses(case, package, wanted), case.machine.libc.value
        if why is not None:
            yield Finding(
                rule=name,
                severity="error",
                title=f"{libc} is too old for {package} {wanted.removeprefix('==')}".rstrip(),
                because=[*why.because, *map(quoted, asked[package])],
                fixes=list(_fixes(case, package, wanted, name)),
            )


def _fixes(case: Case, package: str, wanted: str, name: str) -> Iterable[Fix]:
    """Offer an older release first, unless a lower bound says that it would not do."""
    floor = oldest_libc(
        case.machine, case.matrix, package, map(str, asked_for(case, package, wanted))
    )
    why = f"a system with glibc {floor} or newer, or a container of one, is served by its wheels"
    newer = by_hand("upgrade-os", why, verify=name)
    built = by_hand("rebuild", f"{package} built from source here needs no newer C library")
    way = nearest_with_libc(case, package, wanted)
    if way is None:
        return [newer, built]
    why = f"{package} {way[1]} was built for this C library or an older one"
    older = pip(way[0], package, way[1].spec, why, verify=name)
    return [newer, built, older] if wanted.startswith(_AT_LEAST) else [older, newer, built]
