"""The packages that somebody plans to install, resolved as an installer would resolve them today.

Nothing is downloaded: the matrix says which releases there are, what each requires and where it has
wheels. Everything assumed on the way is said; what an installer would refuse is a ``Problem``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.markers import UndefinedEnvironmentName, default_environment

from qdoctor import brought_along, requirement_lines
from qdoctor.implied_packages import SOME_VERSION
from qdoctor.installer import Installer, Want
from qdoctor.layers.wheel_file import file_fits
from qdoctor.machine import complete
from qdoctor.model import BadInput, Because, Facts
from qdoctor.plan import Plan, Problem
from qdoctor.released import fact, parsed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packaging.requirements import Requirement

    from qdoctor.installer import Conflict
    from qdoctor.matrix import Matrix
    from qdoctor.requirement_lines import Asked

_PLATFORMS = {"linux": "linux", "windows": "win32", "macos": "darwin"}
_MOST_LINES = 3
_OF_CONDA = "conda built it there: pip list --format=freeze, in its environment, tells versions"
_BUILDS = "https://download.pytorch.org/whl"


def read(specs: Sequence[str], files: Sequence[str], facts: Facts, matrix: Matrix) -> Plan:
    """Resolve planned packages for the machine of ``facts`` (environment markers apply to it).

    Raises ``BadInput`` for what is no requirement, contradicts another one, or has no release.
    """
    plan = Plan()
    if not specs and not files:
        return plan
    lines = requirement_lines.read(specs, files)
    plan.assumptions += lines.remarks
    environment = _environment(facts)
    wanted = [one for one in lines.asked if _applies(one, environment, plan)]
    asked = [one for one in wanted if not one.bound]
    unread = _unread(asked, plan, matrix) | _unbounded(asked, lines.unfetched, plan, matrix)
    wants = _wants([one for one in asked if one.name not in unread], plan, matrix)
    bounds = [_want(one) for one in wanted if one.bound and matrix.versions(one.name)]
    installer = Installer(
        complete(facts, matrix),
        matrix,
        environment,
        facts.packages or {},
        _build(wanted, lines.build),
        files={one.name: one.told for one in asked if one.told is not None and one.told.version},
        unread=frozenset(unread),
        bounds=bounds,
    )
    direct = {want.name for want in wants}
    _resolve(plan, [*wants, *(one for one in bounds if one.name in direct)], installer)
    plan.problems += [
        Problem(name, fits.reason, fits.because)
        for name, told in installer.files.items()
        if name in plan.unjudged and told.tags
        for fits in [file_fits(installer.machine, f"the wheel of {name} {told.version}", told.tags)]
        if fits.value == "no"
    ]
    if facts.packages is not None and not any(facts.packages.values()) and not plan.unjudged:
        plan.absent += _forgotten(plan, installer)
    brought_along.add(plan, facts.packages or {}, installer)
    return plan


def _environment(facts: Facts) -> dict[str, str]:
    """Marker values of the examined machine; its unknown ones are taken from this one."""
    values = {key: str(value) for key, value in default_environment().items()}
    if facts.python is not None and facts.python.version:
        values["python_full_version"] = facts.python.version
        values["python_version"] = ".".join(facts.python.version.split(".")[:2])
    host = facts.host
    if host is not None and host.os in _PLATFORMS:
        values["sys_platform"] = _PLATFORMS[host.os]
        values["platform_system"] = {"macos": "Darwin"}.get(host.os, host.os.capitalize())
        values["os_name"] = "nt" if host.os == "windows" else "posix"
    if host is not None and host.machine:
        values["platform_machine"] = host.machine
    return values


def _applies(asked: Asked, environment: Mapping[str, str], plan: Plan) -> bool:
    marker = asked.requirement.marker
    try:
        applies = marker is None or marker.evaluate({**environment, "extra": ""})
    except UndefinedEnvironmentName as error:
        raise BadInput(f"{asked.origin}: its marker cannot be evaluated: {error}") from error
    if not applies:
        plan.assumptions.append(f"{asked.origin}: not for this machine (marker {marker})")
    return applies


def _build(wanted: Sequence[Asked], from_index: str | None) -> str | None:
    """Return torch's build tag: of the pin (``torch==2.9.1+cu126``), else of an index option."""
    for one in wanted:
        exact = _pinned(one.requirement) or ""
        if one.name == "torch" and "+" in exact:
            return exact.partition("+")[2]
    return from_index


def _unread(asked: Sequence[Asked], plan: Plan, matrix: Matrix) -> set[str]:
    """Plan in an unknown version what is known, but comes from where none is told."""
    found = set()
    for one in asked:
        if one.told is None or one.told.version or not matrix.versions(one.name):
            continue
        example = f"{one.name}=={one.told.release or 'VERSION'}"
        how = f" ({_OF_CONDA})" if one.told.conda else ""
        plan.packages[one.name] = SOME_VERSION
        plan.doubts.append(
            f"{one.origin}: which {one.name} that is cannot be told without opening it; "
            f"write {example} to have it judged{how}"
        )
        found.add(one.name)
    return found


