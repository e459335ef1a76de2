"""Random machines with one fault planted in what fitted before."""

# ruff: noqa: S311 - nothing secret hangs on these numbers

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from qdoctor.model import Driver, Facts, Host, Python
from tests.generated.machines import (
    MATRIX,
    Parts,
    branches_for,
    compiles,
    drives,
    facts_of,
    fitting_bitsandbytes,
    has_wheel,
    known_bad,
    known_gpus,
    library_for,
    newer,
    numbers,
    parts_of_machines,
    serves,
    sms_of,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class Planted(msgspec.Struct, frozen=True):
    """A machine with one fault: ``rules`` are the names that are right for it, best first."""

    fault: str
    facts: Facts
    rules: tuple[str, ...]
    need: tuple[str, ...] = ()


def planted(count: int, seed: int = 0) -> list[Planted]:
    """Return machines with one fault each, of all kinds in turn."""
    rng = random.Random(seed)
    found: list[Planted] = []
    while len(found) < count:
        fault = FAULTS[len(found) % len(FAULTS)]
        for parts in parts_of_machines(5000, rng):
            made = fault(parts, rng)
            if made is not None:
                found.append(made)
                break
        else:
            raise AssertionError(f"no machine for {fault.__name__}")
    return found


# Each fault: a healthy machine's parts -> the machine with it, or None where it cannot have it.


def _with(
    fault: str, facts: Facts, *rules: str, need: tuple[str, ...] = (), **changed: object
) -> Planted:
    return Planted(fault, msgspec.structs.replace(facts, **changed), rules, need)


def _packages(facts: Facts, **versions: str) -> dict[str, str]:
    return {**(facts.packages or {}), **versions}


def broken_pin(parts: Parts, rng: random.Random) -> Planted | None:
    """Another triton than the one that torch pins, without anything else that cares."""
    pin = SpecifierSet(facts_of("torch", Version(parts.torch).public)["triton_pin"])
    others = [str(one) for one in MATRIX.versions("triton") if str(one) not in pin]
    others = [
        one
        for one in others
        if has_wheel("triton", one, parts.python) and compiles(one, parts.gpu["sm"])
    ]
    if parts.bitsandbytes or not others:
        return None
    facts = written(parts)
    return _with(
        "broken_pin",
        facts,
        "triton-pin-mismatch",
        packages=_packages(facts, triton=rng.choice(others)),
    )


def lowered_driver(parts: Parts, rng: random.Random) -> Planted | None:
    """A driver below the minimum of torch's CUDA major."""
    floor = int(MATRIX.table("cuda")["rows"][parts.cuda]["minimum_linux"].split(".")[0])
    rows = MATRIX.table("drivers")["rows"]
    older = [int(one) for one in rows if 450 <= int(one) < floor]
    if not older:
        return None
    branch = rng.choice(older)
    facts = written(parts)
    driver = Driver(f"{branch}.57.02", rows[str(branch)]["cuda"])
    return _with("lowered_driver", facts, "driver-too-old", driver=driver)


def unsupported_sm(parts: Parts, rng: random.Random) -> Planted | None:
    """A GPU for which this torch holds no code, under a driver that knows both."""
    sms = sms_of(parts.torch, parts.cuda)
    strangers = [gpu for gpu in known_gpus() if not serves(sms, gpu["sm"])]
    if not strangers:
        return None
    gpu = rng.choice(strangers)
    branch = 580 if drives(580, gpu["sm"]) and 580 in branches_for(parts.cuda) else None
    if branch is None:
        return None
    facts = written(msgspec.structs.replace(parts, gpu=gpu, branch=branch))
    return _with("unsupported_sm", facts, "torch-no-sm-binary")


def wrong_cuda_binary(parts: Parts, rng: random.Random) -> Planted | None:
    """A bitsandbytes without a library for torch's CUDA version."""
    known = [str(one) for one in MATRIX.versions("bitsandbytes") if not one.is_prerelease]
    lacking = [
        one
        for one in known
        if one not in known_bad()
        and _chooses_exactly(one)
        and MATRIX.has("bitsandbytes", one, "bitsandbytes.nn.LinearNF4") == "yes"
        and _lacks_only_the_library(one, parts)
    ]
    if not lacking:
        return None
    facts = written(parts)
    packages = _packages(facts, bitsandbytes=rng.choice(lacking))
    return _with(
        "wrong_cuda_binary", facts, "bnb-cuda-binary-missing", need=("bnb-nf4",), packages=packages
    )


def _chooses_exactly(release: str) -> bool:
    """Say whether a release takes the library of torch's CUDA version and no other."""
    rows = MATRIX.table("bnb_binaries")["rows"]
    return any(row["choice"] == "exact" and release in SpecifierSet(row["spec"]) for row in rows)


def _lacks_only_the_library(release: str, parts: Parts) -> bool:
    facts = facts_of("bitsandbytes", release)
    torch = [Requirement(line) for line in facts["requires_dist"]]
    return (
        not [
            one
            for one in facts["native"]
            if one["platform"] == "linux_x86_64" and one["cuda"] == parts.cuda
        ]
        and SpecifierSet(facts["requires_python"]).contains(f"{parts.python}.7")
        and all(
            one.specifier.contains(Version(parts.torch).public)
            for one in torch
            if one.name == "torch" and not one.marker
        )
        and all(
            MATRIX.has("triton", parts.triton, name) == "yes"
            for name in facts["import_needs"]
            if name.startswith("triton")
        )
    )


def lowered_libc(parts: Parts, rng: random.Random) -> Planted | None:
    """A glibc older than what torch's own libraries ask for."""
    floor = numbers(facts_of("torch", Version(parts.torch).public).get("glibc") or "0.0")
    older = [one for one in ("2.12", "2.17", "2.23", "2.24") if numbers(one) < floor]
    if not older:
        return None
    facts = written(parts)
    host = msgspec.structs.replace(facts.host or Host(), libc=f"glibc {rng.choice(older)}")
    return _with("lowered_libc", facts, "glibc-too-old", host=host)


def broken_import(parts: Parts, rng: random.Random) -> Planted | None:
    """A bitsandbytes whose import needs ``triton.ops``, beside a triton that has none."""
    if MATRIX.has("triton", parts.triton, "triton.ops") != "no":
        return None
    known = [str(one) for one in MATRIX.versions("bitsandbytes") if not one.is_prerelease]
    old = [
        one
        for one in known
        if (library := library_for(one, parts.cuda))
        and newer(parts.libc, library["glibc"] or "2.0")
        and serves(library["sm"], parts.gpu["sm"])
        and one not in known_bad()
        and any(
            name.startswith("triton.ops") for name in facts_of("bitsandbytes", one)["import_needs"]
        )
    ]
    if not old:
        return None
    facts = written(parts)
    packages = _packages(facts, bitsandbytes=rng.choice(old))
    return _with("broken_import", facts, "triton-ops-removed", need=("bnb-nf4",), packages=packages)


def dropped_gpu(parts: Parts, rng: random.Random) -> Planted | None:
    """A driver of a branch that no longer serves this GPU."""
    last = MATRIX.table("drivers")["last_branch"].get(parts.gpu["sm"])
    if last is None:
        return None
    rows = MATRIX.table("drivers")["rows"]
    newer = [one for one in rows if int(one) > int(last["branch"])]
    branch = rng.choice(newer)
    driver = Driver(f"{branch}.44.01", rows[branch]["cuda"])
    return _with("dropped_gpu", written(parts), "driver-dropped-gpu", driver=driver)


def wrong_override(parts: Parts, rng: random.Random) -> Planted | None:
    """BNB_CUDA_VERSION names a library that the release does not have."""
    if not parts.bitsandbytes:
        return None
    has = {one["cuda"] for one in facts_of("bitsandbytes", parts.bitsandbytes)["native"]}
    absent = [one for one in ("10.2", "11.2", "11.9", "12.7", "13.9") if one not in has]
    named = rng.choice(absent).replace(".", "")
    return _with(
        "wrong_override",
        written(parts),
        "bnb-override-wrong",
        need=("bnb-nf4",),
        env={"BNB_CUDA_VERSION": named},
    )


def cpu_build(parts: Parts, rng: random.Random) -> Planted | None:  # noqa: ARG001
    """A CPU build of torch on a machine with a GPU."""
    facts = written(parts)
    packages = _packages(facts, torch=f"{Version(parts.torch).public}+cpu")
    return _with(
        "cpu_build",
        facts,
        "torch-cpu-only",
        need=("gpu",),
        packages=packages,
        torch_cuda="",
        torch_arch_list=[],
    )


def no_headers(parts: Parts, rng: random.Random) -> Planted | None:  # noqa: ARG001
    """Python's headers are not installed, and Triton compiles with them."""
    if not _has_int8_cores(parts):
        return None
    facts = written(parts)
    python = msgspec.structs.replace(facts.python or Python(), headers=False)
    return _with(
        "no_headers", facts, "python-headers-missing", need=("qdoctor-switchback",), python=python
    )


def no_compiler(parts: Parts, rng: random.Random) -> Planted | None:  # noqa: ARG001
    """There is no C compiler, and Triton calls one."""
    if not _has_int8_cores(parts):
        return None
    facts = written(parts)
    host = msgspec.structs.replace(facts.host or Host(), c_compiler=False)
    return _with("no_compiler", facts, "no-c-compiler", need=("qdoctor-switchback",), host=host)


def _has_int8_cores(parts: Parts) -> bool:
    return bool(MATRIX.table("sm")["rows"][parts.gpu["sm"]]["int8_mma"])


def hopper_int8(parts: Parts, rng: random.Random) -> Planted | None:
    """LLM.int8 of a release whose memory layouts Hopper does not know."""
    if parts.gpu["sm"] != "9.0" or not parts.bitsandbytes:
        return None
    legacy = [
        one
        for one in fitting_bitsandbytes(parts)
        if facts_of("bitsandbytes", one).get("int8_layouts")
    ]
    if not legacy:
        return None
    facts = written(parts)
    packages = _packages(facts, bitsandbytes=rng.choice(legacy))
    return _with(
        "hopper_int8", facts, "bnb-hopper-int8-unsupported", need=("bnb-int8",), packages=packages
    )


def no_int8_cores(parts: Parts, rng: random.Random) -> Planted | None:  # noqa: ARG001
    """LLM.int8 on a GPU without int8 tensor cores, of a release that calls them."""
    legacy = (
        facts_of("bitsandbytes", parts.bitsandbytes).get("int8_layouts")
        if parts.bitsandbytes
        else None
    )
    if parts.gpu["sm"] != "7.0" or not legacy:
        return None
    return _with("no_int8_cores", written(parts), "sm-lacks-int8-tensor-cores", need=("bnb-int8",))


def no_gpu(parts: Parts, rng: random.Random) -> Planted | None:  # noqa: ARG001
    """No GPU at all where one is needed."""
    facts = written(parts)
    return _with("no_gpu", facts, "no-cuda-gpu", need=("gpu",), gpus=[], driver=Driver(""))


FAULTS: tuple[Callable[[Parts, random.Random], Planted | None], ...] = (
    broken_pin,
    lowered_driver,
    unsupported_sm,
    wrong_cuda_binary,
    lowered_libc,
    broken_import,
    dropped_gpu,
    wrong_override,
    cpu_build,
    no_headers,
    no_compiler,
    hopper_int8,
    no_int8_cores,
    no_gpu,
)
