"""What an interpreter might have told of itself, as far as a test cares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.facts.interpreter import PythonPlaces, Reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from qdoctor.facts.interpreter import Distribution


def reading(
    path: Iterable[Path],
    *distributions: Distribution,
    folders: Mapping[str, str] | None = None,
    python: str = "/usr/bin/python3",
) -> Reading:
    """Python 3.11 on Linux that searches these folders and knows these distributions."""
    return Reading(
        python=PythonPlaces("3.11.7", python, "/usr", "/usr", headers=False),
        c_compiler=False,
        libc="glibc 2.36",
        packages={},
        packages_found=[],
        requires={},
        torch_cuda=None,
        torch_arch_list=None,
        folders=dict(folders or {}),
        distributions=list(distributions),
        path=[str(one) for one in path],
        unread={},
    )
