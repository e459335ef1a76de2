"""torch.compile: really compiled on the CPU, switched off in every way, run on a GPU."""

from __future__ import annotations

import math
import os
import shutil
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

torch = pytest.importorskip("torch")

Start = Callable[..., Any]
Load = Callable[[str], Any]

needs_compiler = pytest.mark.skipif(
    not (os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")),
    reason="needs a C++ compiler",
)


@needs_compiler
def test_on_the_cpu_it_compiles_to_cpp_and_leaves_nothing_behind(
    start: Start, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    answer = start("torch_compile_minimal", env={"TMPDIR": str(scratch)}, device=None)
    one = answer.one("cpu")
    assert (one["outcome"], one["device"], one["ran"]) == ("passed", "cpu", True), one
    assert one["path_taken"].startswith("inductor, C++ cpp_fused_")
    assert one["numbers"]["max_rel_error"] <= one["numbers"]["tolerance"]
    assert one["numbers"]["generated_kernels"] >= 1
    assert [path for path in scratch.rglob("*") if path.is_file()] == []


def test_switched_off_it_is_a_silent_slow_path_and_the_switch_is_named(start: Start) -> None:
    one = start("torch_compile_minimal", env={"TORCHDYNAMO_DISABLE": "1"}).one("cpu")
    assert (one["outcome"], one["code"]) == ("wrong", "silent-slow-path")
    assert one["path_taken"] == "eager torch"
    assert one["evidence"] == ["TORCHDYNAMO_DISABLE=1"]


def test_without_a_compiler_it_fails_in_torchs_own_words(start: Start) -> None:
    one = start("torch_compile_minimal", env={"CXX": "/bin/false"}).one("cpu")
    assert (one["outcome"], one["code"]) == ("failed", "failed")
    assert "/bin/false" in one["detail"]


def test_suppressed_errors_do_not_pass(start: Start) -> None:
    env = {"CXX": "/bin/false", "TORCHDYNAMO_SUPPRESS_ERRORS": "1"}
    one = start("torch_compile_minimal", env=env).one("cpu")
    assert one["outcome"] in {"wrong", "failed"}
    assert one["outcome"] == "failed" or one["code"] == "silent-slow-path"


def test_the_cpu_is_asked_once_for_all_gpus(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = load("torch_compile_minimal")
    monkeypatch.setattr(kernel, "_guarded", lambda _made, variant, device: (variant, device))
    assert list(kernel.run({"device": 0})) == [("gpu", "cuda:0"), ("cpu", "cpu")]
    assert list(kernel.run({"device": 1})) == [("gpu", "cuda:1")]


def judged(load: Load, names: list[str], **changed: float) -> Any:  # noqa: ANN401
    numbers = {"max_rel_error": 1e-8, "generated_kernels": 1, "compile_seconds": 2.0} | changed
    kernel = load("torch_compile_minimal")
    return kernel.judged(load("_outcomes"), "gpu", numbers, names)


def test_a_generated_kernel_with_right_numbers_passes(load: Load) -> None:
    one = judged(load, ["triton_poi_fused_mul_sin_0"])
    assert (one["outcome"], one["path_taken"]) == (
        "passed",
        "inductor, Triton triton_poi_fused_mul_sin_0",
    )


@pytest.mark.parametrize("error", [1e-5, math.nan])
def test_wrong_numbers_are_wrong_whatever_was_generated(load: Load, error: float) -> None:
    one = judged(load, ["triton_poi_fused_mul_sin_0"], max_rel_error=error)
    assert (one["outcome"], one["code"]) == ("wrong", "wrong-value")


@pytest.mark.parametrize(("names", "count"), [([], 1), (["triton_poi_fused_mul_sin_0"], 0)])
def test_half_a_proof_is_none(load: Load, names: list[str], count: int) -> None:
    one = judged(load, names, generated_kernels=count)
    assert (one["outcome"], one["code"]) == ("wrong", "silent-slow-path")


def test_the_cache_of_the_environment_is_put_back(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = load("torch_compile_minimal")
    for before in ("/somewhere", None):
        monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
        if before:
            monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", before)
        with kernel._fresh_cache() as folder:
            assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(folder)
            (folder / "aa").mkdir()
            (folder / "aa" / "b.py").write_text("triton_poi_fused_a_0 = 1\ntriton_helpers = 2\n")
            assert kernel._generated(folder, kernel.GENERATED["gpu"]) == ["triton_poi_fused_a_0"]
        assert os.environ.get("TORCHINDUCTOR_CACHE_DIR") == before
        assert not folder.exists()


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_on_a_real_gpu_inductor_writes_triton(start: Start) -> None:
    pytest.importorskip("triton")
    one = start("torch_compile_minimal").one("gpu")
    assert (one["outcome"], one["device"]) == ("passed", "cuda:0"), one
    assert "Triton triton_" in one["path_taken"]


def test_only_settings_that_this_release_has_are_changed(load: Load) -> None:
    kernel = load("torch_compile_minimal")
    config = types.SimpleNamespace(compile_threads=8, cpp=types.SimpleNamespace(threads=1))
    has = [name for name in kernel.SETTINGS if kernel._has(config, name)]
    assert has == ["compile_threads"]
    assert kernel._has(config, "cpp.threads")
