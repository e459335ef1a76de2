"""Machines for the layers' tests: one healthy one, changed where a test asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from qdoctor.machine import complete
from qdoctor.matrix import shipped
from qdoctor.model import Facts, from_plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdoctor.layers import Answer, Layer

HEALTHY: dict[str, Any] = {
    "host": {"os": "linux", "machine": "x86_64", "libc": "glibc 2.35", "c_compiler": True},
    "python": {"version": "3.11.7", "headers": True},
    "packages": {"torch": "2.1.2", "triton": "2.1.0", "bitsandbytes": "0.42.0"},
    "driver": {"version": "535.104.05"},
    "gpus": [{"index": 0, "name": "NVIDIA A100-SXM4-80GB"}],
}


def facts_with(**changes: Any) -> Facts:  # noqa: ANN401 - any key of the facts
    """Return the healthy machine's facts; packages are changed one by one, other keys replaced."""
    packages = {**HEALTHY["packages"], **changes.pop("packages", {})}
    plain = {**HEALTHY, "packages": {k: v for k, v in packages.items() if v is not None}, **changes}
    return from_plain({k: v for k, v in plain.items() if v is not None}, Facts, "test")


@pytest.fixture
def ask() -> Callable[..., Answer]:
    """Ask a layer about the healthy machine, changed."""

    def asked(layer: Layer, **changes: Any) -> Answer:  # noqa: ANN401 - any key of the facts
        matrix = shipped()
        return layer(complete(facts_with(**changes), matrix), matrix)

    return asked
