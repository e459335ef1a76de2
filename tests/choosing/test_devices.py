"""Driver and GPUs from the kernel's files, below a made-up root."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from qdoctor.choosing import devices, nvml

if TYPE_CHECKING:
    from pathlib import Path

linux_only = pytest.mark.skipif(os.name == "nt", reason="reads Linux' files")
pytestmark = linux_only

H100 = ("NVIDIA H100 80GB HBM3", "0x2330", "0xa1")
T4 = ("Tesla T4", "0x1eb8", "0xa1")
_BANNER = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build\nGCC\n"
)


class Root:
    """A root folder with the files of NVIDIA's kernel driver."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, path: str, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def gpu(self, number: int, model: tuple[str, str, str], uuid: str | None = None) -> None:
        bus = f"0000:{number:02x}:00.0"
        stated = uuid or f"GPU-{number}"
        self.write(
            f"proc/driver/nvidia/gpus/{bus}/information",
            f"Model: \t\t {model[0]}\nIRQ:   \t\t 41\nGPU UUID: \t {stated}\nBus Type: \t PCIe\n",
        )
        for name, value in (("vendor", "0x10de"), ("device", model[1]), ("revision", model[2])):
            self.write(f"sys/bus/pci/devices/{bus}/{name}", f"{value}\n")

    def read(self) -> devices.Hardware:
        return devices.hardware(str(self.folder))


@pytest.fixture
def root(tmp_path: Path) -> Root:
    made = Root(tmp_path)
    made.write("proc/driver/nvidia/version", _BANNER)
    return made


def which(root: Root, index: int | None = None, **environ: str) -> tuple[str, int]:
    kind, _, count = devices.which(root.read(), index, environ)
    return kind, count


def test_gpus_are_read_in_the_order_of_their_addresses(root: Root) -> None:
    root.gpu(9, T4)
    root.gpu(1, H100)
    told = root.read()
    assert told.driver == "580.159.04"
    assert [one.name for one in told.devices] == [H100[0], T4[0]]
    assert told.devices[0].kind == "NVIDIA H100 80GB HBM3 [0x10de 0x2330   0xa1]"
    assert told.devices[0].uuid == "GPU-1"


def test_the_drivers_own_file_is_believed_first(root: Root) -> None:
    root.gpu(1, H100)
    root.write("sys/module/nvidia/version", "535.1.2\n")
    assert root.read().driver == "535.1.2"


@pytest.mark.parametrize(
    ("visible", "count"),
    [
        ({}, 2),
        ({"CUDA_VISIBLE_DEVICES": "1"}, 1),
        ({"CUDA_VISIBLE_DEVICES": " 1 , 0 "}, 2),
        ({"CUDA_VISIBLE_DEVICES": "GPU-2"}, 1),
        ({"CUDA_VISIBLE_DEVICES": "GPU-2,GPU-1"}, 2),
    ],
)
def test_equal_gpus_are_one_kind_however_they_are_numbered(
    root: Root, visible: dict[str, str], count: int
) -> None:
    root.gpu(1, H100)
    root.gpu(2, H100)
    assert which(root, None, **visible) == ("NVIDIA H100 80GB HBM3 [0x10de 0x2330   0xa1]", count)


@pytest.mark.parametrize("hidden", ["", " ", "-1"])
def test_hidden_gpus_leave_the_cpu(root: Root, hidden: str) -> None:
    root.gpu(1, H100)
    assert which(root, CUDA_VISIBLE_DEVICES=hidden) == ("cpu", 0)


