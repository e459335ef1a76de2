"""What a required backend lacks: a package that is not installed and would make it work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qdoctor import doctor, local_data
from qdoctor.model import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdoctor.question import Question

_PACKAGES = {
    "torch_installed": "torch",
    "bnb_installed": "bitsandbytes",
    "torchao_installed": "torchao",
    "triton_installed": "triton",
}
"""By the layer of ``matrix/tables/backends.json`` that asks for it."""


def to_install(
    name: str, packages: Mapping[str, str] | None, question: Question, environ: Mapping[str, str]
) -> str:
    """Return the command that installs what a backend lacks on a machine; ``""`` where none helps.

    ``packages`` are the machine's by name, ``""`` being absent. Each is judged as it would be
    installed today: a release without the backend, or hardware that it cannot use, is no fix.
    """
    if question.facts_file == "-":  # read once, by the examination
        return ""
    row = local_data.current(environ).table("backends")["rows"][name]
    layers = dict.fromkeys([*(row["layers"] or ()), *(row["cpu_layers"] or ())])
    needed = [_PACKAGES[layer] for layer in layers if layer in _PACKAGES]
    absent = [one for one in needed if (packages or {}).get(one) == ""]
    helping = (one for one in absent if _helps(name, one, question, environ))
    return next((f"python -m pip install {one}" for one in helping), "")


def _helps(name: str, package: str, question: Question, environ: Mapping[str, str]) -> bool:
    planned = msgspec.structs.replace(question, specs=(package,), need=(name,), probe="none")
    try:
        report = doctor.examine(planned, environ=environ)
    except BadInput:  # the machine is known too little for a plan
        return False
    return all(one.usable == "yes" for one in report.verdicts if one.backend == name)
