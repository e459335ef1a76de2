"""What one examination is asked: every option in one frozen value, checked before work starts."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Literal

import msgspec

from qdoctor.model import BadInput, Driver, Gpu

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from qdoctor.matrix import Matrix

BACKENDS = (
    *("half", "bnb-int8", "bnb-nf4", "bnb-fp4", "bnb-switchback"),
    *("qdoctor-switchback", "torch-fp8", "torchao-int8"),
    *("torchao-fp8", "torchao-int4", "torchao-mxfp4", "torchao-nvfp4"),
)
PROBING = ("none", "quick", "full")
_DRIVER = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){0,3}")


class Question(msgspec.Struct, frozen=True):
    """All options of an examination; the defaults examine the interpreter found by itself."""

    python: str | None = None
    facts_file: str | None = None
    specs: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    gpu: str | None = None
    driver: str | None = None
    need: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    probe: Literal["none", "quick", "full"] = "full"
    error: str | None = None
    fail_on: Literal["error", "warning", "never"] = "error"
    bare: bool = False
    python_version: str | None = None
    platform: str | None = None
    budget: float | None = None
    """Seconds for all probes together; None: each has only its own limit."""

    @property
    def plans(self) -> bool:
        """Whether it is about anything but what is installed on this machine."""
        named = self.python_version is not None or self.platform is not None
        return bool(self.specs or self.requirements or self.bare or named)


def known_name(name: str, known: Collection[str], what: str) -> str:
    """Return ``name`` if it is known. Raises ``BadInput`` with the nearest names otherwise."""
    if isinstance(name, str) and name in known:
        return name
    near = difflib.get_close_matches(str(name).lower(), known, n=4, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(sorted(known))}"
    raise BadInput(f"no {what} is called {name!r}; {hint}")


def check_names(
    question: Question, rules: Collection[str], probes: Callable[[], Collection[str]]
) -> None:
    """Raise ``BadInput`` for a need or an ignored rule that does not exist.

    ``probes`` is asked only where a need is neither a backend nor ``gpu``: it reads the kernels.
    """
    for need in question.need:
        if need not in (*BACKENDS, "gpu"):
            known_name(need, [*BACKENDS, "gpu", *probes()], "backend, probe or 'gpu'")
    for rule in question.ignore:
        known_name(rule, rules, "rule")
    if question.python is not None and question.facts_file is not None:
        raise BadInput("--python and --facts name two different machines: give one of them")


def named_gpu(text: str, matrix: Matrix) -> Gpu:
    """Return the GPU that ``--gpu`` names, as number 0. Raises ``BadInput`` for none or several."""
    candidates = matrix.parse_gpu(text)
    if len({gpu.sm for gpu in candidates}) > 1:
        models = ", ".join(
            f"{gpu.name} (sm_{(gpu.sm or '').replace('.', '')})" for gpu in candidates
        )
        raise BadInput(f"{text!r} fits several GPUs: {models}; name one of them, or its SM")
    first = candidates[0]
    name = first.name if len(candidates) == 1 else text
    memory = first.memory_mib if len(candidates) == 1 else None
    return Gpu(index=0, name=name, sm=first.sm, memory_mib=memory, vendor="nvidia")


def named_driver(question: Question, matrix: Matrix) -> tuple[Driver | None, list[str]]:
    """Return the driver to judge with (None: the machine's own) and what that assumes."""
    if question.driver is not None:
        if not _DRIVER.fullmatch(question.driver):
            raise BadInput(f"--driver {question.driver!r} is no driver version such as 535.104.05")
        return Driver(version=question.driver), _said_of(question.driver, matrix)
    if question.gpu is None:
        return None, []
    newest = _newest_cuda(matrix)
    said = f"a driver new enough for any known CUDA (up to {newest}): --gpu came without --driver"
    return Driver(cuda=newest), [said]


def _said_of(driver: str, matrix: Matrix) -> list[str]:
    """Say what a driver newer than all known ones is taken for. Raises ``BadInput`` for too old."""
    branches = sorted(map(int, matrix.table("drivers")["rows"]))
    own, known = int(driver.partition(".")[0]), f"{branches[0]} to {branches[-1]}"
    if own < branches[0]:
        toolkit = matrix.table("cuda")["rows"].get(driver)
        hint = f"; CUDA {driver} came with driver {toolkit['driver_linux']}" if toolkit else ""
        raise BadInput(f"--driver {driver!r} is no driver that the matrix knows ({known}){hint}")
    if own <= branches[-1]:
        return []
    newer = f"newer than any that the matrix knows ({known})"
    return [f"driver {driver} serves what the newest known one does: it is {newer}"]


def _newest_cuda(matrix: Matrix) -> str:
    toolkits: Sequence[str] = list(matrix.table("cuda")["rows"])
    return max(toolkits, key=lambda text: [int(part) for part in text.split(".")])
