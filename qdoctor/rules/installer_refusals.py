"""What an installer's refusal means: no wheel for this Python, system or index, or a conflict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from qdoctor.layers import torch_fits_python
from qdoctor.model import Finding, Fix
from qdoctor.released import parsed
from qdoctor.rules.bnb_releases import BNB
from qdoctor.rules.case import quoted
from qdoctor.rules.remedies import by_hand, pip, torch_build
from qdoctor.rules.torch_builds import never_has_cuda, offers, tags_of
from qdoctor.rules.triton_releases import distribution
from qdoctor.rules.what_if import nearest, spans, with_package
from qdoctor.rules.wheels_here import (
    has_other_reason,
    libc_refuses,
    listed,
    nearest_here,
    nearest_listed,
    never_released,
    refusal,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Because
    from qdoctor.rules.case import Case, Signal

_TORCH = "torch"
_PACKAGE = ("package", "package2", "package3")
_WANTED = ("wanted", "wanted3")
_NVIDIA = "nvidia-"
_OF_BNB = "no-bnb-to-install"
"""The text that a rule about bitsandbytes' platforms answers first."""
_OF_TRITON = "no-triton-to-install"
"""The text that rules about triton's Pythons and systems answer first."""
_TRITON = "triton"
_TRITONS = {_TRITON, "triton-nightly", "pytorch-triton"}
_MANAGED = "externally-managed"
"""The text in which an installer refuses whatever is asked of it."""
_BROKEN = "wheel-broken"
_IMPOSSIBLE = "resolution-impossible"
_CONFLICT = "requirements contradict each other: no releases meet all of them"
_PYTHON = "a Python that the release has wheels for"


def refusals(case: Case, name: str) -> Iterator[Finding]:
    """Report each text in which an installer says no, what it says of one package together."""
    asked: dict[tuple[str | None, str], list[Signal]] = {}
    for signal in case.signals_of(name):
        if signal.signature == _MANAGED:
            continue
        package, wanted = asked_in(case, signal)
        if package and libc_refuses(case, package, wanted):
            continue
        if _is_about_this(case, signal, wanted):
            asked.setdefault((package, wanted), []).append(signal)
    for (package, wanted), signals in asked.items():
        named = f"{package or 'such package'} {wanted.removeprefix('==')}".strip()
        yield Finding(
            rule=name,
            severity="error",
            title=_CONFLICT
            if _is_conflict(signals, package)
            else f"the installer has no {named} for this Python, system or index",
            because=[*map(quoted, signals), *_known(case, package, wanted)],
            fixes=list(_fixes(case, signals, package, wanted, name)),
        )


def _is_conflict(signals: list[Signal], package: str | None) -> bool:
    """Say whether an installer names requirements that contradict each other, no missing file."""
    return package is None and all(one.signature == _IMPOSSIBLE for one in signals)


def _is_about_this(case: Case, signal: Signal, wanted: str) -> bool:
    """Say whether a text is no other rule's: of bitsandbytes' platforms, or triton's Pythons."""
    if signal.signature == _OF_TRITON:
        return never_released(case, _TRITON, wanted, [signal])
    return signal.signature != _OF_BNB or has_other_reason(case, BNB, wanted)


def _known(case: Case, package: str | None, wanted: str) -> list[Because]:
    why = refusal(case, package, wanted) if package else None
    python = [case.machine.python.because] if case.machine.python.because else []
    return [*why.answer.because] if why else python


def asked_in(case: Case, signal: Signal) -> tuple[str | None, str]:
    """Return the package that was asked for, and of which releases; ``""`` for any."""
    wheel = signal.said.get("wheel")
    if wheel:
        return _of_wheel(wheel)
    package = next((signal.said[one] for one in _PACKAGE if one in signal.said), None)
    if signal.signature == _OF_TRITON:
        package = _TRITON
    name = canonicalize_name(package) if package else None
    meant = _TORCH if name in case.matrix.table("torch_defaults")["misnamed"] else name
    wanted = next((signal.said[one] for one in _WANTED if one in signal.said), "")
    return meant, wanted.strip(" ,")


