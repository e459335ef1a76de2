"""What moves when torch does: packages each release of which is made for one torch."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from qdoctor.released import fact, fits, parsed, requirement
from qdoctor.rules.remedies import listed
from qdoctor.rules.what_if import runs

if TYPE_CHECKING:
    from qdoctor.matrix import Matrix
    from qdoctor.rules.case import Case

_TORCH = "torch"
_CUDA = "cu"
_REQUIRES = ("requires_in_matrix", "requires_dist")


def following(case: Case, spec: str, index: str | None) -> list[str]:
    """Return the requirements to install along with a torch in ``spec`` of the build ``index``.

    Named exactly where one torch is; else pip finds those that fit it.
    """
    if not _moves(case, spec, index):
        return []
    rows = case.matrix.table("index_names")["rows"]
    there = [name for name, row in rows.items() if "follows" in row and _stated(case).get(name)]
    exact = spec.removeprefix("==") if spec.startswith("==") and "*" not in spec else None
    return [_made_for(case, name, exact) if exact else name for name in there]


def made_for(case: Case, name: str, torch: str) -> str | None:
    """Return the newest release of a package that requires just this torch; None for unknown."""
    return _made_for_just(case.matrix, name, torch)


@lru_cache(maxsize=512)
def _made_for_just(matrix: Matrix, name: str, torch: str) -> str | None:
    for one in reversed(matrix.versions(name)):
        on_torch = _on_torch(matrix, name, str(one))
        if any("==" in str(each) and each.contains(torch) for each in on_torch):
            return str(one)
    return None


def release_for(case: Case, name: str, torch: str) -> str | None:
    """Return the release of a package that goes with a torch: the installed one where it does."""
    own = parsed(_stated(case).get(name))
    if own is not None and case.matrix.matching(name, str(own)):
        on_torch = _on_torch(case.matrix, name, str(own))
        if on_torch and all(each.contains(torch) for each in on_torch):
            return own.public
    return made_for(case, name, torch)


def beside(case: Case, name: str, spec: str) -> str | None:
    """Narrow the releases of a package to those that leave the installed torch where it is.

    ``spec`` itself where that is not known, or they do; None where none of them does: pip would
    take another torch from the package index, without CUDA on Windows.
    """
    torch, own = parsed(case.machine.torch.value), _stated(case).get(name)
    return spec if torch is None else _narrowed(case.matrix, name, spec, torch.public, own)


@lru_cache(maxsize=1024)
def _narrowed(matrix: Matrix, name: str, spec: str, torch: str, own: str | None) -> str | None:
    inside = [one for one in matrix.versions(name) if SpecifierSet(spec).contains(one)]
    good = [_leaves(matrix, name, str(one), torch) for one in inside]
    if all(good):
        return spec
    found, installed = runs(inside, good), parsed(own)
    if not found or (installed is not None and found[-1].last <= installed < inside[-1]):
        return None
    above = found[-1].above
    return ",".join(part for part in (spec, f"<{above}" if above else "") if part)


def torch_with(case: Case, triton: str) -> str | None:
    """Return the newest run of torch releases that require a triton of a specifier set."""
    return _torch_with(case.matrix, triton)


@lru_cache(maxsize=256)
def _torch_with(matrix: Matrix, triton: str) -> str | None:
    known = [one for one in matrix.versions(_TORCH) if not one.is_prerelease]
    wanted = SpecifierSet(triton)
    tritons = [one for one in matrix.versions("triton") if wanted.contains(one)]
    pins = [fact(matrix, _TORCH, str(one), "triton_pin").value or "" for one in known]
    good = [pin != "" and any(SpecifierSet(pin).contains(one) for one in tritons) for pin in pins]
    found = runs(known, good)
    return found[-1].spec if found else None


def left_behind(case: Case, spec: str, index: str | None, said: str) -> str:
    """Name what is installed and made for one torch, unless it was ``said``; ``""`` for nothing."""
    if not _moves(case, spec, index):
        return ""
    rows = case.matrix.table("index_names")["rows"]
    tied = [name for name, row in rows.items() if "tied" in row and _stated(case).get(name)]
    named = [name for name in tied if name not in said]
    if not named:
        return ""
    return f"; {listed(named)} must go with the torch that comes"


def _made_for(case: Case, name: str, torch: str) -> str:
    version = made_for(case, name, torch)
    return f"{name}=={version}" if version else name


def _leaves(matrix: Matrix, name: str, version: str, torch: str) -> bool:
    """Say whether a release of a package can be installed and leaves a torch where it is."""
    return all(each.contains(torch, prereleases=True) for each in _on_torch(matrix, name, version))


@lru_cache(maxsize=4096)
def _on_torch(matrix: Matrix, name: str, version: str) -> tuple[SpecifierSet, ...]:
    """What a release requires of torch, but for what only its extras do."""
    kinds = (fact(matrix, name, version, key).value for key in _REQUIRES)
    lines: list[str] = next((lines for lines in kinds if lines), [])
    found = [one for line in lines if (one := requirement(line)) is not None]
    return tuple(one.specifier for one in found if canonicalize_name(one.name) == _TORCH)


def _moves(case: Case, spec: str, index: str | None) -> bool:
    """Say whether another torch than the installed one would come: its release or its build."""
    torch = case.machine.torch.value
    own = parsed(torch)
    if torch is None or own is None or not fits(case.matrix, _TORCH, torch, spec):
        return True
    cuda = case.machine.torch_cuda.value
    build = own.local or (_CUDA + cuda.replace(".", "") if cuda else None)
    return spec != f"=={own.public}" or (index is not None and index != build)


def _stated(case: Case) -> dict[str, str]:
    return {canonicalize_name(k): v for k, v in (case.machine.facts.packages or {}).items()}
