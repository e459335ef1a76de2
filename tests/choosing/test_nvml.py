"""NVML asked without pynvml: what is made of its answers; a library of our own answers."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import pytest

from qdoctor.choosing import nvml

if TYPE_CHECKING:
    from collections.abc import Callable


class Library:
    """Answers as libnvidia-ml of a host with two GPUs, of which the second one is in MIG mode."""

    def __init__(self, status: int = 0) -> None:
        self.status, self.shut = status, False

    def nvmlInit_v2(self) -> int:  # noqa: N802 - NVML's names
        return self.status

    def nvmlShutdown(self) -> int:  # noqa: N802
        self.shut = True
        return 0

    def nvmlSystemGetDriverVersion(self, text: Any, length: int) -> int:  # noqa: ANN401, N802
        assert length == ctypes.sizeof(text)
        text.value = b"580.159.04"
        return 0

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:  # noqa: ANN401, N802
        count._obj.value = 2
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: int, handle: Any) -> int:  # noqa: ANN401, N802
        handle._obj.value = index + 1
        return 0

    def nvmlDeviceGetName(self, handle: Any, text: Any, _: int) -> int:  # noqa: ANN401, N802
        text.value = b"NVIDIA H100" if handle.value == 1 else b"NVIDIA A30"
        return 0

    def nvmlDeviceGetUUID(self, handle: Any, text: Any, _: int) -> int:  # noqa: ANN401, N802
        text.value = f"GPU-{handle.value}".encode()
        return 0

    def nvmlDeviceGetPciInfo_v3(self, _: Any, info: Any) -> int:  # noqa: ANN401, N802
        info._obj.device_id, info._obj.subsystem_id = 0x233010DE, 0x16C110DE
        return 0

    def nvmlDeviceGetMigMode(self, handle: Any, now: Any, _: Any) -> int:  # noqa: ANN401, N802
        now._obj.value = int(handle.value == 2)
        return 0


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    return lambda library: monkeypatch.setattr(nvml, "_library", lambda: library)


def test_gpus_are_read_as_the_kernels_files_tell_them(answering: Callable[[Any], None]) -> None:
    library = Library()
    answering(library)
    told = nvml.hardware()
    assert told.driver == "580.159.04"
    assert [(one.name, one.kind, one.uuid) for one in told.devices] == [
        ("NVIDIA H100", "NVIDIA H100 [233010de 16c110de]", "GPU-1"),
        ("NVIDIA A30", "NVIDIA A30 [233010de 16c110de]", "GPU-2"),
    ]
    assert told.parts == "GPU-2"  # in MIG mode: what CUDA numbers is not known from here
    assert library.shut


@pytest.mark.parametrize("library", [Library(status=9), object()], ids=["refuses", "lacks"])
def test_a_driver_that_does_not_answer_is_not_no_driver(
    answering: Callable[[Any], None], library: object
) -> None:
    answering(library)
    told = nvml.hardware()
    assert (told.driver, told.devices) == ("the driver does not answer", [])
