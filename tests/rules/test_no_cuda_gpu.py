"""no-cuda-gpu: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "no-cuda-gpu"


def test_fires_without_a_gpu(ask: Ask) -> None:
    found = ask("cpu")[NAME]
    assert found.severity == "note"
    assert "gpu" in found.affects
    assert found.fixes[0].action == "change-hardware"


def test_is_an_error_where_a_gpu_is_needed(ask: Ask) -> None:
    assert ask("cpu", need=("gpu",))[NAME].severity == "error"


def test_takes_nothing_away_that_only_lacks_its_package(ask: Ask) -> None:
    packages = {"torch": "2.13.0+cpu", "bitsandbytes": "", "torchao": ""}
    affected = ask("cpu", packages=packages, need=("torchao-int8",))[NAME].affects
    assert not {"half", "bnb-int8", "bnb-nf4", "torchao-int8"} & set(affected)
    assert {"qdoctor-switchback", "torchao-nvfp4"} <= set(affected)
    old = {"torch": "2.1.2+cpu", "bitsandbytes": "0.41.1"}
    assert "bnb-nf4" in ask("cpu", packages=old)[NAME].affects  # installed, without a CPU path


def test_names_what_hides_the_gpu(ask: Ask) -> None:
    hidden = [{"index": 0, "name": "NVIDIA A100", "vendor": "nvidia", "visible": False}]
    found = ask("h100", gpus=hidden)[NAME]
    assert (found.fixes[0].action, found.fixes[0].name) == ("unset-env", "CUDA_VISIBLE_DEVICES")


def test_names_another_vendors_gpu(ask: Ask) -> None:
    gpus = [{"index": 0, "name": "AMD Radeon RX 7800 XT", "vendor": "amd", "arch": "gfx1101"}]
    assert "AMD Radeon RX 7800 XT" in ask("h100", gpus=gpus)[NAME].title


def test_is_silent_with_a_gpu(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_is_silent_where_the_gpus_are_unknown(ask: Ask) -> None:
    assert NAME not in ask("h100", gpus=None)


def test_a_text_accuses_where_the_gpus_are_unknown(ask: Ask) -> None:
    text = "RuntimeError: Found no NVIDIA driver on your system."
    assert ask("h100", error=text, gpus=None, driver=None)[NAME].explains_error


def test_a_text_does_not_overrule_a_gpu_that_is_there(ask: Ask) -> None:
    found = ask("h100", error="RuntimeError: Found no NVIDIA driver on your system.")[NAME]
    assert found.undecided is not None or "does not see" in found.title
    assert "no CUDA GPU here" not in found.title


def test_a_gpu_that_the_process_does_not_see_needs_no_other_hardware(ask: Ask) -> None:
    found = ask("h100", "RuntimeError: No CUDA GPUs are available")["no-cuda-gpu"]
    assert "does not see" in found.title
    assert (found.fixes[0].action, found.fixes[0].name) == ("unset-env", "CUDA_VISIBLE_DEVICES")
    assert "change-hardware" not in {one.action for one in found.fixes}


def test_a_container_without_the_gpu_is_to_be_started_with_it(ask: Ask) -> None:
    text = 'could not select device driver "" with capabilities: [[gpu]].'
    found = ask("h100", text)["no-cuda-gpu"]
    assert (found.fixes[0].action, found.fixes[0].name) == ("run", "docker run --gpus all")


def test_in_wsl_the_driver_is_that_of_windows(ask: Ask) -> None:
    inside = {"os": "linux", "wsl": True, "machine": "x86_64"}
    text = "RuntimeError: Found no NVIDIA driver on your system."
    told = ask("cpu", error=text, host=inside, gpus=None, packages={"torch": None})[NAME].fixes
    assert [one.action for one in told][:3] == ["upgrade-os", "upgrade-driver", "change-hardware"]
    none = ask("cpu", error=text, host=inside, gpus=[])[NAME].fixes
    assert none[0].action == "change-hardware"
