"""What programs print, and people ask, on machines on which everything fits: ``outputs.txt``.

Each text stands under a line ``@@ what it is``; names in angle brackets are filled in from the
machine that it is shown beside, and what people state of that machine is drawn at random.
"""

# ruff: noqa: S311 - nothing secret hangs on these numbers

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from packaging.version import Version

from qdoctor.model import Facts, Host
from tests.generated.machines import MATRIX, parts_of_machines, written

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.generated.machines import Parts

_NAME = re.compile(r"<(\w+)>")
_STATED = ("host", "python", "packages", "torch_cuda", "torch_arch_list", "driver", "gpus", "env")

_WINDOWS = 0.15
_BARE = 0.5
_NAMED = 0.7
_OF_WINDOWS = Version("0.43.0")
"""The first bitsandbytes with libraries for Windows."""


class Shown(msgspec.Struct, frozen=True):
    """A text beside what is stated of the healthy machine that it comes from."""

    what: str
    text: str
    facts: Facts


def outputs() -> dict[str, str]:
    """Return what each text is -> the text, with the names of what differs."""
    whole = (Path(__file__).parent / "outputs.txt").read_text(encoding="utf-8")
    parts = [part.partition("\n") for part in re.split(r"^@@ ", whole, flags=re.MULTILINE)[1:]]
    return {what: text.rstrip("\n") for what, _, text in parts}


def shown(each: int, seed: int = 0) -> Iterator[Shown]:
    """Yield every text beside ``each`` machines of which something, little or nothing is stated."""
    rng = random.Random(seed)
    for what, text in outputs().items():
        for parts in parts_of_machines(each, rng):
            yield Shown(what, _filled(text, parts), stated_of(written(parts), rng))


def stated_of(facts: Facts, rng: random.Random) -> Facts:
    """Leave out of a machine's facts what its owner may not state; of torch mostly the build."""
    facts = _on_windows(facts) if rng.random() < _WINDOWS else facts
    facts = _without_build(facts) if rng.random() < _BARE else facts
    left = {key: None for key in _STATED if rng.random() < rng.choice((0.0, 0.5, 0.9))}
    kept = msgspec.structs.replace(facts, **left)
    packages = {
        name: version for name, version in (kept.packages or {}).items() if rng.random() < _NAMED
    }
    if rng.random() < _BARE:  # the system alone, as in a title
        kept = msgspec.structs.replace(kept, host=Host(os=(facts.host or Host()).os))
    return msgspec.structs.replace(kept, packages=packages or None)


def _without_build(facts: Facts) -> Facts:
    """Name torch by its release alone: which build it is, nobody says."""
    packages = dict(facts.packages or {})
    packages["torch"] = Version(packages["torch"]).public
    return msgspec.structs.replace(facts, packages=packages, torch_cuda=None, torch_arch_list=None)


def _on_windows(facts: Facts) -> Facts:
    """Move a machine to Windows, where there is no triton, and no old bitsandbytes."""
    packages = {"torch": (facts.packages or {})["torch"]}
    bitsandbytes = (facts.packages or {}).get("bitsandbytes")
    if bitsandbytes and Version(bitsandbytes) >= _OF_WINDOWS:
        packages["bitsandbytes"] = bitsandbytes
    host = Host("windows", "AMD64", wsl=False)
    return msgspec.structs.replace(facts, host=host, packages=packages)


def _filled(text: str, parts: Parts) -> str:
    said = {
        "torch": parts.torch,
        "triton": parts.triton,
        "bitsandbytes": parts.bitsandbytes or "not installed",
        "cuda": parts.cuda,
        "cu": parts.cuda.replace(".", ""),
        "cuda_comma": parts.cuda.replace(".", ", "),
        "sm": parts.gpu["sm"],
        "sm_comma": parts.gpu["sm"].replace(".", ", "),
        "gpu": parts.gpu["name"],
        "driver": f"{parts.branch}.95.05",
        "driver_cuda": MATRIX.table("drivers")["rows"][str(parts.branch)]["cuda"],
    }
    return _NAME.sub(lambda name: said.get(name[1], name[0]), text)