def _unbounded(
    asked: Sequence[Asked], unfetched: Sequence[str], plan: Plan, matrix: Matrix
) -> set[str]:
    """Plan in an unknown version what constraints decide that are not here."""
    if not unfetched:
        return set()
    where = ", ".join(unfetched)
    found = {
        one.name
        for one in asked
        if matrix.versions(one.name) and one.told is None and _pinned(one.requirement) is None
    }
    if not found:
        plan.assumptions.append(f"{where}: not fetched, and taken to allow what is pinned")
        return found
    plan.packages.update(dict.fromkeys(sorted(found), SOME_VERSION))
    plan.doubts.append(
        f"{where}: constraints are not fetched, and which {', '.join(sorted(found))} they allow is "
        "not known; download them, and name the file"
    )
    return found


def _wants(asked: Sequence[Asked], plan: Plan, matrix: Matrix) -> list[Want]:
    """Turn what was asked for into wants; what the matrix does not hold is planned as it is."""
    wants, strangers = [], []
    for one in asked:
        if one.requirement.extras:
            extras = ", ".join(sorted(one.requirement.extras))
            plan.assumptions.append(
                f"{one.origin}: what its extras ({extras}) bring is not looked at"
            )
        if not matrix.versions(one.name):
            strangers.append(one)
            continue
        wants.append(_want(one))
        if one.told is not None:
            kind = "archive or folder" if one.told.sources else "wheel"
            plan.assumptions.append(
                f"{one.origin}: judged as {one.name} {wants[-1].exact}, by the name of the {kind}"
            )
    _plan_strangers(strangers, plan)
    return wants


def _want(one: Asked) -> Want:
    return Want(one.name, one.requirement.specifier, one.origin, _pinned(one.requirement))


def _plan_strangers(strangers: Sequence[Asked], plan: Plan) -> None:
    """Plan what the matrix does not hold; where that is much, say it in one line."""
    said = []
    for one in strangers:
        if one.told is not None and one.told.guessed:
            plan.assumptions.append(f"{one.origin}: {requirement_lines.NOTHING_TOLD}")
            continue
        exact = _pinned(one.requirement) or SOME_VERSION
        _refuse_twice(plan, one.name, exact, one.origin)
        if plan.packages.get(one.name, SOME_VERSION) == SOME_VERSION:
            plan.packages[one.name] = exact
        if one.name not in plan.unjudged:
            plan.unjudged.append(one.name)
        open_ = "its version stays unknown and " if exact == SOME_VERSION else ""
        said.append(
            f"{one.origin}: the matrix knows no release of {one.name}; {open_}it is not judged"
        )
    if len(said) > _MOST_LINES:
        said = [f"the matrix knows no release of {', '.join(plan.unjudged)}: they are not judged"]
    plan.assumptions += said


def _refuse_twice(plan: Plan, name: str, version: str, origin: str) -> None:
    earlier = plan.packages.get(name, version)
    if earlier != version and SOME_VERSION not in {earlier, version}:
        raise BadInput(f"{origin}: {name} is planned twice, as {earlier} and as {version}")


def _pinned(requirement: Requirement) -> str | None:
    """The version of an exact pin, as PEP 440 writes it; None for anything looser."""
    specifiers = list(requirement.specifier)
    if len(specifiers) != 1 or specifiers[0].operator not in {"==", "==="}:
        return None
    version = specifiers[0].version
    own = parsed(version)
    return None if version.endswith(".*") else str(own or version)


def _resolve(plan: Plan, wants: Sequence[Want], installer: Installer) -> None:
    names = list(dict.fromkeys(want.name for want in wants))
    for name in names:
        _has_release(name, [want for want in wants if want.name == name], installer)
    plan.problems += [
        problem for name in names if (problem := _without_wheel(name, wants, installer))
    ]
    resolved = installer.resolve(wants) if not plan.problems else None
    if resolved is None or resolved.versions is None:
        if resolved is not None and resolved.given_up:
            plan.doubts.append("too many releases would have to be tried to resolve this plan")
        elif resolved is not None and resolved.conflict is not None:
            plan.problems.append(_contradiction(resolved.conflict, installer))
        _as_asked(plan, names, wants, installer)
        return
    for name, version in resolved.versions.items():
        asked = next((want for want in wants if want.name == name), None)
        _take(plan, name, version, asked or resolved.brought[name], installer)


def _has_release(name: str, wants: Sequence[Want], installer: Installer) -> None:
    """Refuse what no release can be: the matrix would otherwise judge something else."""
    if installer.fitting(name, wants):
        return
    exact = {want.exact for want in wants if want.exact}
    if len(exact) > 1:
        raise BadInput(
            f"{wants[-1].who}: {name} is planned twice, as {' and as '.join(sorted(exact))}"
        )
    known = installer.matrix.versions(name)
    asked = ", ".join(want.who for want in wants)
    raise BadInput(
        f"{asked}: no release of {name} that the matrix knows fits: it knows {known[0]} to "
        f"{known[-1]}. Pin an exact version (NAME==VERSION) to have a newer one judged"
    )


