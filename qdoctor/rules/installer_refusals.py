"""What an installer's refusal means: no wheel for this Python, system or index, or a conflict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from qdoctor.layers import torch_fits_python
from qdoctor.model import Finding, Fix
from qdoctor.released import parsed
from qdoctor.rules.case import quoted
from qdoctor.rules.remedies import by_hand, pip, torch_build
from qdoctor.rules.torch_builds import never_has_cuda, offers, tags_of
from qdoctor.rules.what_if import nearest, spans, with_package

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.model import Because
    from qdoctor.rules.case import Case, Signal

_TORCH = "torch"
_NVIDIA = "nvidia-"
_PYTHON = "a Python that the release has wheels for"


def refusals(case: Case, name: str) -> Iterator[Finding]:
    """Report each text in which an installer says no."""
    for signal in case.signals_of(name):
        package, version = _asked(signal)
        wanted = f"{package or 'a package'}{f' {version}' if version else ''}"
        yield Finding(
            rule=name,
            severity="error",
            title=f"the installer has no {wanted} for this Python, system or index",
            because=[quoted(signal), *_known(case)],
            fixes=list(_fixes(case, signal, package, version, name)),
        )


def _known(case: Case) -> list[Because]:
    return [case.machine.python.because] if case.machine.python.because else []


def _asked(signal: Signal) -> tuple[str | None, str | None]:
    """Return the package that was asked for, and the one version that was, if any."""
    wheel = signal.said.get("wheel")
    if wheel:
        return _of_wheel(wheel)
    package = signal.said.get("package") or signal.said.get("package2")
    wanted = signal.said.get("wanted", "")
    return package, wanted.removeprefix("==") if wanted.startswith("==") else None


def _of_wheel(wheel: str) -> tuple[str, str | None]:
    try:
        name, version, _, _ = parse_wheel_filename(wheel)
    except InvalidWheelFilename:
        return wheel.partition("-")[0].replace("_", "-"), None
    return name, str(version)


def _fixes(
    case: Case, signal: Signal, package: str | None, version: str | None, name: str
) -> Iterator[Fix]:
    if package == _TORCH:
        yield from _torch(case, version, name)
    elif package and package.startswith(_NVIDIA):
        why = "wheels of CUDA's libraries are for Linux: torch asks for those that it needs"
        yield by_hand("change-code", f"leave {package} out of the requirements: {why}")
    elif "wheel" in signal.said and package:
        why = "the wheel for this very Python (cp311 ...), system and processor"
        yield Fix(action="install-matching", package=package, why=why, verify=name)
    elif package and version:
        why = "a release that has a wheel for this Python and system"
        yield Fix(action="install", package=package, why=why, verify=name)
    yield by_hand("use-python", _PYTHON, verify=name)
    why = "change one of the requirements that contradict each other, or leave its version open"
    yield by_hand("change-code", why)


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
        why = f"torch {span} has wheels for Python {case.machine.python.value}"
        yield pip("install", _TORCH, span.spec, why, verify=name)
    elif parsed(public) is None:
        yield from offers(case, "a build that fits this machine", verify=name)


def _is_there(case: Case, public: str, tag: str) -> bool:
    machine = with_package(case.machine, case.matrix, _TORCH, f"{public}+{tag}")
    return tag in tags_of(case, public) and torch_fits_python(machine, case.matrix).value != "no"
