"""Makes the command of a fix one that leaves the packages beside it working.

A rule names the release that cures; here its command learns what pip would not heed: that the
index holds another project under a name, which build of torch this machine needs, what follows
torch, which release is to be installed anew, and what cannot be built apart from torch.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from qdoctor.pip_command import Request, name_of, read
from qdoctor.released import parsed
from qdoctor.rules.case import Case
from qdoctor.rules.following import beside, following, left_behind, torch_with
from qdoctor.rules.remedies import TORCH_BUILDS
from qdoctor.rules.torch_builds import built_elsewhere, tag_here
from qdoctor.rules.torch_index import Place, place
from qdoctor.rules.triton_releases import WINDOWS, of_windows, pinned
from qdoctor.rules.wheels_here import none_here
from qdoctor.unobtainable import no_wheel_here, row_of, unobtainable

if TYPE_CHECKING:
    from packaging.version import Version

    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix
    from qdoctor.model import Fix

_TORCH, _TRITON = "torch", "triton"
_PYTHON = "use-python"
_OF_LINUX = re.compile(r"(?:sudo|apt-get) ")
_VARIABLE = re.compile(r"\w+=")
_EXACT = re.compile(r"==\d+\.\d+\.\d+$")
_BESIDE_TORCH = "--no-build-isolation"
_BROUGHT = "python -m pip uninstall -y triton && python -m pip install torch"
"""torch stays, and pip brings back the one triton that it requires."""


def fitted(fix: Fix, machine: Machine, matrix: Matrix) -> Fix:
    """Return the fix with a command that fits this machine; without one where none does."""
    if fix.command is None or not _has_such_a_shell(fix.command, machine):
        return fix if fix.command is None else _without(fix)
    request = read(fix.command)
    if request is None or request.verb != "install" or not request.wanted:
        return fix
    return _heeding(fix, request, Case(machine, (), matrix))


def possible_first(fixes: list[Fix], machine: Machine, matrix: Matrix) -> list[Fix]:
    """Fit the fixes, and move those to the end of which no release has a wheel for this machine.

    With them goes another Python, which they would need: the two are one way.
    """
    told = Case(machine, (), matrix)
    done = [(fitted(one, machine, matrix), one) for one in fixes]
    nowhere = [_is_nowhere(new, old, told) for new, old in done]
    behind = [
        lost or (any(nowhere) and new.action == _PYTHON)
        for lost, (new, _) in zip(nowhere, done, strict=True)
    ]
    order = sorted(range(len(done)), key=behind.__getitem__)
    return [done[at][0] for at in order]


def _is_nowhere(new: Fix, old: Fix, case: Case) -> bool:
    request = read(old.command) if old.command and new.command is None else None
    installs = request is not None and request.verb == "install" and bool(request.wanted)
    return installs and request is not None and bool(no_wheel_here(request, case))


def _heeding(fix: Fix, request: Request, case: Case) -> Fix:
    row, asked = row_of(case, request.wanted[0]), request
    if fix.package == _TRITON and name_of(request.wanted[0]) == _TORCH:
        return _of_unknown(fix, _TRITON, row, case)
    if request.anew and request.wanted == (name_of(request.wanted[0]),):
        now = _as_it_is(case, canonicalize_name(request.wanted[0]))
        if now is None and "built" not in row and _is_tied(case, request.wanted[0]):
            return _of_unknown(fix, request.wanted[0], row, case)
        if now is not None:
            request = msgspec.structs.replace(request, wanted=(f"{request.wanted[0]}=={now}",))
            fix = msgspec.structs.replace(fix, spec=f"=={now}")
    if held := unobtainable(request, case):
        return _without(fix, held)
    request = _over_a_build(request, case)
    if "built" in row and _BESIDE_TORCH not in request.rest:
        request = msgspec.structs.replace(request, rest=(*request.rest, _BESIDE_TORCH))
    if name_of(request.wanted[0]) == _TRITON and not request.alone:
        return _of_triton(fix, request, case)
    if name_of(request.wanted[0]) == _TORCH:
        return _of_torch(fix, request, case)
    fix, request = _beside_torch(fix, request, case)
    return fix if request is asked or fix.command is None else _with(fix, request)


def _beside_torch(fix: Fix, request: Request, case: Case) -> tuple[Fix, Request]:
    """Take the newest release that leaves the installed torch where it is."""
    name = name_of(request.wanted[0])
    spec = request.wanted[0].removeprefix(name)
    if request.alone or not case.matrix.versions(canonicalize_name(name)):
        return fix, request
    narrowed = beside(case, canonicalize_name(name), spec)
    if narrowed is None:
        return _without(fix, f"it requires another torch than {case.machine.torch.value}"), request
    if narrowed == spec:
        return fix, request
    fix = msgspec.structs.replace(fix, spec=narrowed)
    return fix, msgspec.structs.replace(request, wanted=(f"{name}{narrowed}",))


def _of_unknown(fix: Fix, name: str, row: dict[str, Any], case: Case) -> Fix:
    """Take no release by chance that goes with one torch only: pip would take the newest one."""
    if "other" in row:
        return _without(fix, f"the index has {row['other']} under this name; {row['instead']}")
    if name == _TRITON and case.machine.os.value in {None, "linux"}:
        return msgspec.structs.replace(fix, command=_BROUGHT)
    return _without(fix, f"the release that is there now, as `python -m pip show {name}` tells")


def _over_a_build(request: Request, case: Case) -> Request:
    """Replace a build of one's own (``3.4.0+git1234``), which pip takes for the release."""
    name = name_of(request.wanted[0])
    own = parsed(_stated(case).get(canonicalize_name(name)))
    if own is None or not own.local or name == _TORCH or request.anew:
        return request
    same = request.wanted[0] == f"{name}=={own.public}"
    return msgspec.structs.replace(request, anew=True, alone=True) if same else request


