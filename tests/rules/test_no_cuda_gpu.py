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
    assert "qdoctor-switchback" not in affected
    assert {"bnb-switchback", "torchao-nvfp4"} <= set(affected)
    old = {"torch": "2.0.1+cpu", "bitsandbytes": "0.41.1"}
    affected = ask("cpu", packages=old)[NAME].affects  # installed, without a CPU path
    assert {"bnb-nf4", "qdoctor-switchback"} <= set(affected)


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


def test_in_a_container_its_start_is_asked_about_before_a_driver_is_installed(ask: Ask) -> None:
    text = "bash: nvidia-smi: command not found"
    inside = {"host": {"os": "linux", "container": "docker"}, "gpus": None, "driver": None}
    assert ask("a100", error=text, **inside)[NAME].fixes[0].action == "run"
    outside = {"host": {"os": "linux"}, "gpus": None, "driver": None}
    assert ask("a100", error=text, **outside)[NAME].fixes[0].action == "install-system"


def test_an_extension_is_compiled_for_named_gpus_where_torch_sees_none(ask: Ask) -> None:
    text = (
        "in _get_cuda_arch_flags\n    arch_list[-1] += '+PTX'\nIndexError: list index out of range"
    )
    found = ask("a100", error=text, gpus=None, driver=None)
    assert next(iter(found)) == NAME
    assert found[NAME].fixes[0].name == "TORCH_CUDA_ARCH_LIST"


def test_apples_gpu_without_a_type_is_asked_for_another_one(ask: Ask) -> None:
    text = "TypeError: Trying to convert BFloat16 to the MPS backend but it does not have support"
    found = ask("a100", error=f"{text} for that dtype.", host={"os": "macos"}, gpus=None)[NAME]
    assert found.fixes[0].action == "change-code"
    newer = "RuntimeError: The MPS backend is supported on MacOS 14.0+."
    found = ask("a100", error=newer, host={"os": "macos"}, gpus=None)[NAME]
    assert found.fixes[0].action == "upgrade-os"


def test_beside_amds_gpu_a_build_for_rocm_comes_before_its_devices(ask: Ask) -> None:
    gpus = [{"index": 0, "name": "AMD Radeon RX 9070 XT", "vendor": "amd"}]
    text = "RuntimeError: No CUDA GPUs are available"
    found = ask("a100", error=text, host={"os": "windows"}, gpus=gpus, driver=None, packages={})
    assert "/dev/kfd" not in " ".join(fix.why for fix in found[NAME].fixes)
    assert found[NAME].fixes[0].action == "install-matching"
    packages = {"torch": "2.5.1+cu121"}
    found = ask("a100", error=text, gpus=gpus, driver=None, packages=packages)
    assert [fix.action for fix in found[NAME].fixes[:2]] == ["install-matching", "run"]
    packages = {"torch": "2.5.1+rocm6.2"}
    found = ask("a100", error=text, gpus=gpus, driver=None, packages=packages, torch_cuda=None)
    assert found[NAME].fixes[0].action == "run"


def test_a_pod_without_the_library_of_the_driver_was_started_without_it(ask: Ask) -> None:
    text = "Failed to initialize NVML: could not load NVML library."
    inside = {"host": {"os": "linux", "container": "kubernetes"}, "gpus": None, "driver": None}
    assert ask("a100", error=text, **inside)[NAME].fixes[0].action == "run"
