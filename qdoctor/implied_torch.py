"""What the stated torch implies: the CUDA version it is built for and the SMs it holds code for."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from qdoctor import released
from qdoctor.implied_packages import Contradiction, stated
from qdoctor.model import Because, Facts, Host
from qdoctor.released import Known, unknown

if TYPE_CHECKING:
    from qdoctor.matrix import Matrix

_BUILD = re.compile(r"cu(\d+)(\d)(?:\.|$)")
_NO_CUDA = re.compile(r"(?:cpu|rocm|hip|xpu)")


def torch_cuda(
    facts: Facts, matrix: Matrix, system: Known[str], disagreed: list[Contradiction]
) -> Known[str]:
    """Return the CUDA version that torch was built for: as stated, by its build tag, by default."""
    version = stated(facts, "torch")
    if version.value == "":
        return Known("", version.because)
    read = _stated_cuda(facts)
    tagged = _tagged_cuda(version.value or "")
    if read is None:
        return tagged or _default_cuda(facts, matrix, version, system)
    if tagged and tagged.because and read.because and tagged.value != read.value:
        disagreed.append(Contradiction("torch_cuda", read.because, tagged.because))
    return read


def torch_sm(
    facts: Facts, matrix: Matrix, cuda: Known[str], disagreed: list[Contradiction]
) -> Known[list[str]]:
    """Return the SMs that torch holds machine code or PTX for, as ``sm_80``, ``compute_80``."""
    mined = _released_sm(facts, matrix, cuda)
    if facts.torch_arch_list is None:
        return _inspected_sm(facts) or mined
    text = f"this torch holds {', '.join(facts.torch_arch_list) or 'no CUDA code'}"
    read = Because(text, "facts: torch_arch_list", "inspected")
    differs = mined.value is not None and set(mined.value) != set(facts.torch_arch_list)
    if mined.because and differs:
        disagreed.append(Contradiction("torch_sm", read, mined.because))
    return Known(facts.torch_arch_list, read)


def _inspected_sm(facts: Facts) -> Known[list[str]] | None:
    """Take the GPU code that was read from torch's libraries, the one that holds most of it."""
    read = [one for one in facts.native or () if one.package == "torch" and (one.sm or one.ptx)]
    if not read:
        return None
    most = max(read, key=lambda one: len(one.sm or ()))
    held = [*(most.sm or ()), *(f"compute_{one.rpartition('_')[2]}" for one in most.ptx or ())]
    text = f"this torch's {most.file} holds {', '.join(held)}"
    return Known(held, Because(text, "facts: native", "inspected"))


def _stated_cuda(facts: Facts) -> Known[str] | None:
    if facts.torch_cuda is None:
        return None
    text = (
        f"torch is built for CUDA {facts.torch_cuda}"
        if facts.torch_cuda
        else "torch is a CPU build"
    )
    return Known(facts.torch_cuda, Because(text, "facts: torch_cuda", "inspected"))


@lru_cache(maxsize=512)
def _tagged_cuda(version: str) -> Known[str] | None:
    tag = version.partition("+")[2]
    build = _BUILD.match(tag)
    if not build and not _NO_CUDA.match(tag):
        return None
    cuda = f"{build[1]}.{build[2]}" if build else ""
    text = f"torch {version} is a build " + (f"for CUDA {cuda}" if cuda else "without CUDA")
    return Known(cuda, Because(text, "facts: packages.torch", "inspected"))


def _default_cuda(
    facts: Facts, matrix: Matrix, torch: Known[str], system: Known[str]
) -> Known[str]:
    """Take the CUDA version of the wheel that the package index serves by default."""
    if torch.value is None or system.value is None:
        return unknown(f"torch's CUDA version is not known: {torch.reason or system.reason}")
    if "+" in torch.value:
        return unknown(f"what CUDA version the build torch {torch.value} has is not known")
    if (nightly := released.parsed(torch.value)) and nightly.is_devrelease:
        return unknown(f"torch {torch.value} is a nightly build, of an index for each CUDA version")
    row = _default_row(facts, matrix, torch.value, system.value)
    if row is None:
        where = " ".join(filter(None, [system.value, (facts.host or Host()).machine]))
        return unknown(f"which build torch {torch.value} is on {where} is not known")
    if not row["cuda"] and _holds_gpu_code(facts):
        return unknown(f"torch {torch.value} holds GPU code: {row['text']}, which this is not")
    return _cuda_of(row, matrix, torch.value)


def _cuda_of(row: dict[str, Any], matrix: Matrix, torch: str) -> Known[str]:
    if row["cuda"] == "as-released":
        return released.fact(matrix, "torch", torch, "cuda")
    return Known(row["cuda"], released.cited(matrix.table("torch_defaults"), row, row["text"]))


def _default_row(facts: Facts, matrix: Matrix, torch: str, system: str) -> dict[str, Any] | None:
    """Return what the index serves for this system and processor; None where it is not known."""
    table = matrix.table("torch_defaults")
    machine = (facts.host or Host()).machine or table["usual_machine"]
    rows = [one for one in table["rows"] if one["os"] == system]
    concerned = [one for one in rows if one["machine"] in ("*", machine)]
    return released.row_for(matrix, concerned, "torch", torch)


def _holds_gpu_code(facts: Facts) -> bool:
    """Say whether code for GPUs was read from torch: then it is no build for the CPU."""
    return bool(facts.torch_arch_list) or _inspected_sm(facts) is not None


def _released_sm(facts: Facts, matrix: Matrix, cuda: Known[str]) -> Known[list[str]]:
    version = stated(facts, "torch")
    if version.value == "" or cuda.value == "":
        return Known([], cuda.because or version.because)
    if version.value is None or cuda.value is None:
        return unknown(f"torch's SMs are not known: {version.reason or cuda.reason}")
    default = released.fact(matrix, "torch", version.value, "cuda").value
    if default == cuda.value and (facts.host or Host()).machine in (None, "x86_64"):
        return released.fact(matrix, "torch", version.value, "sm")
    builds = released.fact(matrix, "torch", version.value, "builds")
    build = (builds.value or {}).get("cu" + cuda.value.replace(".", ""))
    if not build or build.get("sm") is None:
        return unknown(f"the SMs of torch {version.value} for CUDA {cuda.value} are not known")
    return Known(list(build["sm"]), builds.because)
