"""Random machines on which everything fits, made of released parts.

What fits what is decided here from the mined facts alone, by simpler and stricter tests than the
layers make, so that generator and doctor can disagree. Same seed, same machines.
"""

# ruff: noqa: S311 - nothing secret hangs on these numbers

from __future__ import annotations

import random
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from qdoctor.matrix import shipped
from qdoctor.model import Driver, Facts, Gpu, Host, Python

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MATRIX = shipped()
_LIBCS = ("2.31", "2.34", "2.35", "2.36", "2.39")
_PYTHONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13")
_OLDEST_SM = (7, 0)
"""Triton makes no promise for older GPUs, and torch's compiler refuses them."""


class Parts(msgspec.Struct, frozen=True):
    """The parts of one machine, before they are written down as facts."""

    torch: str
    cuda: str
    triton: str
    python: str
    libc: str
    gpu: dict[str, Any]
    branch: int
    bitsandbytes: str = ""


def healthy(count: int, seed: int = 0) -> list[Facts]:
    """Return machines on which everything fits."""
    return [written(parts) for parts in parts_of_machines(count, random.Random(seed))]


def written(parts: Parts) -> Facts:
    """Write the parts down as ``qdoctor facts`` would."""
    branch = MATRIX.table("drivers")["rows"][str(parts.branch)]
    packages = {"torch": parts.torch, "triton": parts.triton, "bitsandbytes": parts.bitsandbytes}
    return Facts(
        host=Host("linux", "x86_64", f"glibc {parts.libc}", wsl=False, c_compiler=True),
        python=Python(f"{parts.python}.7", headers=True),
        packages=packages,
        torch_cuda=parts.cuda,
        torch_arch_list=sms_of(parts.torch, parts.cuda),
        driver=Driver(f"{parts.branch}.95.05", branch["cuda"]),
        gpus=[Gpu(index=0, name=parts.gpu["name"], sm=parts.gpu["sm"], vendor="nvidia")],
        env={},
    )


def parts_of_machines(count: int, rng: random.Random) -> Iterator[Parts]:
    torches = [(release, cuda) for release in _torches() for cuda in _builds(release)]
    made = 0
    while made < count:
        release, cuda = rng.choice(torches)
        parts = _around(release, cuda, rng)
        if parts is not None:
            made += 1
            yield parts


def _around(release: str, cuda: str, rng: random.Random) -> Parts | None:
    """Choose everything else so that it fits this build of torch."""
    pin = SpecifierSet(facts_of("torch", release)["triton_pin"])
    triton = next(pin.filter(str(one) for one in MATRIX.versions("triton")), None)
    if triton is None:
        return None
    gpus = [gpu for gpu in known_gpus() if serves(sms_of(release, cuda), gpu["sm"])]
    gpus = [gpu for gpu in gpus if compiles(triton, gpu["sm"])]
    pythons = [one for one in _PYTHONS if has_wheel("torch", release, one)]
    pythons = [one for one in pythons if has_wheel("triton", triton, one)]
    libcs = [one for one in _LIBCS if _libc_at_least(one, release, triton)]
    if not (gpus and pythons and libcs):
        return None
    sm = rng.choice(sorted({one["sm"] for one in gpus}))  # else nearly all would be recent GeForces
    gpu = rng.choice([one for one in gpus if one["sm"] == sm])
    branches = [one for one in branches_for(cuda) if drives(one, gpu["sm"])]
    if not branches:
        return None
    parts = Parts(
        f"{release}+cu{cuda.replace('.', '')}"
        if cuda != facts_of("torch", release)["cuda"]
        else release,
        cuda,
        triton,
        rng.choice(pythons),
        rng.choice(libcs),
        gpu,
        rng.choice(branches),
    )
    fitting = ["", *fitting_bitsandbytes(parts)]
    return msgspec.structs.replace(parts, bitsandbytes=rng.choice(fitting))


def fitting_bitsandbytes(parts: Parts) -> list[str]:
    """Return the releases that fit a machine without any doubt."""
    return [
        str(one)
        for one in MATRIX.versions("bitsandbytes")
        if not one.is_prerelease and _fits(str(one), parts)
    ]


def _fits(release: str, parts: Parts) -> bool:
    facts = facts_of("bitsandbytes", release)
    library = library_for(release, parts.cuda)
    if library is None or release in known_bad():
        return False
    torch = Version(parts.torch).public
    return (
        serves(library["sm"], parts.gpu["sm"])
        and newer(parts.libc, library["glibc"] or "2.0")
        and _runs_on(facts["requires_python"], parts.python)
        and all(_allows(line, torch) for line in facts["requires_dist"])
        and all(
            _has_name(parts.triton, name)
            for name in facts["import_needs"]
            if name.startswith("triton")
        )
    )


