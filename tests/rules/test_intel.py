"""Whether a machine's GPUs are Intel's, by vendor or by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdoctor.model import Finding

TEXT = "AssertionError: Torch not compiled with CUDA enabled"


@pytest.mark.parametrize(
    ("gpu", "intel"),
    [
        ({"name": "Intel Arc A750"}, True),
        ({"name": "Arc B580", "vendor": "intel"}, True),
        ({"arch": "xe2", "vendor": "intel"}, True),
        ({"name": "Radeon RX 7900 XTX"}, False),
        ({"name": "Apple M2", "vendor": "apple"}, False),
    ],
)
def test_a_gpu_is_intels_by_its_vendor_or_its_name(
    ask: Callable[..., dict[str, Finding]], gpu: dict[str, str], *, intel: bool
) -> None:
    unknown = {"packages": {"torch": None, "triton": None, "bitsandbytes": None}}
    machine = {"gpus": [{"index": 0, **gpu}], "torch_cuda": None, "native": None, **unknown}
    found = ask("a100", error=TEXT, **machine)["torch-cpu-only"]
    assert ("xpu" in {fix.index for fix in found.fixes}) == intel
