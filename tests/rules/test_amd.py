"""An AMD machine is known by torch's build, its GPUs or the text: nothing of CUDA is offered."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NO_CODE = "RuntimeError: HIP error: invalid device function"
RADEON = [{"index": 0, "name": "AMD Radeon RX 6700 XT", "arch": "gfx1031", "vendor": "amd"}]
NAME = "torch-no-sm-binary"


@pytest.mark.parametrize(
    "changes",
    [
        {"packages": {"torch": "2.5.1+rocm6.2"}, "gpus": None, "torch_cuda": None},
        {"packages": {"torch": None}, "gpus": RADEON, "torch_cuda": None},
        {"packages": {"torch": None}, "gpus": None, "torch_cuda": None},
    ],
    ids=["build", "gpu", "text"],
)
def test_no_build_for_cuda_is_offered(ask: Ask, changes: dict[str, object]) -> None:
    found = ask("h100", NO_CODE, driver={"version": None, "cuda": None}, native=None, **changes)
    fixes = found[NAME].fixes
    assert (fixes[0].action, fixes[0].name) == ("set-env", "HSA_OVERRIDE_GFX_VERSION")
    assert not any((one.index or "").startswith("cu") for one in fixes)


def test_the_head_of_the_gpu_s_family_is_named(ask: Ask) -> None:
    found = ask("h100", NO_CODE, gpus=RADEON, packages={"torch": None}, torch_cuda=None)
    assert found[NAME].fixes[0].value == "10.3.0"


def test_a_family_that_is_not_known_gets_no_value(ask: Ask) -> None:
    gpus = [{"index": 0, "name": "Radeon", "arch": "gfx9999", "vendor": "amd"}]
    found = ask("h100", NO_CODE, gpus=gpus, packages={"torch": None}, torch_cuda=None)
    assert found[NAME].fixes[0].value is None


def test_an_nvidia_machine_keeps_its_builds(ask: Ask) -> None:
    text = "RuntimeError: CUDA error: no kernel image is available for execution on the device"
    gpus = [{"index": 0, "name": "NVIDIA GeForce RTX 5090"}]
    packages = {"torch": "2.6.0+cu124"}
    found = ask("h100", text, gpus=gpus, packages=packages, torch_cuda=None, native=None)
    assert (found[NAME].fixes[0].index or "").startswith("cu")
