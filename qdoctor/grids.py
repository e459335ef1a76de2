"""Grids of what the matrix says: one row a statement, every one asked of a layer or a release.

Pure: a matrix in, plain rows out. What a cell says is not stored anywhere; it is derived by the
same layers that judge a machine, so that a grid and a check never disagree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from qdoctor import released
from qdoctor.layers import bnb_has_switchback, bnb_imports, switchback_triton_names_resolve
from qdoctor.machine import complete
from qdoctor.model import BadInput, Facts, Gpu, Host, to_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qdoctor.layers import Answer, Layer
    from qdoctor.matrix import Matrix, Release

_BNB, _TRITON, _TORCH = "bitsandbytes", "triton", "torch"
_GPU = Gpu(index=0, vendor="nvidia")
_PLATFORM = "linux_x86_64"

Row = dict[str, Any]


class Grid(msgspec.Struct, frozen=True):
    """One grid: ``keys`` say which statement a row is, the other keys of a row what it states."""

    name: str
    title: str
    keys: tuple[str, ...]
    rows: tuple[Row, ...]


def build(name: str, matrix: Matrix, *, evidence: bool = False) -> Grid:
    """Build one of ``NAMES``; with ``evidence`` each row says where it comes from.

    Raises ``BadInput`` for another name.
    """
    if name not in _GRIDS:
        raise BadInput(f"there is no grid {name!r}; there are: {', '.join(NAMES)}")
    title, keys, rows = _GRIDS[name]
    return Grid(name, title, keys, tuple(rows(matrix, evidence)))


def _switchback(matrix: Matrix, evidence: bool) -> Iterator[Row]:  # noqa: FBT001 - see build
    """Ask, on Linux with a GPU: does it import beside that triton, and find all its names there?"""
    layers = (bnb_has_switchback, bnb_imports, switchback_triton_names_resolve)
    return _beside(matrix, layers, [_GPU], evidence=evidence)


def _imports(matrix: Matrix, evidence: bool) -> Iterator[Row]:  # noqa: FBT001 - see build
    """Ask, on Linux without a GPU: can it be imported beside that triton?"""
    return _beside(matrix, (bnb_imports,), [], evidence=evidence)


def _beside(
    matrix: Matrix, layers: tuple[Layer, ...], gpus: list[Gpu], *, evidence: bool
) -> Iterator[Row]:
    """Ask ``layers`` of every bitsandbytes beside every triton: the first that is not a yes.

    Asked triton by triton, whose names are looked up over and over; told bitsandbytes first.
    """
    tritons, releases = ([str(one) for one in matrix.versions(name)] for name in (_TRITON, _BNB))
    found = {
        (bnb, triton): _pair(matrix, {_BNB: bnb, _TRITON: triton}, layers, gpus, evidence=evidence)
        for triton in tritons
        for bnb in releases
    }
    return (found[bnb, triton] for bnb in releases for triton in tritons)


def _pair(
    matrix: Matrix,
    packages: dict[str, str],
    layers: tuple[Layer, ...],
    gpus: list[Gpu],
    *,
    evidence: bool,
) -> Row:
    facts = Facts(host=Host(os="linux", machine="x86_64"), packages=packages, gpus=gpus)
    machine = complete(facts, matrix)
    answer = _worst(layer(machine, matrix) for layer in layers)
    row = {"answer": answer.value, "rule": answer.rule, "reason": answer.reason}
    because = {"evidence": [to_plain(one) for one in answer.because]} if evidence else {}
    return {**packages, **row, **because}


def _worst(answers: Iterator[Answer]) -> Answer:
    """Return the first answer that is not a yes, else the last."""
    for answer in answers:
        if answer.value != "yes":
            return answer
    return answer


def _libraries(matrix: Matrix, evidence: bool) -> Iterator[Row]:  # noqa: FBT001 - see build
    """List the CUDA libraries of every bitsandbytes for Linux x86_64, with the SMs they hold."""
    for found in _releases(matrix, _BNB):
        places = found.evidence.get("native", [])
        for number, library in enumerate(found.facts.get("native", ())):
            if library["platform"] != _PLATFORM or library["cuda"] is None:
                continue
            yield {
                _BNB: found.version,
                "cuda": library["cuda"],
                "cublaslt": library.get("cublaslt", True),
                "sm": library["sm"],
                "ptx": library["ptx"],
                "glibc": library["glibc"],
                **({"evidence": places[number : number + 1]} if evidence else {}),
            }


def _torches(matrix: Matrix, evidence: bool) -> Iterator[Row]:  # noqa: FBT001 - see build
    """List every torch's builds: the default Linux wheel first, then the documented others."""
    for found in _releases(matrix, _TORCH):
        facts, keys = found.facts, ("triton_pin", "cuda", "sm")
        base = {_TORCH: found.version, "triton": facts.get("triton_pin")}
        yield {
            **base,
            "build": _tag(facts.get("cuda")),
            "default": True,
            "sm": facts.get("sm"),
            "strength": "mined",
            **({"evidence": _places(found, keys)} if evidence else {}),
        }
        for tag, build in sorted(facts.get("builds", {}).items()):
            yield {
                **base,
                "build": tag,
                "default": False,
                "sm": build.get("sm"),
                "strength": build.get("strength"),
                **({"evidence": _places(found, ("builds",))} if evidence else {}),
            }


def _tag(cuda: str | None) -> str | None:
    """Return a CUDA version as PyTorch tags its builds: ``cu128``; ``cpu`` for none."""
    return cuda if cuda is None else f"cu{cuda.replace('.', '')}" if cuda else "cpu"


def _releases(matrix: Matrix, package: str) -> Iterator[Release]:
    for version in map(str, matrix.versions(package)):
        found = released.release(matrix, package, version)
        if found is not None:
            yield found


def _places(found: Release, keys: tuple[str, ...]) -> list[dict[str, Any]]:
    return [place for key in keys for place in found.evidence.get(key, ())]


_GRIDS: dict[str, tuple[str, tuple[str, ...], Callable[[Matrix, bool], Iterator[Row]]]] = {
    "switchback": (
        "bitsandbytes x triton: does SwitchBack find what it needs (Linux, with a GPU)?",
        (_BNB, _TRITON),
        _switchback,
    ),
    "import": (
        "bitsandbytes x triton: can it be imported without a GPU (Linux)?",
        (_BNB, _TRITON),
        _imports,
    ),
    "bitsandbytes": (
        "bitsandbytes x CUDA x SM: what the libraries for Linux x86_64 hold",
        (_BNB, "cuda", "cublaslt"),
        _libraries,
    ),
    "torch": ("torch: triton, CUDA builds and their SMs", (_TORCH, "build"), _torches),
}
NAMES = tuple(_GRIDS)
"""The grids there are."""