def _of_wheel(wheel: str) -> tuple[str, str]:
    try:
        name, version, _, _ = parse_wheel_filename(wheel)
    except InvalidWheelFilename:
        return wheel.partition("-")[0].replace("_", "-"), ""
    return name, f"=={version}"


def _fixes(
    case: Case, signals: list[Signal], package: str | None, wanted: str, name: str
) -> Iterator[Fix]:
    if package == _TORCH:
        version = wanted.removeprefix("==") if wanted.startswith("==") else None
        told = list(_torch(case, version, name))
        yield from told or _another(case, signals, package, wanted, name)
    elif package in _TRITONS and distribution(case.machine) != _TRITON:
        why = "on this system it is called so: triton itself has no wheels for it"
        yield pip("install", distribution(case.machine), "", why, verify=name)
    elif package and package.startswith(_NVIDIA):
        why = "wheels of CUDA's libraries are for Linux: torch asks for those that it needs"
        yield by_hand("change-code", f"leave {package} out of the requirements: {why}")
    elif package and any(one.signature == _BROKEN for one in signals):
        why = "the file is no whole wheel: download it again, or take a released one"
        yield Fix(action="install", package=package, why=why, verify=name)
    elif package and any("wheel" in one.said for one in signals):
        why = "the wheel for this very Python (cp311 ...), system and processor"
        yield Fix(action="install-matching", package=package, why=why, verify=name)
    elif package:
        yield from _another(case, signals, package, wanted, name)
    python = by_hand("use-python", _PYTHON, verify=name)
    why = "change one of the requirements that contradict each other, or leave its version open"
    loosened = by_hand("change-code", why)
    yield from [loosened, python] if _is_conflict(signals, package) else [python, loosened]


def _another(
    case: Case, signals: list[Signal], package: str, wanted: str, name: str
) -> Iterator[Fix]:
    """Offer a release that is found here: by its wheels, or as the installer itself lists them."""
    span, other = nearest_here(case, package, wanted), nearest_listed(listed(signals), wanted)
    if refusal(case, package, wanted) and span is not None:
        why = f"{package} {span} has a wheel for this Python and system"
        yield pip("install", package, span.spec, why, verify=name)
    elif other is not None:
        why = f"the installer lists {package} {other} for this Python and system"
        yield pip("install", package, f"=={other}", why, verify=name)
    elif wanted.startswith("=="):
        why = "a release that has a wheel for this Python and system"
        yield Fix(action="install", package=package, why=why, verify=name)


def _torch(case: Case, version: str | None, name: str) -> Iterator[Fix]:
    """Offer the build from its own index, or the nearest release with wheels for this Python."""
    public, _, tag = (version or "").partition("+")
    if tag.startswith("cu") and _is_there(case, public, tag) and not never_has_cuda(case):
        why = f"builds with a tag (+{tag}) are on torch's own index only"
        yield torch_build(f"=={public}", tag, why, verify=name)
        return
    found = spans(case, _TORCH, lambda one: torch_fits_python(one, case.matrix).value == "yes")
    chosen = nearest(found, public or None)
    if chosen is not None and chosen[0] != "reinstall":
        span = chosen[1]
        why = f"torch {span} has wheels for Python {case.machine.python.value or '3'}"
        yield pip("install", _TORCH, span.spec, why, verify=name)
    elif parsed(public) is None:
        yield from offers(case, "a build that fits this machine", verify=name)


def _is_there(case: Case, public: str, tag: str) -> bool:
    machine = with_package(case.machine, case.matrix, _TORCH, f"{public}+{tag}")
    return tag in tags_of(case, public) and torch_fits_python(machine, case.matrix).value != "no"