def _without_wheel(name: str, wants: Sequence[Want], installer: Installer) -> Problem | None:
    """Say why no release that was asked for has a wheel here; None where one may have."""
    fitting = installer.fitting(name, [want for want in wants if want.name == name])
    answers = [installer.wheel(name, version) for version in fitting]
    if any(answer.value != "no" for answer in answers):
        return None
    every = [str(one) for one in installer.matrix.versions(name)]
    there = [one for one in every if installer.loads(name, one)]
    pinned = parsed(fitting[0])
    above = [one for one in there if pinned and (own := parsed(one)) and own > pinned]
    nearest = above[0] if above else there[-1] if there else None
    first = answers[0]
    spec = f"=={nearest}" if nearest else None
    why = f"the nearest {name} with a wheel there"
    if installer.file(name, fitting[0]) and installer.on_index(name, fitting[0]).value == "yes":
        spec, why = f"=={fitting[0]}", "of this release there is a wheel that fits"
    return Problem(name, first.reason, first.because, spec, why)


def _contradiction(conflict: Conflict, installer: Installer) -> Problem:
    """Say what stands against each other: requirements, or one of them and the wheels there are."""
    text = ", but ".join(dict.fromkeys(str(want) for want in conflict.wants))
    fitting = installer.fitting(conflict.name, conflict.wants)
    if fitting:
        text += f", but {installer.wheel(conflict.name, fitting[0]).reason}"
    because = tuple(
        Because(str(want), f"METADATA of {want.who}", "mined")
        for want in conflict.wants
        if want.by is not None
    )
    required = {str(want.spec): want.who for want in conflict.wants if want.by is not None}
    if fitting or len(required) != 1:
        return Problem(conflict.name, text, because)
    ((spec, who),) = required.items()
    return Problem(conflict.name, text, because, spec, f"{who} requires this one")


def _as_asked(
    plan: Plan, names: Sequence[str], wants: Sequence[Want], installer: Installer
) -> None:
    """Plan what was asked for all the same, so that it can be said how it would behave."""
    plan.assumptions.append("what would not install is judged below as if it were forced in")
    for name in names:
        fitting = installer.fitting(name, [want for want in wants if want.name == name])
        usable = [one for one in fitting if installer.wheel(name, one).value != "no"]
        plan.packages[name] = installer.tagged(name, (usable or fitting)[0])


def _take(plan: Plan, name: str, version: str, want: Want, installer: Installer) -> None:
    kept = installer.installed.get(name) == version
    if want.by is not None and (kept or _not_stated(name, want, installer)):
        return
    if kept:
        plan.packages[name] = version
        plan.kept.append(name)
        if want.exact is None:
            plan.assumptions.append(f"{want.who}: {name} {version} is installed and fits: it stays")
        return
    tagged = want.exact is not None and "+" in want.exact
    plan.packages[name] = (want.exact if tagged else None) or installer.tagged(name, version)
    wheel = installer.wheel(name, plan.packages[name])
    if wheel.value == "unknown":
        plan.doubts.append(wheel.reason)
    _say(plan, name, want, installer)


def _forgotten(plan: Plan, installer: Installer) -> list[str]:
    """Name what planned releases import but nothing planned requires, in an empty environment.

    Only of releases all of whose requirements the matrix holds: others may bring it along. What
    torch and triton require beyond it (sympy, networkx, jinja2 ...) brings no such package.
    """
    missing: list[str] = []
    for name, version in plan.packages.items():
        modules = fact(installer.matrix, name, version, "import_needs_modules").value or []
        if not modules or not installer.all_held(name, version):
            continue
        brought = {one for each, own in plan.packages.items() for one in installer.names(each, own)}
        missing += [one.replace("_", "-") for one in modules]
        missing = [one for one in missing if one not in brought | set(plan.packages)]
    return missing


def _not_stated(name: str, want: Want, installer: Installer) -> bool:
    """Say whether it stays open if a requirement is met already, and by which release."""
    return name not in installer.installed and not str(want.spec).startswith("==")


def _say(plan: Plan, name: str, want: Want, installer: Installer) -> None:
    version = plan.packages[name]
    if want.by is not None:
        pinned = str(want.spec).startswith("==")
        which = "which it pins" if pinned else "the newest known release that fits"
        plan.assumptions.append(f"{want.who} brings {name} {version}, {which}")
    elif want.exact is None:
        plan.assumptions.append(
            f"{want.who}: taken as {name} {version}, the newest known release that fits here"
        )
    if name == "torch" and "+" in version and not installer.file(name, version):
        tag = version.partition("+")[2]
        plan.assumptions.append(f"torch's build {tag} comes from the index {_BUILDS}/{tag}")
