"""The driver's answer, from recordings and from real libraries: missing, broken, hanging."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from qdoctor.facts import _ask_driver
from qdoctor.facts.driver import ask_driver

if TYPE_CHECKING:
    from pathlib import Path


class RefusedError(Exception):
    """NVML's error, as pynvml raises it."""

    def __init__(self, value: int, text: str) -> None:
        super().__init__(text)
        self.value = value


@dataclass
class Recording:
    """Answers like pynvml for one recorded machine; an answer that is an error is raised."""

    devices: list[dict[str, Any]]
    init: RefusedError | None = None
    NVMLError: type[RefusedError] = RefusedError
    NVML_ERROR_NOT_SUPPORTED: int = 3
    shut: bool = field(default=False)

    def nvmlInit(self) -> None:  # noqa: N802 - NVML's names
        if self.init is not None:
            raise self.init

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.shut = True

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.devices)

    def nvmlSystemGetDriverVersion(self) -> bytes:  # noqa: N802
        return b"535.104.05"

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:  # noqa: N802
        return 12020

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:  # noqa: N802
        device = self.devices[index]
        if "refused" in device:
            raise RefusedError(4, device["refused"])
        return device

    def nvmlDeviceGetMigDeviceHandleByIndex(  # noqa: N802
        self, parent: dict[str, Any], index: int
    ) -> dict[str, Any]:
        found: dict[str, Any] | None = parent["slices"].get(index)
        if found is None:
            raise RefusedError(6, "Not Found")
        return found

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any recorded answer
        def answer(handle: dict[str, Any]) -> Any:  # noqa: ANN401
            value = handle.get(name, RefusedError(3, "Not Supported"))
            if isinstance(value, RefusedError):
                raise value
            return value

        return answer


def device(name: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "nvmlDeviceGetName": name,
        "nvmlDeviceGetCudaComputeCapability": (8, 0),
        "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=42949672960),
        "nvmlDeviceGetComputeMode": 3,
        "nvmlDeviceGetUUID": b"GPU-aa",
        "nvmlDeviceGetPciInfo": SimpleNamespace(busId=b"00000000:3B:00.0"),
        **more,
    }


def test_a_device_is_read_with_everything_nvml_tells() -> None:
    nvml = Recording([device("NVIDIA A100-PCIE-40GB", nvmlDeviceGetMigMode=[0, 0])])
    told = _ask_driver.read_nvml(nvml)
    assert (told["driver"], told["cuda"], told["error"]) == ("535.104.05", 12020, None)
    assert told["devices"] == [
        {
            "name": "NVIDIA A100-PCIE-40GB",
            "sm": "8.0",
            "memory_mib": 40960,
            "compute_mode": "Exclusive_Process",
            "uuid": "GPU-aa",
            "bus": "00000000:3B:00.0",
            "mig": False,
            "slices": [],
            "error": None,
        }
    ]
    assert nvml.shut


def test_slices_are_listed_over_gaps_in_their_numbering() -> None:
    part = {
        "nvmlDeviceGetName": "NVIDIA A100-PCIE-40GB MIG 1g.5gb",
        "nvmlDeviceGetUUID": "MIG-55",
        "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=4999610368),
        "nvmlDeviceGetGpuInstanceId": 7,
        "nvmlDeviceGetComputeInstanceId": 0,
    }
    whole = device(
        "A100", nvmlDeviceGetMigMode=[1, 1], nvmlDeviceGetMaxMigDeviceCount=7, slices={2: part}
    )
    (told,) = _ask_driver.read_nvml(Recording([whole]))["devices"]
    assert (told["mig"], told["error"]) == (True, None)
    assert told["slices"] == [
        {"uuid": "MIG-55", "profile": "1g.5gb", "memory_mib": 4768, "gi": 7, "ci": 0}
    ]


def test_one_device_that_is_lost_does_not_hide_the_other() -> None:
    told = _ask_driver.read_nvml(Recording([{"refused": "GPU is lost"}, device("T4")]))
    assert "GPU is lost" in told["devices"][0]["error"]
    assert told["devices"][1]["name"] == "T4"


def test_what_is_not_permitted_is_said_and_the_rest_is_read() -> None:
    refused = RefusedError(4, "Insufficient Permissions")
    (told,) = _ask_driver.read_nvml(Recording([device("T4", nvmlDeviceGetComputeMode=refused)]))[
        "devices"
    ]
    assert (told["name"], told["compute_mode"]) == ("T4", None)
    assert "Insufficient Permissions" in told["error"]


def test_a_library_that_does_not_fit_the_kernel_driver_is_said() -> None:
    refused = RefusedError(18, "Driver/library version mismatch")
    told = _ask_driver.read_nvml(Recording([], init=refused))
    assert (told["error"], told["devices"]) == ("Driver/library version mismatch", [])


def build(compiler: str, folder: Path, name: str, source: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "source.c").write_text(source)
    command = [compiler, "-shared", "-fPIC", "-o", name, f"-Wl,-soname,{name}", "source.c"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / name


def libcuda_of(version: int) -> str:
    return f"int cuDriverGetVersion(int *v) {{ *v = {version}; return 0; }}"


def test_without_nvml_the_child_still_asks_each_libcuda(tmp_path: Path, compiler: str) -> None:
    first = build(compiler, tmp_path / "a", "libcuda.so.1", libcuda_of(12080))
    second = build(compiler, tmp_path / "b", "libcuda.so.1", libcuda_of(12020))
    broken = tmp_path / "libcuda.so.1"
    broken.write_bytes(b"\x7fELF\x02 not a library")
    paths = [str(first), str(second), str(broken)]
    asked = ask_driver({**os.environ, "LD_LIBRARY_PATH": str(tmp_path / "a")}, paths)
    assert [asked.cuda[path] for path in paths] == [12080, 12020, None]


NVML_THAT = {
    "hangs": ("#include <unistd.h>\nint nvmlInitWithFlags(unsigned f) { sleep(600); return 0; }"),
    "aborts": "#include <stdlib.h>\nint nvmlInitWithFlags(unsigned f) { abort(); }",
    "refuses": "int nvmlInitWithFlags(unsigned f) { return 18; }",
}


@pytest.mark.parametrize(
    ("nvml", "said"),
    [("hangs", "did not answer"), ("aborts", "signal 6"), ("refuses", "version mismatch")],
)
def test_a_driver_that_misbehaves_takes_nobody_along(
    nvml: str, said: str, tmp_path: Path, compiler: str
) -> None:
    build(compiler, tmp_path, "libnvidia-ml.so.1", NVML_THAT[nvml])
    asked = ask_driver({**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}, [], seconds=2.0)
    assert asked.nvml.error is not None
    assert said in asked.nvml.error
    assert asked.nvml.devices == []
