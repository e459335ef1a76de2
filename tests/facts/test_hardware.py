"""Driver and GPUs of Linux machines laid out below a folder: /proc, /sys, /dev, libraries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from qdoctor.facts.driver import Asked, Told
from qdoctor.facts.hardware import read_linux
from qdoctor.facts.visible import Device, Slice
from qdoctor.model import Driver, Gpu

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdoctor.facts.nvidia import Hardware

ELF_64 = b"\x7fELF\x02\x01\x01" + b"\0" * 57
PROPRIETARY = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15\n"
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.10  Release Build\n"
A100 = Device("NVIDIA A100", "8.0", 40960, "Default", "GPU-aa", "00000000:3B:00.0", mig=False)
T4 = Device("Tesla T4", "7.5", 15360, "Default", "GPU-bb", "00000000:5E:00.0", mig=False)
NO_NVML = Told(error="NVML Shared Library Not Found")


class Machine:
    """A machine laid out below ``root``, and what its driver answers."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: list[list[str]] = []

    def file(self, name: str, text: str | bytes = "") -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    def pci(self, address: str, kind: int, vendor: int, device: int, driver: str = "") -> None:
        folder = f"sys/bus/pci/devices/{address}"
        for name, value in (("class", kind), ("vendor", vendor), ("device", device)):
            self.file(f"{folder}/{name}", f"{value:#06x}\n")
        if driver:
            (self.root / "sys/bus/pci/drivers" / driver).mkdir(parents=True, exist_ok=True)
            (self.root / folder / "driver").symlink_to(f"../../drivers/{driver}")

    def driver(self, version: str = PROPRIETARY) -> None:
        self.file("proc/driver/nvidia/version", version)
        self.file("dev/nvidiactl")

    def libcuda(self, folder: str, version: str) -> str:
        self.file(f"{folder}/libcuda.so.{version}", ELF_64)
        link = self.root / folder / "libcuda.so.1"
        link.symlink_to(f"libcuda.so.{version}")
        return str(link)

    def read(self, answer: Asked | None = None, **environ: str) -> Hardware:
        def ask(_: Mapping[str, str], libraries: Sequence[str]) -> Asked:
            assert answer is not None, "the driver was asked where there is none"
            self.asked.append(list(libraries))
            return answer

        return read_linux(environ, root=self.root, ask=ask)


def stated(found: Hardware) -> Driver:
    """Give the driver without the places of its library, which are a temporary folder's here."""
    assert found.driver is not None
    return msgspec.structs.replace(found.driver, libcuda=None, libcuda_elsewhere=None)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    built = Machine(tmp_path)
    built.pci("0000:00:1f.0", 0x060100, 0x8086, 0xA304)
    return built


def test_no_driver_and_no_device_is_known_to_be_none(machine: Machine) -> None:
    found = machine.read()
    assert stated(found) == Driver(version="", compat_cuda="")
    assert (found.gpus, found.unread) == ([], {})


def test_a_machine_without_pci_has_none_and_one_without_sys_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "no-pci/sys/bus").mkdir(parents=True)
    assert Machine(tmp_path / "no-pci").read().gpus == []
    found = Machine(tmp_path / "no-sys").read()
    assert found.gpus is None
    assert "/sys/bus/pci is hidden" in found.unread["gpus"]


def test_a_gpu_without_driver_is_named_and_not_usable(machine: Machine) -> None:
    machine.pci("0000:3b:00.0", 0x030200, 0x10DE, 0x20F1, driver="nouveau")
    machine.file(
        "usr/share/misc/pci.ids",
        "# list\n10de  NVIDIA Corporation\n\t20f1  GA100 [A100 PCIe 40GB]\n\t\t10de 145f  A100\n"
        "\t20f2  GA100 [other]\n10df  Emulex\n\t20f1  Not this\n",
    )
    found = machine.read()
    assert found.gpus == [Gpu(name="NVIDIA GA100 [A100 PCIe 40GB]", vendor="nvidia", visible=False)]
    assert found.driver.version == ""
    assert "0000:3b:00.0 is bound to nouveau" in found.unread["gpus"]