def test_several_models_are_told_apart_where_the_order_is_stated(root: Root) -> None:
    root.gpu(1, T4)
    root.gpu(2, H100)
    by_address = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert which(root, 0, **by_address)[0].startswith("Tesla T4 [")
    assert which(root, 1, **by_address)[0].startswith("NVIDIA H100")
    assert which(root, None, CUDA_VISIBLE_DEVICES="1", **by_address)[0].startswith("NVIDIA H100")
    assert which(root, None, CUDA_VISIBLE_DEVICES="GPU-2")[0].startswith("NVIDIA H100")


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"CUDA_VISIBLE_DEVICES": "0"},
        {"CUDA_VISIBLE_DEVICES": "GPU-"},
        {"CUDA_VISIBLE_DEVICES": "0,0"},
        {"CUDA_VISIBLE_DEVICES": "7", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
        {"CUDA_VISIBLE_DEVICES": "1,junk", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
    ],
    ids=str,
)
def test_what_is_not_clear_from_here_is_not_guessed(root: Root, environ: dict[str, str]) -> None:
    root.gpu(1, T4)
    root.gpu(2, H100)
    kind, count = which(root, 0, **environ)
    assert count == -1
    assert "Tesla T4" in kind
    assert "NVIDIA H100" in kind
    assert kind != which(root, 1, **environ)[0]
    for name, value in environ.items():
        assert value in kind or name == "CUDA_DEVICE_ORDER"


def test_slices_of_a_gpu_are_another_kind_than_the_whole(root: Root) -> None:
    root.gpu(1, H100)
    whole = which(root)
    root.write("proc/driver/nvidia/capabilities/gpu0/mig/gi9/ci0/access", "")
    one = which(root, CUDA_VISIBLE_DEVICES="MIG-a")
    assert whole != one
    assert one != which(root, CUDA_VISIBLE_DEVICES="MIG-b")
    root.write("proc/driver/nvidia/capabilities/gpu0/mig/gi1/ci0/access", "")
    assert one != which(root, CUDA_VISIBLE_DEVICES="MIG-a")


def test_a_gpu_that_sleeps_has_no_uuid_and_is_known_all_the_same(root: Root) -> None:
    root.gpu(1, H100, uuid="GPU-????????-????-????-????-????????????")
    assert root.read().devices[0].uuid == ""
    assert which(root)[1] == 1


def test_without_any_sign_of_a_gpu_no_library_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvml, "hardware", lambda: pytest.fail("NVML was asked"))
    told = devices.hardware(str(tmp_path))
    assert (told.driver, told.devices) == ("", [])
    assert devices.which(told, None, {}) == ("cpu", "cpu", 0)


def test_where_the_kernels_files_are_hidden_nvml_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Root(tmp_path).write("dev/nvidiactl", "")
    answer = devices.Hardware("580.1", [devices.Device("NVIDIA H200", "NVIDIA H200 [1]", "GPU-1")])
    monkeypatch.setattr(nvml, "hardware", lambda: answer)
    assert devices.hardware(str(tmp_path)) is answer


def test_amds_gpus_are_named_by_architecture(tmp_path: Path) -> None:
    root = Root(tmp_path)
    root.write("sys/class/kfd/kfd/topology/nodes/0/properties", "cpu_cores_count 16\n")
    root.write("sys/class/kfd/kfd/topology/nodes/1/properties", "gfx_target_version 90402\n")
    root.write("sys/module/amdgpu/version", "6.8.5\n")
    assert devices.which(root.read(), None, {}) == ("other amd 90402 6.8.5", "amd 90402 6.8.5", -1)


def test_a_driver_that_does_not_answer_is_not_the_absence_of_gpus() -> None:
    told = devices.Hardware("the driver does not answer", [])
    assert devices.which(told, 3, {}) == ("cpu", "cpu", -1)


def test_nvml_that_is_not_there_is_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "_PLACES", ("libnothing-of-this-name.so.1",))
    assert (nvml.hardware().driver, nvml.hardware().devices) == ("", [])


def test_the_processor_is_named_with_the_cores_that_may_be_used(tmp_path: Path) -> None:
    Root(tmp_path).write("proc/cpuinfo", "processor\t: 0\nmodel name\t: Some CPU\n")
    name, cores = devices.processor(str(tmp_path))
    assert name.startswith("cpu ")
    assert name.endswith(" Some CPU")
    assert cores >= 1


def test_a_gpu_on_no_bus_is_not_said_to_be_missing(tmp_path: Path) -> None:
    Root(tmp_path).write("etc/nv_tegra_release", "# R36 (release), REVISION: 4.0\n")
    told = Root(tmp_path).read()
    assert told.driver == "tegra # R36 (release), REVISION: 4.0"
    assert devices.which(told, 0, {}) == ("cpu", "cpu", -1)
