"""The shapes of fixes that rules offer; which versions to name is worked out in ``what_if``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.model import Fix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdoctor.model import Action, Applicability

TORCH_BUILDS = "https://download.pytorch.org/whl"
"""Where torch's builds for other CUDA versions lie."""
_FLAGS: dict[Action, str] = {
    "upgrade": "--upgrade ",  # what is installed already would do otherwise
    "reinstall": "--force-reinstall --no-deps ",
}
_TO_ONE_RELEASE: frozenset[Action] = frozenset({"downgrade", "install-build", "install-matching"})
"""Actions that say nothing without a release: pip would leave the installed one."""
_BY_HAND: frozenset[Action] = frozenset({"install-system", "rebuild"})


def pip(  # noqa: PLR0913 - a fix has these parts
    action: Action,
    package: str,
    spec: str,
    why: str,
    *,
    verify: str,
    applicability: Applicability = "safe",
) -> Fix:
    """Offer another release of a package; ``spec`` is a PEP 440 specifier set.

    There is no command where it would change nothing, or something else than the action says:
    without a release to go back to, or for what no index holds.
    """
    command = _command(action, package, spec)
    if command is None:
        applicability = "display-only"
    return Fix(action, why, applicability, package, spec, command=command, verify=verify)


def _command(action: Action, package: str, spec: str) -> str | None:
    if action == "uninstall":
        return f"python -m pip uninstall -y {package}"
    if action in _BY_HAND or (not spec and action in _TO_ONE_RELEASE):
        return None
    return f'python -m pip install {_FLAGS.get(action, "")}"{package}{spec}"'


def torch_build(release_spec: str, build: str, why: str, *, verify: str, note: str = "") -> Fix:
    """Offer torch built for another CUDA version, ``build`` being its tag (``cu126``).

    Unsafe: torch pins triton, and libraries compiled against the old build may not load any more.
    """
    command = (
        f'python -m pip install --force-reinstall "torch{release_spec}" '
        f"--index-url {TORCH_BUILDS}/{build}"
    )
    return Fix(
        action="install-build",
        why=why + note,
        applicability="unsafe",
        package="torch",
        spec=release_spec or None,
        index=build,
        command=command,
        verify=verify,
    )


def use(backend: str, why: str, *, verify: str | None = None) -> Fix:
    """Offer another quantization backend, by the contract's name for it."""
    return Fix(action="use", why=why, applicability="display-only", backend=backend, verify=verify)


def by_hand(action: Action, why: str, *, spec: str | None = None, verify: str | None = None) -> Fix:
    """Offer what only a person can do: hardware, the driver, the operating system."""
    return Fix(action=action, why=why, applicability="display-only", spec=spec, verify=verify)


def system_package(name: str, command: str | None, why: str, *, verify: str) -> Fix:
    """Offer a package of the operating system, by its name in Debian and Ubuntu."""
    return Fix(
        action="install-system",
        why=why,
        applicability="display-only",
        package=name,
        name=name,
        command=command,
        verify=verify,
    )


def unset(variable: str, why: str, *, verify: str) -> Fix:
    """Offer to remove an environment variable."""
    return Fix(
        action="unset-env", why=why, applicability="display-only", name=variable, verify=verify
    )


def listed(names: Sequence[str]) -> str:
    """Write names as a sentence does: ``a``, ``a and b``, ``a, b and c``."""
    if len(names) <= 1:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