def test_gpus_of_other_vendors_are_named(machine: Machine) -> None:
    machine.pci("0000:00:02.0", 0x030000, 0x8086, 0x46A6, driver="i915")
    machine.pci("0000:03:00.0", 0x030000, 0x1002, 0x744C, driver="amdgpu")
    machine.pci("0000:04:00.0", 0x120000, 0x1002, 0x740F, driver="amdgpu")
    machine.pci("0000:05:00.0", 0x030000, 0x1A03, 0x2000)
    nodes = "sys/class/kfd/kfd/topology/nodes"
    machine.file(f"{nodes}/0/properties", "simd_count 0\ngfx_target_version 0\n")
    machine.file(f"{nodes}/2/properties", "gfx_target_version 90010\n")
    machine.file(f"{nodes}/1/properties", "gfx_target_version 110000\n")
    found = machine.read()
    assert [(gpu.vendor, gpu.name, gpu.arch, gpu.visible) for gpu in found.gpus or []] == [
        ("intel", "Intel GPU 46a6", None, False),
        ("amd", "AMD GPU 744c", "gfx1100", False),
        ("amd", "AMD GPU 740f", "gfx90a", False),
    ]


def test_kernel_files_that_tell_nonsense_are_passed_over(machine: Machine) -> None:
    machine.pci("0000:03:00.0", 0x030000, 0x1002, 0x744C, driver="amdgpu")
    nodes = "sys/class/kfd/kfd/topology/nodes"
    machine.file(f"{nodes}/\u00b2/properties", "gfx_target_version 0\n")
    machine.file(f"{nodes}/1/properties", f"gfx_target_version {'9' * 5000}\n")
    machine.file("dev/nvidiactl")
    silent = Asked(Told())
    for version in ("", "a\0b/../x", "5" * 9000, "535\n1", "\u0661.\u0662"):
        machine.file("sys/module/nvidia/version", version)
        found = machine.read(silent)
        assert found.driver.version is None
        assert [(gpu.vendor, gpu.arch) for gpu in found.gpus or []] == [("amd", None)]
    machine.file("sys/module/nvidia/version", "570.86.15\n")
    assert machine.read(silent).driver.version == "570.86.15"


def test_nvml_present(machine: Machine) -> None:
    machine.driver()
    library = machine.libcuda("usr/lib64", "535.104.05")
    machine.pci("0000:00:02.0", 0x030000, 0x8086, 0x46A6)
    told = Told("535.104.05", 12020, [A100])
    found = machine.read(Asked(told, {library: 12020}))
    assert stated(found) == Driver(version="535.104.05", cuda="12.2", compat_cuda="")
    assert found.unread == {}
    assert (found.gpus or [])[0] == Gpu(
        index=0,
        name="NVIDIA A100",
        sm="8.0",
        memory_mib=40960,
        vendor="nvidia",
        mig=False,
        compute_mode="Default",
        visible=True,
    )
    assert (found.gpus or [])[1].vendor == "intel"


def test_a_hidden_gpu_comes_last_and_has_no_number(machine: Machine) -> None:
    machine.driver()
    machine.libcuda("usr/lib64", "535.104.05")
    asked = Asked(Told("535.104.05", 12020, [A100, T4]), {}, ["0000:3B:00.0", "0000:5E:00.0"])
    found = machine.read(asked, CUDA_VISIBLE_DEVICES="1")
    assert [(gpu.index, gpu.name, gpu.visible) for gpu in found.gpus or []] == [
        (0, "Tesla T4", True),
        (None, "NVIDIA A100", False),
    ]
    assert [gpu.visible for gpu in machine.read(asked, CUDA_VISIBLE_DEVICES="").gpus or []] == [
        False,
        False,
    ]


def test_mixed_models_are_numbered_as_cuda_does(machine: Machine) -> None:
    machine.driver()
    machine.libcuda("usr/lib64", "535.104.05")
    told = Told("535.104.05", 12020, [T4, A100])
    fastest = Asked(told, {}, ["0000:3b:00.0", "0000:5e:00.0"])

    def names(asked: Asked, **environ: str) -> list[tuple[int | None, str | None]]:
        return [(gpu.index, gpu.name) for gpu in machine.read(asked, **environ).gpus or []]

    assert names(fastest) == [(0, "NVIDIA A100"), (1, "Tesla T4")]
    assert names(Asked(told), CUDA_DEVICE_ORDER="PCI_BUS_ID") == [
        (0, "Tesla T4"),
        (1, "NVIDIA A100"),
    ]
    assert names(fastest, CUDA_VISIBLE_DEVICES="1")[0] == (0, "Tesla T4")
    silent = machine.read(Asked(told))
    assert [(gpu.index, gpu.visible) for gpu in silent.gpus or []] == [(None, None)] * 2
    assert "models are mixed" in silent.unread["gpus"]


