"""CUDA alive: the driver's calls on a pretended driver, its PTX by real compilers, a real GPU."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., Any]
Load = Callable[[str], Any]

VARIANTS = ["context", "copy", "ptx-jit"]


def run(start: Start, pretended: Path, fault: str = "", **request: object) -> Any:  # noqa: ANN401 - the Answer of conftest.py
    env = {"LD_LIBRARY_PATH": str(pretended), "PRETEND": fault}
    return start("cuda_alive", env=env, **request)


def test_all_is_well_and_each_number_has_its_path(start: Start, pretended: Path) -> None:
    answer = run(start, pretended)
    assert [one["outcome"] for one in answer.outcomes] == ["passed"] * 3
    context, copy, jit = answer.outcomes
    assert context["detail"] == "a context on Pretend GPU; the driver serves CUDA 12.8"
    assert context["evidence"] == ["Pretend GPU, SM 8.6", "compute mode DEFAULT"]
    assert context["numbers"]["free_mib"] == context["numbers"]["total_mib"] == 16384
    assert copy["numbers"]["bytes"] == 2 << 20
    assert copy["numbers"]["gpu_mib"] == 4
    assert jit["path_taken"] == "cuModuleLoadDataEx: PTX 3.0 for sm_30"
    assert jit["numbers"]["ptx_newest"] == 8.8
    assert "Compiling entry function 'fill' for 'sm_86'" in jit["evidence"][0]


@pytest.mark.parametrize(
    ("fault", "variants", "outcome", "code", "words"),
    [
        ("no-device", VARIANTS, "skipped", "no-gpu", "no such CUDA device"),
        ("full", VARIANTS, "skipped", "out-of-memory", "CUDA_ERROR_OUT_OF_MEMORY (2)"),
        ("occupied", VARIANTS, "skipped", "gpu-busy", "CUDA_ERROR_DEVICE_UNAVAILABLE (46)"),
        ("fabric", VARIANTS, "failed", "fabric-not-ready", "(802): the system is not ready"),
        ("mismatch", VARIANTS, "failed", "driver-mismatch", "(803): the user-space driver"),
        ("compat", VARIANTS, "failed", "compat-not-supported", "(804): the cuda-compat driver"),
        ("unknown", VARIANTS, "failed", "driver-broken", "cuInit answered CUDA_ERROR (999)"),
        ("no-compiler", ["ptx-jit"], "failed", "jit-compiler-missing", "libnvidia-ptxjitcompiler"),
        ("miscompiled", ["ptx-jit"], "wrong", "wrong-value", "1 of 256 values differ"),
        ("launch-failed", ["ptx-jit"], "failed", "failed", "cuLaunchKernel answered"),
        ("illegal-address", VARIANTS[1:], "failed", "failed", "CUDA_ERROR_ILLEGAL_ADDRESS (700)"),
    ],
)
def test_each_fault_is_told_apart(  # noqa: PLR0913, PLR0917 - a table
    start: Start,
    pretended: Path,
    fault: str,
    variants: list[str],
    outcome: str,
    code: str,
    words: str,
) -> None:
    answer = run(start, pretended, fault)
    for variant in VARIANTS:
        one = answer.one(variant)
        if variant in variants:
            assert (one["outcome"], one["code"]) == (outcome, code)
            assert words in one["detail"]
        else:
            assert one["outcome"] == "passed"


def test_a_bit_that_flips_on_the_way_back_is_seen(start: Start, pretended: Path) -> None:
    answer = run(start, pretended, "flipped-bit")
    copy = answer.one("copy")
    assert (copy["outcome"], copy["code"]) == ("wrong", "wrong-value")
    assert copy["detail"] == "1 of 2097152 bytes came back changed"
    assert answer.one("ptx-jit")["detail"] == "1 of 256 values differ, the first is 40503"


def test_ptx_newer_than_the_driver_is_refused_with_its_compilers_words(
    start: Start, pretended: Path
) -> None:
    answer = run(start, pretended, ptx_version="9.9")
    one = answer.one("ptx-jit")
    assert (one["outcome"], one["code"]) == ("failed", "ptx-newer-than-driver")
    assert "CUDA_ERROR_UNSUPPORTED_PTX_VERSION (222)" in one["detail"]
    assert "current version is '8.8'" in one["detail"]
    assert answer.one("copy")["outcome"] == "passed"


def test_a_driver_that_does_not_name_its_newest_ptx_still_passes(
    start: Start, pretended: Path
) -> None:
    one = run(start, pretended, "terse").one("ptx-jit")
    assert one["outcome"] == "passed"
    assert "ptx_newest" not in one["numbers"]
    assert "does not say which PTX is its newest" in one["evidence"][1]


def test_without_a_driver_there_is_no_gpu(start: Start) -> None:
    answer = start("cuda_alive", env={"CUDA_VISIBLE_DEVICES": "-1"})
    assert {one["code"] for one in answer.outcomes} == {"no-gpu"}
    assert {one["ran"] for one in answer.outcomes} == {False}


def test_the_reference_is_the_kernels_arithmetic(load: Load) -> None:
    kernel = load("cuda_alive")
    assert kernel.reference(3) == [
        kernel.OFFSET,
        kernel.FACTOR + kernel.OFFSET,
        (2 * kernel.FACTOR + kernel.OFFSET) % 2**32,
    ]
    sent = kernel.pattern(4096)
    assert sent == kernel.pattern(4096)
    assert len({sent[at : at + 16] for at in range(0, 4096, 16)}) == 256


@pytest.mark.parametrize("sm", ["sm_75", "sm_90", "sm_120"])
def test_the_text_is_ptx_that_real_compilers_assemble_for_newer_gpus(
    load: Load, tmp_path: Path, sm: str
) -> None:
    kernel = load("cuda_alive")
    text = kernel.PTX.format(version=kernel.PTX_VERSION, target=kernel.PTX_TARGET)
    (tmp_path / "kernel.ptx").write_text(text)
    command = [_ptxas(), f"-arch={sm}", "kernel.ptx", "-o", "kernel.cubin"]
    child = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (child.returncode, child.stderr) == (0, "")


def test_a_real_compiler_words_its_refusal_as_the_probe_reads_it(
    load: Load, tmp_path: Path
) -> None:
    kernel = load("cuda_alive")
    text = kernel.PTX.format(version=kernel.PTX_UNHEARD_OF, target=kernel.PTX_TARGET)
    (tmp_path / "kernel.ptx").write_text(text)
    command = [_ptxas(), "-arch=sm_75", "kernel.ptx", "-o", "kernel.cubin"]
    child = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert child.returncode != 0
    assert kernel.NEWEST.search(child.stdout + child.stderr)


def _ptxas() -> str:
    triton: Any = pytest.importorskip("triton")
    bundled = Path(triton.__file__).parent / "backends/nvidia/bin/ptxas-blackwell"
    found = str(bundled) if bundled.exists() else shutil.which("ptxas")
    if found is None:
        pytest.skip("no ptxas here")
    return found


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_on_a_real_gpu_everything_is_exact_and_newer_ptx_is_refused(start: Start) -> None:
    answer = start("cuda_alive")
    assert [one["outcome"] for one in answer.outcomes] == ["passed"] * 3
    newest = answer.one("ptx-jit")["numbers"]["ptx_newest"]
    assert newest >= 7.0
    refused = start("cuda_alive", ptx_version="99.9").one("ptx-jit")
    assert (refused["outcome"], refused["code"]) == ("failed", "ptx-newer-than-driver")
