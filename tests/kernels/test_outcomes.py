"""What an exception means as an outcome: shortages are not failures."""

from __future__ import annotations

import shutil
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

Load = Callable[[str], Any]


@pytest.mark.parametrize(
    ("error", "outcome", "code"),
    [
        (
            RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
            "skipped",
            "out-of-memory",
        ),
        (RuntimeError("Triton Error [CUDA]: out of memory"), "skipped", "out-of-memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), "skipped", "out-of-memory"),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate "
                "memory: you tried to allocate 36000000000 bytes."
            ),
            "skipped",
            "out-of-memory",
        ),
        (MemoryError(), "skipped", "out-of-memory"),
        (
            RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable"),
            "skipped",
            "gpu-busy",
        ),
        (RuntimeError("CUDA error: an illegal memory access"), "failed", "failed"),
        (ValueError("out of memory"), "failed", "failed"),
        (ImportError("no such library"), "failed", "import-failed"),
    ],
)
def test_shortages_are_told_from_failures(
    load: Load, error: Exception, outcome: str, code: str
) -> None:
    one = load("_outcomes").from_error(error)
    assert (one["outcome"], one["code"], one["ran"]) == (outcome, code, outcome != "skipped")


@pytest.mark.parametrize(
    ("device", "free", "outcome"),
    [
        ("cuda:0", 12.0, "skipped"),
        ("cuda:0", 4096.0, "failed"),
        ("cuda:0", None, "failed"),
        ("cpu", 12.0, "failed"),
        ("sm_90", 12.0, "failed"),
        (None, 12.0, "failed"),
    ],
)
def test_any_failure_on_a_nearly_full_gpu_is_could_not_tell(
    load: Load,
    monkeypatch: pytest.MonkeyPatch,
    device: str | None,
    free: float | None,
    outcome: str,
) -> None:
    made = load("_outcomes")
    monkeypatch.setattr(made, "free_gpu_mib", lambda: free)
    error = RuntimeError("CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`")
    one = made.from_error(error, device=device)
    assert one["outcome"] == outcome
    assert "CUBLAS_STATUS_NOT_INITIALIZED" in one["detail"]
    assert ("12 MiB of GPU memory were free" in one["evidence"]) == (outcome == "skipped")


def test_an_answer_of_the_library_stays_one_however_full_the_gpu_is(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = load("_outcomes")
    monkeypatch.setattr(made, "free_gpu_mib", lambda: 1.0)
    one = made.from_error(made.Refused("no-algorithm", "none here"), device="cuda:0")
    assert (one["outcome"], one["code"]) == ("failed", "no-algorithm")


@pytest.mark.parametrize(
    ("code", "free", "outcome"),
    [
        ("failed", 0.1, "skipped"),
        ("no-c-compiler", 0.1, "skipped"),
        ("failed", 100.0, "failed"),
        ("failed", None, "failed"),
        ("no-algorithm", 0.1, "failed"),
        ("no-gpu", 0.1, "skipped"),
    ],
)
def test_a_failure_beside_a_full_temporary_folder_is_could_not_tell(
    load: Load, monkeypatch: pytest.MonkeyPatch, code: str, free: float | None, outcome: str
) -> None:
    made = load("_outcomes")
    monkeypatch.setattr(made, "free_disk_mib", lambda: free)
    kinds = {"failed": RuntimeError("gcc"), "no-gpu": made.Skipped("no-gpu", "none")}
    one = made.from_error(kinds.get(code, made.Refused(code, "why")))
    room = outcome == "skipped" and code != "no-gpu"
    assert (one["outcome"], one["code"]) == (outcome, "no-temporary-folder" if room else code)
    assert ("0.1 MiB are free for temporary files" in " ".join(one["evidence"])) == room


def test_the_room_for_temporary_files_is_known(
    load: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made, asked = load("_outcomes"), []

    def usage(path: str) -> types.SimpleNamespace:
        asked.append(path)
        return types.SimpleNamespace(free=3 << 19)

    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    assert made.free_disk_mib() is None
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert made.free_disk_mib() == 1.5
    assert asked == [str(tmp_path)]


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_free_memory_is_known_only_while_a_context_lives(load: Load) -> None:
    made, cuda = load("_outcomes"), load("_cuda")
    device = cuda.acquire(made, 0, lambda _text: None)
    free = made.free_gpu_mib()
    assert free == pytest.approx(device.memory[0] / 2**20, rel=0.1)
