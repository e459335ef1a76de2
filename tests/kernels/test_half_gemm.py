"""The half-precision baseline: a real product on whatever is here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

Start = Callable[..., Any]
Load = Callable[[str], Any]


def test_runs_for_real_here(start: Start) -> None:
    pytest.importorskip("torch")
    one = start("half_gemm").one("half")
    assert (one["outcome"], one["ran"]) == ("passed", True)
    assert 0 < one["numbers"]["rel_error"] <= one["numbers"]["tolerance"]
    assert one["numbers"]["milliseconds"] > 0
    assert one["path_taken"].endswith(f"on {one['device']}")


def test_without_a_visible_gpu_it_says_cpu(start: Start) -> None:
    pytest.importorskip("torch")
    one = start("half_gemm", env={"CUDA_VISIBLE_DEVICES": ""}).one("half")
    assert (one["outcome"], one["device"]) == ("passed", "cpu")
    assert one["path_taken"] == "torch.matmul bfloat16 on cpu"
    assert "sees no usable GPU" in one["evidence"][0]


def test_a_torch_that_does_not_import_has_failed_with_its_words(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('libcudnn.so.9: gone')\n")
    answer = start("half_gemm", paths=[tmp_path])
    one = answer.one("half")
    assert (one["outcome"], one["code"]) == ("failed", "import-failed")
    assert one["detail"] == "ImportError: libcudnn.so.9: gone"
    assert answer.phase == "importing torch"


@pytest.mark.parametrize(
    ("forge", "code"),
    [("reference", "wrong-value"), ("dtype", "silent-slow-path")],
)
def test_wrong_numbers_and_another_precision_are_told(
    monkeypatch: pytest.MonkeyPatch, load: Load, forge: str, code: str
) -> None:
    torch: Any = pytest.importorskip("torch")
    kernel = load("half_gemm")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    if forge == "reference":
        exact = kernel.reference
        monkeypatch.setattr(kernel, "reference", lambda a, b: exact(a, b) * 1.01)
    else:
        matmul = torch.Tensor.__matmul__
        widened = lambda a, b: matmul(a.float(), b.float())  # noqa: E731 - put in its place
        monkeypatch.setattr(torch.Tensor, "__matmul__", widened)
    (one,) = kernel.run({})
    assert (one["outcome"], one["code"]) == ("wrong", code)


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_on_a_real_gpu_it_runs_there(start: Start) -> None:
    pytest.importorskip("torch")
    one = start("half_gemm").one("half")
    assert (one["outcome"], one["device"]) == ("passed", "cuda:0")
