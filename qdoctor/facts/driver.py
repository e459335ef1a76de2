"""Puts the question to the driver: starts ``_ask_driver.py`` and decodes what it answers."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from qdoctor import process
from qdoctor.facts.visible import Device  # noqa: TC001 - msgspec reads the annotation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SCRIPT = Path(__file__).with_name("_ask_driver.py")
_SECONDS = 20.0  # waking eight GPUs without persistence mode takes several
_ANSWER_BYTES = 4 << 20


class Told(msgspec.Struct, frozen=True):
    """NVML's part of the answer; ``error`` where NVML is missing, broken or not permitted."""

    driver: str | None = None
    cuda: int | None = None
    devices: list[Device] = []
    error: str | None = None


class Asked(msgspec.Struct, frozen=True):
    """The driver's answer.

    ``cuda`` maps each libcuda asked to its version (12040); ``order`` is CUDA's own numbering by
    PCI address, asked for only where models are mixed.
    """

    nvml: Told
    cuda: dict[str, int | None] = {}
    order: list[str] | None = None


def ask_driver(
    environ: Mapping[str, str], libraries: Sequence[str], *, seconds: float = _SECONDS
) -> Asked:
    """Ask NVML and the named libcudas; whatever goes wrong is in ``Asked.nvml.error``."""
    try:
        return _ask(environ, libraries, seconds)
    except OSError as error:
        return Asked(Told(error=f"no temporary folder for the driver's answer: {error}"))


def _ask(environ: Mapping[str, str], libraries: Sequence[str], seconds: float) -> Asked:
    with tempfile.TemporaryDirectory(prefix="qdoctor-driver-") as folder:
        control = Path(folder)
        request = {"pynvml": _pynvml_folder(), "libcuda": list(libraries)}
        control.joinpath("request.json").write_bytes(msgspec.json.encode(request))
        ended = process.run(
            [sys.executable, "-I", "-S", "-B", str(_SCRIPT), folder],
            seconds=seconds,
            env=environ,
            watch_folder=control,
        )
        try:
            with control.joinpath("answer.json").open("rb") as file:
                return msgspec.json.decode(file.read(_ANSWER_BYTES), type=Asked)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            return Asked(Told(error=_why(ended, error)))


def _pynvml_folder() -> str:
    """Folder of the pynvml module that we would import; ``""`` without one."""
    spec = importlib.util.find_spec("pynvml")
    if spec is None or spec.origin is None:
        return ""
    origin = Path(spec.origin)
    return str(origin.parent.parent if origin.name == "__init__.py" else origin.parent)


def _why(ended: process.Ended, error: Exception) -> str:
    if ended.timed_out:
        return f"the driver did not answer within {ended.seconds:.0f} s"
    if ended.signal is not None:
        return f"asking the driver ended with signal {ended.signal}"
    said = ended.stderr.decode("utf-8", "replace").strip().splitlines()
    return ended.start_error or (said[-1][:300] if said else str(error))
