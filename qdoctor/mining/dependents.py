"""Packages that require torch, triton or bitsandbytes: what their releases ask for, nothing else.

There are hundreds of such releases, so those of one package lie in one file, and only what they
require of the matrix's own packages is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from qdoctor.mining.every_wheel import default_wheel, say_metadata, say_platforms
from qdoctor.mining.wheel import open_wheel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdoctor.mining.http import Transport
    from qdoctor.mining.index import WheelFile
    from qdoctor.mining.shard import Shard

PACKAGES = (
    "accelerate",
    "diffusers",
    "flash-attn",
    "gptqmodel",
    "hqq",
    "open-clip-torch",
    "optimum",
    "optimum-quanto",
    "peft",
    "torchaudio",
    "torchvision",
    "transformers",
    "triton-windows",
    "vllm",
    "xformers",
)
SINCE = "2023-11"
"""Releases uploaded before are left out: they ask for torch 2.1 or older, by ranges."""
SINCE_OTHERWISE = {"torchaudio": "2022-10", "torchvision": "2022-10"}
"""Packages each release of which goes with one torch: from that of the first torch known on."""
_OF_MATRIX = frozenset({*PACKAGES, "bitsandbytes", "torch", "torchao", "triton"})


def since(package: str) -> str:
    """Return the first day whose uploads of a package are read."""
    return SINCE_OTHERWISE.get(package, SINCE)


def read(shard: Shard, files: Sequence[WheelFile], transport: Transport) -> None:
    """State what one release asks for, read from one wheel's METADATA."""
    with open_wheel(_representative(files), transport) as wheel:
        say_metadata(shard, wheel)
    place = shard.evidence.pop("requires_dist")
    kept = list(filter(_of_matrix, shard.facts.pop("requires_dist")))
    shard.say("requires_in_matrix", kept, *place)
    say_platforms(shard, files)


def _representative(files: Sequence[WheelFile]) -> WheelFile:
    """Choose the wheel for Linux x86_64; where there is none (triton-windows), the last by name."""
    here = [file for file in files if any("win" not in tag for tag in file.platforms)]
    return default_wheel(here) if here else max(files, key=lambda file: file.name)


def _of_matrix(line: str) -> bool:
    try:
        return canonicalize_name(Requirement(line).name) in _OF_MATRIX
    except InvalidRequirement:
        return True  # said as it stands: whoever reads it must see that it cannot be understood
