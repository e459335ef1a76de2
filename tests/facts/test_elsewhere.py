"""Windows and macOS, by injected files and answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qdoctor.facts import elsewhere
from qdoctor.facts.driver import Asked, Told
from qdoctor.facts.visible import Device
from qdoctor.model import Driver

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

ADAPTERS = ["NVIDIA GeForce RTX 4070", "Intel(R) UHD Graphics 770", "Microsoft Remote Display"]


def test_windows_without_nvidias_driver_names_the_adapters(tmp_path: Path) -> None:
    found = elsewhere.read_windows({"SystemRoot": str(tmp_path)}, adapters=lambda: iter(ADAPTERS))
    assert found.driver == Driver(version="", compat_cuda="")
    assert [(gpu.vendor, gpu.name) for gpu in found.gpus or []] == [
        ("nvidia", ADAPTERS[0]),
        ("intel", ADAPTERS[1]),
    ]


@pytest.mark.parametrize("works", [True, False])
def test_windows_with_nvidias_driver(tmp_path: Path, *, works: bool) -> None:
    library = tmp_path / "System32" / "nvcuda.dll"
    library.parent.mkdir()
    library.write_bytes(b"MZ")

    def ask(_: Mapping[str, str], libraries: Sequence[str]) -> Asked:
        assert list(libraries) == [str(library)]
        if not works:
            return Asked(Told(error="Driver Not Loaded"))
        return Asked(Told("551.23", 12040, [Device("RTX 4070", "8.9")]), {str(library): 12040})

    environ = {"SystemRoot": str(tmp_path)}
    found = elsewhere.read_windows(environ, adapters=lambda: iter(ADAPTERS), ask=ask)
    if works:
        assert found.driver == Driver(version="551.23", cuda="12.4", compat_cuda="")
        assert [(gpu.index, gpu.name) for gpu in found.gpus or []] == [
            (0, "RTX 4070"),
            (None, ADAPTERS[1]),
        ]
    else:
        assert found.gpus is None
        assert found.unread["gpus"] == "Driver Not Loaded"


@pytest.mark.parametrize(("machine", "vendors"), [("arm64", ["apple"]), ("x86_64", None)])
def test_a_mac_has_apples_gpu_and_no_nvidia_driver(
    machine: str, vendors: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    found = elsewhere.read_macos()
    assert found.driver.version == ""
    assert (None if found.gpus is None else [gpu.vendor for gpu in found.gpus]) == vendors
