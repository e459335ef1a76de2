"""Which NVRTC is taken, what it says where it refuses, and machine code where there is one."""

# ruff: noqa: ANN401 - modules loaded by path have no types

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

Load = Callable[[str], Any]
EMPTY = 'extern "C" __global__ void nothing() {}'


def put(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_the_nvrtc_of_torchs_cuda_is_taken_from_the_wheels_then_from_the_loader(
    load: Load, tmp_path: Path
) -> None:
    put(
        tmp_path,
        "nvidia/cuda_nvrtc/lib/libnvrtc.so.12",
        "nvidia/cuda_nvrtc/lib/libnvrtc-builtins.so.12.4",
        "nvidia/cu13/lib/libnvrtc.so.13",
        "nvidia/cu13/lib/libnvrtc.alt.so.13",
        "torch/lib/libnvrtc-672ee683.so.11.2",
    )
    candidates = load("_nvrtc").candidates
    for major, place in (
        ("12", "nvidia/cuda_nvrtc/lib/libnvrtc.so.12"),
        ("13", "nvidia/cu13/lib/libnvrtc.so.13"),
        ("11", "torch/lib/libnvrtc-672ee683.so.11.2"),
    ):
        found = candidates([str(tmp_path)], major)
        assert found[0] == str(tmp_path / place)
        assert found[-1].endswith(major) or found[-1].startswith("nvrtc64_" + major)
        assert len(found) == 2


def fake_torch(monkeypatch: pytest.MonkeyPatch, folder: Path, cuda: str | None) -> None:
    torch = SimpleNamespace(
        __version__="2.0", __file__=str(folder / "torch" / "__init__.py"),
        version=SimpleNamespace(cuda=cuda),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "torch", torch)


def test_without_one_it_says_what_it_looked_for(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvrtc = load("_nvrtc")
    fake_torch(monkeypatch, tmp_path, None)
    with pytest.raises(nvrtc.NotCompiledError, match=r"torch 2\.0 is not built for CUDA"):
        nvrtc.machine_code(EMPTY, "sm_90a", [])
    fake_torch(monkeypatch, tmp_path, "7.5")
    with pytest.raises(nvrtc.NotCompiledError, match=r"no NVRTC of CUDA 7: .*nvrtc"):
        nvrtc.machine_code(EMPTY, "sm_90a", [])


def test_it_compiles_to_machine_code(nvrtc: Any) -> None:
    code = nvrtc.machine_code(EMPTY, "sm_90a", ["-std=c++17"])
    assert code.startswith(b"\x7fELF")
    assert b"nothing" in code


def test_it_compiles_once_and_again_what_is_damaged(
    nvrtc: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    code: bytes = nvrtc.machine_code(EMPTY, "sm_90a", [])
    compiled: list[Any] = []

    def note(*one: object) -> bytes:
        compiled.append(one)
        return code

    monkeypatch.setattr(nvrtc, "_compiled", note)
    assert nvrtc.machine_code(EMPTY, "sm_90a", []) == code
    assert not compiled
    nvrtc.machine_code(EMPTY, "sm_90a", ["-std=c++17"])
    nvrtc.machine_code(EMPTY.replace("nothing", "other"), "sm_90a", [])
    assert len(compiled) == 2
    (kept,) = [path for path in tmp_path.glob("*/*.cubin") if path.read_bytes() == code][:1]
    kept.write_bytes(b"")
    for _ in range(2):
        nvrtc.machine_code(EMPTY, "sm_90a", ["-std=c++17"])
        nvrtc.machine_code(EMPTY.replace("nothing", "other"), "sm_90a", [])
        nvrtc.machine_code(EMPTY, "sm_90a", [])
    assert len(compiled) == 3


def test_it_says_what_the_compiler_says(nvrtc: Any) -> None:
    with pytest.raises(nvrtc.NotCompiledError, match=r"NVRTC for sm_90a: .*undefined"):
        nvrtc.machine_code("__device__ int a = b;", "sm_90a", [])