def test_a_mig_slice_is_what_the_process_sees(machine: Machine) -> None:
    machine.driver()
    machine.libcuda("usr/lib64", "535.104.05")
    parts = [Slice("MIG-1", "1g.5gb", 4864, 7, 0), Slice("MIG-2", "2g.10gb", 9856, 3, 0)]
    split = Device("NVIDIA A100", "8.0", 40960, "Default", "GPU-aa", mig=True, slices=parts)
    asked = Asked(Told("535.104.05", 12020, [split, A100]))
    found = machine.read(asked, CUDA_VISIBLE_DEVICES="MIG-2")
    assert [(gpu.index, gpu.mig, gpu.memory_mib) for gpu in found.gpus or []] == [
        (0, "2g.10gb", 9856),
        (None, "1g.5gb", 4864),
        (None, False, 40960),
    ]


def test_nvml_absent_leaves_what_the_kernel_module_lists(machine: Machine) -> None:
    machine.driver(OPEN)
    library = machine.libcuda("usr/lib64", "570.86.10")
    for bus, uuid in (("0000:5e:00.0", "GPU-bb"), ("0000:3b:00.0", "GPU-aa")):
        text = f"Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 4\nGPU UUID: \t {uuid}\n"
        machine.file(f"proc/driver/nvidia/gpus/{bus}/information", text)
    found = machine.read(Asked(NO_NVML, {library: 12080}), CUDA_VISIBLE_DEVICES="GPU-bb")
    assert stated(found) == Driver(version="570.86.10", cuda="12.8", compat_cuda="")
    assert found.unread["driver"] == "NVML Shared Library Not Found"
    assert [(gpu.index, gpu.name, gpu.sm, gpu.visible) for gpu in found.gpus or []] == [
        (0, "NVIDIA H100 80GB HBM3", None, True),
        (None, "NVIDIA H100 80GB HBM3", None, False),
    ]


def test_unreadable_uuids_leave_the_numbering_unknown(machine: Machine) -> None:
    machine.driver()
    machine.libcuda("usr/lib64", "535.104.05")
    text = "Model: \t NVIDIA L4\nGPU UUID: \t GPU-????????-????-????-????-????????????\n"
    machine.file("proc/driver/nvidia/gpus/0000:3b:00.0/information", text)
    found = machine.read(Asked(NO_NVML), CUDA_VISIBLE_DEVICES="GPU-1234")
    assert [(gpu.index, gpu.visible) for gpu in found.gpus or []] == [(None, None)]
    assert "UUIDs" in found.unread["gpus"]


def test_a_container_without_gpu_access_has_gpus_it_cannot_use(machine: Machine) -> None:
    machine.file("proc/driver/nvidia/version", PROPRIETARY)
    text = "Model: \t NVIDIA L4\nGPU UUID: \t GPU-aa\n"
    machine.file("proc/driver/nvidia/gpus/0000:3b:00.0/information", text)
    found = machine.read(Asked(NO_NVML))
    assert [(gpu.name, gpu.visible) for gpu in found.gpus or []] == [("NVIDIA L4", False)]
    assert "without GPU access" in found.unread["gpus"]
    assert found.driver.version == "535.104.05"


def test_a_driver_that_tells_nothing_is_unknown_not_none(machine: Machine) -> None:
    machine.driver("garbage")
    found = machine.read(Asked(Told(error="the driver did not answer within 20 s")))
    assert found.gpus is None
    assert found.driver.version is None
    assert "did not answer" in found.unread["gpus"]


def test_a_lost_gpu_is_said_beside_the_others(machine: Machine) -> None:
    machine.driver()
    machine.libcuda("usr/lib64", "535.104.05")
    lost = Device(error="nvmlDeviceGetHandleByIndex: GPU is lost")
    asked = Asked(Told("535.104.05", 12020, [lost, A100]), {}, None)
    assert "GPU is lost" in machine.read(asked, CUDA_DEVICE_ORDER="PCI_BUS_ID").unread["gpus[0]"]