@lru_cache(None)
def _runs_on(spec: str, python: str) -> bool:
    return SpecifierSet(spec).contains(f"{python}.7")


@lru_cache(None)
def _allows(line: str, torch: str) -> bool:
    wanted = Requirement(line)
    return wanted.name != "torch" or bool(wanted.marker) or wanted.specifier.contains(torch)


@lru_cache(None)
def _has_name(triton: str, name: str) -> bool:
    return MATRIX.has("triton", triton, name) == "yes"


def library_for(release: str, cuda: str) -> dict[str, Any] | None:
    """Return the library of a bitsandbytes release for exactly one CUDA version, on Linux."""
    for one in facts_of("bitsandbytes", release)["native"]:
        if (
            one["platform"] == "linux_x86_64"
            and one["cuda"] == cuda
            and "nocublaslt" not in one["file"]
        ):
            return dict(one)
    return None


@lru_cache(None)
def facts_of(package: str, release: str) -> dict[str, Any]:
    found = MATRIX.release(package, release)
    assert found is not None
    return found.facts


@lru_cache
def _torches() -> tuple[str, ...]:
    known = [str(one) for one in MATRIX.versions("torch") if not one.is_prerelease]
    return tuple(one for one in known if facts_of("torch", one).get("triton_pin"))


def _builds(release: str) -> list[str]:
    facts = facts_of("torch", release)
    others = [f"{tag[2:-1]}.{tag[-1]}" for tag in facts.get("builds", {}) if tag.startswith("cu")]
    return [facts["cuda"], *others]


def sms_of(torch: str, cuda: str) -> list[str]:
    facts = facts_of("torch", Version(torch).public)
    if cuda == facts["cuda"]:
        return list(facts["sm"])
    build = facts["builds"]["cu" + cuda.replace(".", "")]
    return list(build["sm"] if "linux_x86_64" in build["platforms"] else ())


@lru_cache
def known_gpus() -> tuple[dict[str, Any], ...]:
    rows = MATRIX.table("gpus")["rows"]
    return tuple(
        row
        for row in rows
        if row["kind"] in {"geforce", "datacenter", "workstation"}
        and numbers(row["sm"]) >= _OLDEST_SM
        and "GB10" not in row["name"]  # comes with an ARM processor
        and row.get("tensor_cores") is not False
        and len(MATRIX.gpus_named(row["name"])) == 1
    )


def serves(sms: Iterable[str], sm: str) -> bool:
    """Machine code runs on its own major from its own minor on (CUDA binary compatibility)."""
    major, minor = numbers(sm)
    listed = [numbers(f"{one[3:-1]}.{one[-1]}") for one in sms if one[3:].isdigit()]
    return any(one == major and of <= minor for one, of in listed)


def compiles(triton: str, sm: str) -> bool:
    kinds = facts_of("triton", triton)["compiles"]
    return all(kinds[kind].get(sm) == "yes" for kind in ("libdevice_call",))


def has_wheel(package: str, release: str, python: str) -> bool:
    return "cp" + python.replace(".", "") in facts_of(package, release)["pythons"]


def _libc_at_least(libc: str, torch: str, triton: str) -> bool:
    floors = [facts_of("torch", torch).get("glibc"), facts_of("triton", triton).get("glibc")]
    return all(newer(libc, one) for one in floors if one)


@lru_cache
def branches_for(cuda: str) -> tuple[int, ...]:
    """Driver branches that serve a CUDA version fully."""
    rows = MATRIX.table("drivers")["rows"]
    return tuple(int(one) for one in rows if numbers(rows[one]["cuda"]) >= numbers(cuda))


def drives(branch: int, sm: str) -> bool:
    """Say whether a branch serves a GPU: not dropped yet, and of a CUDA that knows its SM."""
    table = MATRIX.table("drivers")
    last = table["last_branch"].get(sm)
    return last is None or branch <= int(last["branch"])


@lru_cache
def known_bad() -> frozenset[str]:
    rows = MATRIX.table("known_bad")["rows"]
    specs = [
        SpecifierSet(row["spec"])
        for row in rows
        if row["package"] == "bitsandbytes" and row["kind"] in {"library-missing", "withdrawn"}
    ]
    known = [str(one) for one in MATRIX.versions("bitsandbytes")]
    return frozenset(one for one in known if any(spec.contains(one) for spec in specs))


def newer(version: str, floor: str) -> bool:
    return numbers(version) >= numbers(floor)


@lru_cache(None)
def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
