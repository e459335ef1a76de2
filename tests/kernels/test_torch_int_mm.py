"""torch._int_mm: its product on this machine, forged ones, and a real GPU's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

Start = Callable[..., Any]
Load = Callable[[str], Any]


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401 - torch, on the CPU
    module: Any = pytest.importorskip("torch")
    if not hasattr(module, "_int_mm"):
        pytest.skip("this torch has no _int_mm")
    monkeypatch.setattr(module.cuda, "is_available", lambda: False)
    return module


def answers(kernel: Any) -> dict[str, dict[str, Any]]:  # noqa: ANN401 - a kernel's module
    return {one["variant"]: one for one in kernel.run({})}


def test_every_size_is_exact_on_the_cpu(start: Start) -> None:
    pytest.importorskip("torch")
    answer = start("torch_int_mm", env={"CUDA_VISIBLE_DEVICES": ""})
    for variant, sizes in (("plain", 2), ("awkward", 5)):
        one = answer.one(variant)
        assert (one["outcome"], one["device"]) == ("passed", "cpu")
        assert one["path_taken"] == "torch._int_mm on cpu"
        assert (one["numbers"]["exact"], one["numbers"]["differing"]) == (sizes, 0)


def test_sums_in_float32_are_wrong(
    load: Load,
    monkeypatch: pytest.MonkeyPatch,
    torch: Any,  # noqa: ANN401
) -> None:
    monkeypatch.setattr(torch, "_int_mm", lambda a, b: (a.float() @ b.float()).int())
    for one in answers(load("torch_int_mm")).values():
        assert (one["outcome"], one["code"]) == ("wrong", "wrong-value")
        assert "sums differ" in one["detail"]
        assert one["numbers"]["differing"] > 0
        assert "max_abs_error" not in one["numbers"]


def test_a_refusal_is_kept_in_its_words_and_padding_answers_it(
    load: Load,
    monkeypatch: pytest.MonkeyPatch,
    torch: Any,  # noqa: ANN401
) -> None:
    exact = torch._int_mm

    def as_on_cuda(a: Any, b: Any) -> Any:  # noqa: ANN401
        if a.shape[0] <= 16:
            raise RuntimeError("self.size(0) needs to be greater than 16, but got 1\nmore")
        if a.shape[1] % 8 or b.shape[1] % 8:
            raise RuntimeError("needs to be a multiple of 8")
        return exact(a, b)

    monkeypatch.setattr(torch, "_int_mm", as_on_cuda)
    found = answers(load("torch_int_mm"))
    assert found["plain"]["outcome"] == "passed"
    awkward = found["awkward"]
    assert (awkward["outcome"], awkward["numbers"]["refused"]) == ("passed", 4)
    assert awkward["detail"] == "1 sizes exact as they are, 4 refused and exact once padded"
    refusal = "refused (self.size(0) needs to be greater than 16, but got 1), exact once padded"
    assert f"1 x 4096 x 64: {refusal}" in awkward["evidence"]


@pytest.mark.parametrize(
    ("words", "outcome", "code"),
    [
        ("CUDA error: out of memory", "skipped", "out-of-memory"),
        ("CUBLAS_STATUS_ALLOC_FAILED when calling `cublasLtMatmul`", "skipped", "out-of-memory"),
        ("CUDA-capable device(s) is/are busy or unavailable", "skipped", "gpu-busy"),
        ("CUBLAS_STATUS_NOT_SUPPORTED when calling `cublasLtMatmul`", "failed", "failed"),
    ],
)
def test_shortages_are_no_refusals(  # noqa: PLR0913, PLR0917 - a table
    load: Load,
    monkeypatch: pytest.MonkeyPatch,
    torch: Any,  # noqa: ANN401
    words: str,
    outcome: str,
    code: str,
) -> None:
    def fail(_a: object, _b: object) -> None:
        raise RuntimeError(words)

    monkeypatch.setattr(torch, "_int_mm", fail)
    for one in answers(load("torch_int_mm")).values():
        assert (one["outcome"], one["code"]) == (outcome, code)
        assert words in one["detail"]


def test_a_torch_without_it_is_skipped_and_one_that_breaks_has_failed(
    start: Start, tmp_path: Path
) -> None:
    folder = tmp_path / "torch"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "__version__ = '1.13.1'\n"
        "class version: cuda = None\n"
        "class cuda: is_available = staticmethod(lambda: False)\n"
    )
    answer = start("torch_int_mm", paths=[tmp_path])
    assert {one["code"] for one in answer.outcomes} == {"not-shipped"}
    (folder / "__init__.py").write_text("raise ImportError('libcudnn.so.9: gone')\n")
    answer = start("torch_int_mm", paths=[tmp_path])
    assert {one["code"] for one in answer.outcomes} == {"import-failed"}


def test_the_operands_really_pass_what_float32_holds(load: Load, torch: Any) -> None:  # noqa: ANN401
    kernel = load("torch_int_mm")
    torch.manual_seed(8)
    a, b = kernel.operands(torch, (17, 4096, 8), "cpu")
    wanted = kernel.reference(a, b)
    assert int(wanted.max()) > 2**24
    assert int(wanted[3, 2]) == sum(int(x) * int(y) for x, y in zip(a[3], b[2], strict=True))


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_on_a_real_gpu_it_is_exact_by_int8_kernels_and_refuses_what_it_documents(
    start: Start,
) -> None:
    pytest.importorskip("torch")
    answer = start("torch_int_mm")
    for variant in ("plain", "awkward"):
        one = answer.one(variant)
        if one["code"] == "not-shipped":
            pytest.skip(one["detail"])
        assert (one["outcome"], one["device"]) == ("passed", "cuda:0")
        assert one["numbers"]["gpu_mib"] <= 64
