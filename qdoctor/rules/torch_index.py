"""Another release of torch, from the index that has the installed one's kind of build."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet

from qdoctor.layers import driver_serves_torch
from qdoctor.model import Fix
from qdoctor.released import parsed
from qdoctor.rules.remedies import TORCH_BUILDS
from qdoctor.rules.torch_builds import tags_of
from qdoctor.rules.what_if import with_package

if TYPE_CHECKING:
    from qdoctor.model import Action
    from qdoctor.rules.case import Case

_KIND = re.compile(r"(cu)\d{2,3}|cpu")


def moved_torch(case: Case, action: Action, spec: str, why: str, *, verify: str) -> Fix:
    """Offer a newer or older torch of the same kind: for CUDA on Windows, or without CUDA.

    Unsafe: torch pins triton, and what was compiled against it may not load any more.
    """
    kind = _kind(case)
    index = _index(case, kind, spec)
    where = f" --index-url {TORCH_BUILDS}/{index}" if index else ""
    other_kind = kind is not None and _KIND.fullmatch(kind) is None
    return Fix(
        action=action,
        why=f"{why}; from where the installed build {kind} is from" if other_kind else why,
        applicability="unsafe",
        package="torch",
        spec=spec,
        index=index,
        command=None if other_kind else f'python -m pip install "torch{spec}"{where}',
        verify=verify,
    )


def _kind(case: Case) -> str | None:
    """Return the tag of the installed build; None where the package index's own will do."""
    version = parsed(case.machine.torch.value)
    if version is not None and version.local:
        return version.local
    cuda = case.machine.torch_cuda.value
    if case.machine.os.value == "windows" and cuda:
        return "cu" + cuda.replace(".", "")
    return None


def _index(case: Case, kind: str | None, spec: str) -> str | None:
    """Return the same build of a release in ``spec``, else the nearest one that the driver serves.

    None where there is none, or it is not needed.
    """
    if kind is None or not (known := _KIND.fullmatch(kind)):
        return None
    if not known[1]:
        return kind
    inside = SpecifierSet(spec)
    having = {
        tag: str(one)
        for one in case.matrix.versions("torch")
        if inside.contains(one)
        for tag in tags_of(case, str(one))
    }
    own = _number(kind)
    nearest = sorted(having, key=lambda tag: (abs(_number(tag) - own), _number(tag)))
    return next((tag for tag in nearest if _is_served(case, f"{having[tag]}+{tag}")), None)


def _is_served(case: Case, torch: str) -> bool:
    machine = with_package(case.machine, case.matrix, "torch", torch)
    return driver_serves_torch(machine, case.matrix).value != "no"


def _number(tag: str) -> int:
    return int(tag.removeprefix("cu"))