def _has_such_a_shell(command: str, machine: Machine) -> bool:
    """Say whether a command of Linux, or with a variable before it, is one here too."""
    if machine.os.value == "windows" and _VARIABLE.match(command):
        return False
    return machine.os.value in {None, "linux"} or not _OF_LINUX.match(command)


def _as_it_is(case: Case, name: str) -> str | None:
    """Return the release that is installed, or has to be beside this torch; None for unknown."""
    version = parsed(_stated(case).get(name))
    if version is not None:
        own = version.is_devrelease or (name == _TORCH and built_elsewhere(str(version)))
        return None if own else version.public
    pin = pinned(case.machine.triton_pin.value)
    if pin is None or name not in {_TRITON, WINDOWS}:
        return None
    return str(pin) if name == _TRITON else of_windows(pin).removeprefix("==")


def _is_tied(case: Case, name: str) -> bool:
    """Say whether a release of a package goes with one torch only."""
    row = row_of(case, name)
    return name in {_TORCH, _TRITON, WINDOWS} or "follows" in row or "tied" in row


def _of_torch(fix: Fix, request: Request, case: Case) -> Fix:
    """Take torch from where this machine's build is, and what follows it along."""
    spec = request.wanted[0].removeprefix(_TORCH)
    where = Place(fix.index) if request.index else place(case, spec)
    if where.elsewhere:
        return _without(fix, where.elsewhere)
    if where.index and not request.index:
        request = msgspec.structs.replace(request, index=f"{TORCH_BUILDS}/{where.index}")
        fix = msgspec.structs.replace(fix, index=where.index)
    if request.alone:
        return _with(fix, request)
    along = following(case, spec, where.index)
    request = _by_its_build((*request.wanted, *along), request, where.index, case)
    behind = left_behind(case, spec, where.index, fix.why)
    return _with(msgspec.structs.replace(fix, why=fix.why + behind), request)


def _by_its_build(
    wanted: tuple[str, ...], request: Request, index: str | None, case: Case
) -> Request:
    """Name the build where each release is named: then pip need not renew all that they require.

    With ``--force-reinstall`` it takes the newest numpy, too. Only wheels for x86_64 of an index of
    builds say which build they are.
    """
    spec, own = wanted[0].removeprefix(_TORCH), parsed(case.machine.torch.value)
    named = all(_EXACT.search(one) for one in wanted)
    if request.anew and own and not SpecifierSet(spec).contains(own.public, prereleases=True):
        return msgspec.structs.replace(request, wanted=wanted, anew=False)
    if not (request.anew and named and index and own) or index == tag_here(case):
        return msgspec.structs.replace(request, wanted=wanted)
    if case.machine.arch.value in {"aarch64", "arm64"}:
        return msgspec.structs.replace(request, wanted=wanted)
    built = tuple(f"{one}+{index}" for one in wanted)
    return msgspec.structs.replace(request, wanted=built, anew=False)


def _of_triton(fix: Fix, request: Request, case: Case) -> Fix:
    """Keep to the one triton that torch requires; where another is to come, move torch with it."""
    spec = request.wanted[0].removeprefix(_TRITON)
    pin = case.machine.triton_pin.value
    if case.machine.os.value not in {None, "linux"} or not (pin or _moves_torch(fix, case)):
        return fix
    if pin and (both := SpecifierSet(spec) & SpecifierSet(pin)) and _tritons(case, str(both)):
        return _with(fix, msgspec.structs.replace(request, wanted=(f"{_TRITON}{pin}",)))
    torch = torch_with(case, spec)
    if torch is None:
        return _without(fix, "no release of torch requires such a triton") if pin else fix
    if held := none_here(case, _TORCH, torch):
        return _without(fix, held)
    moved = _of_torch(fix, msgspec.structs.replace(request, wanted=(f"{_TORCH}{torch}",)), case)
    along = moved.command and read(moved.command)
    if not along:
        return moved
    return _with(moved, msgspec.structs.replace(along, wanted=(*request.wanted, *along.wanted)))


def _moves_torch(fix: Fix, case: Case) -> bool:
    """Say whether an unknown torch is to be moved: where its rule calls it unsafe to leave it."""
    return fix.applicability == "unsafe" and case.machine.torch.value is None


def _tritons(case: Case, spec: str) -> list[Version]:
    return [one for one in case.matrix.versions(_TRITON) if SpecifierSet(spec).contains(one)]


def _stated(case: Case) -> dict[str, str]:
    return {canonicalize_name(k): v for k, v in (case.machine.facts.packages or {}).items()}


def _with(fix: Fix, request: Request) -> Fix:
    return msgspec.structs.replace(fix, command=request.command)


def _without(fix: Fix, why: str = "") -> Fix:
    """Leave it to the reader, and say why no command does it."""
    said = f"{fix.why}; {why}" if why and why not in fix.why else fix.why
    return msgspec.structs.replace(fix, why=said, command=None, applicability="display-only")