def test_a_compat_library_that_is_loaded_first_lifts_the_ceiling(machine: Machine) -> None:
    machine.driver()
    own = machine.libcuda("usr/lib64", "535.104.05")
    compat = machine.libcuda("usr/local/cuda-12.8/compat", "570.86.10")
    real = str(Path(own).resolve())
    asked = Asked(Told("535.104.05", 12080, [A100]), {compat: 12080, real: 12020, own: 12020})
    found = machine.read(asked, LD_LIBRARY_PATH="/usr/local/cuda-12.8/compat")
    assert stated(found) == Driver(version="535.104.05", cuda="12.2", compat_cuda="12.8")
    assert machine.asked[-1] == [compat, real]
    assert machine.read(asked).driver.compat_cuda == "", "installed, but nobody loads it"


def test_a_compat_folder_tells_its_version_where_the_library_does_not(machine: Machine) -> None:
    machine.driver()
    machine.libcuda("usr/local/cuda-12.8/compat", "570.86.10")
    asked = Asked(Told("535.104.05", 12080, [A100]))
    found = machine.read(asked, LD_LIBRARY_PATH="/usr/local/cuda-12.8/compat")
    assert stated(found) == Driver(version="535.104.05", cuda=None, compat_cuda="12.8")
    assert "hides the driver's own" in found.unread["driver.cuda"]


WSL_KERNEL = "5.15.153.1-microsoft-standard-WSL2\n"


def test_wsl_with_a_gpu(machine: Machine) -> None:
    machine.file("proc/sys/kernel/osrelease", WSL_KERNEL)
    machine.file("usr/lib/wsl/lib/libnvidia-ml.so.1", ELF_64)
    machine.file("usr/lib/wsl/lib/libcuda.so.1", ELF_64)
    library = str(machine.root / "usr/lib/wsl/lib/libcuda.so.1")
    asked = Asked(Told("537.13", 12020, [A100]), {library: 12020})
    found = machine.read(asked, LD_LIBRARY_PATH="/usr/lib/wsl/lib")
    assert stated(found) == Driver(version="537.13", cuda="12.2", compat_cuda="")
    assert [gpu.index for gpu in found.gpus or []] == [0]


def test_wsl_without_an_nvidia_driver(machine: Machine) -> None:
    machine.file("proc/sys/kernel/osrelease", WSL_KERNEL)
    assert machine.read().gpus == []
    machine.file("dev/dxg")
    found = machine.read()
    assert [gpu.vendor for gpu in found.gpus or []] == ["microsoft"]
    assert found.driver.version == ""


def test_a_tegra_is_unknown_rather_than_none(machine: Machine) -> None:
    machine.file("etc/nv_tegra_release", "# R35 (release)\n")
    found = machine.read()
    assert (found.gpus, found.driver.version) == (None, None)
    assert "Tegra" in found.unread["gpus"]


def test_the_library_that_would_be_loaded_is_named(machine: Machine) -> None:
    machine.driver()
    library = machine.libcuda("usr/lib64", "535.104.05")
    found = machine.read(Asked(Told("535.104.05", 12020, [A100]), {library: 12020}))
    assert found.driver is not None
    assert (found.driver.libcuda, found.driver.libcuda_elsewhere) == (library, "")


def test_a_library_that_the_loader_was_not_told_of_is_named(machine: Machine) -> None:
    machine.file("proc/sys/kernel/osrelease", WSL_KERNEL)
    machine.file("usr/lib/wsl/lib/libnvidia-ml.so.1", ELF_64)
    machine.file("usr/lib/wsl/lib/libcuda.so.1", ELF_64)
    found = machine.read(Asked(Told("537.13", 12020, [A100])))
    assert found.driver is not None
    assert found.driver.libcuda == ""
    assert found.driver.libcuda_elsewhere == str(machine.root / "usr/lib/wsl/lib/libcuda.so.1")


def test_a_container_without_the_driver_s_library_has_none_anywhere(machine: Machine) -> None:
    machine.driver()
    found = machine.read(Asked(NO_NVML))
    assert found.driver is not None
    assert (found.driver.libcuda, found.driver.libcuda_elsewhere) == ("", "")
