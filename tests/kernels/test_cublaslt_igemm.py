"""The cuBLASLt kernel: its calls on a pretended GPU that really multiplies, and on a real one."""

from __future__ import annotations

import ctypes.util
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

Start = Callable[..., Any]
Load = Callable[[str], Any]

VARIANTS = ["row-major", "col4_4r2_8c", "col32_2r_4r4", "awkward"]
LAYOUTS = VARIANTS[:3]


def run(start: Start, pretended: Path, fault: str = "", **request: object) -> Any:  # noqa: ANN401 - the Answer of conftest.py
    env = {"LD_LIBRARY_PATH": str(pretended), "PRETEND": fault}
    request.setdefault("torch_cuda", "13.0")
    return start("cublaslt_igemm", env=env, paths=[pretended / "site"], **request)


@pytest.mark.parametrize("variant", LAYOUTS)
def test_every_layout_is_right_bit_for_bit(start: Start, pretended: Path, variant: str) -> None:
    one = run(start, pretended).one(variant)
    assert (one["outcome"], one["device"]) == ("passed", "cuda:0")
    assert one["numbers"]["max_abs_error"] == one["numbers"]["tolerance"] == 0
    assert one["path_taken"] == f"{variant} IMMA, int32 sums"
    assert one["evidence"][0] == "Pretend GPU, SM 8.6"
    assert one["evidence"][1].endswith("libcublasLt.so.13, version 130100")


def test_awkward_sizes_are_exact_or_refused_and_then_exact_once_padded(
    start: Start, pretended: Path
) -> None:
    one = run(start, pretended).one("awkward")
    assert one["outcome"] == "passed"
    assert (one["numbers"]["exact"], one["numbers"]["refused"]) == (2, 2)
    assert "1 x 24 x 1552: exact" in one["evidence"]
    assert "17 x 24 x 1541: refused, exact padded to whole 4s" in one["evidence"]
    assert one["numbers"]["gpu_mib"] < 64


@pytest.mark.parametrize(
    ("fault", "variants", "outcome", "code", "words"),
    [
        ("off-by-one", LAYOUTS, "wrong", "wrong-value", "1 of 6144 sums differ, the worst by 1"),
        ("odd-sums", VARIANTS[3:], "wrong", "wrong-value", "17 x 24 x 1540: 1 of 408 sums differ"),
        ("fp32-sums", VARIANTS, "wrong", "silent-slow-path", "FMA, fp32 sums"),
        ("not-supported", LAYOUTS[1:], "failed", "no-algorithm", "no algorithm for int8"),
        ("no-ampere", LAYOUTS[2:], "failed", "no-algorithm", "col32_2r_4r4 on SM 8.6"),
        ("illegal-address", VARIANTS, "failed", "failed", "CUDA_ERROR_ILLEGAL_ADDRESS"),
        ("not-initialized", VARIANTS, "failed", "failed", "cublasLtCreate answered NOT_INITIAL"),
        ("starved", VARIANTS, "skipped", "out-of-memory", "cublasLtCreate answered NOT_INITIAL"),
        ("occupied", VARIANTS, "skipped", "gpu-busy", "CUDA_ERROR_DEVICE_UNAVAILABLE (46)"),
        ("mismatch", VARIANTS, "failed", "driver-mismatch", "user-space driver is of another"),
        ("fabric", VARIANTS, "failed", "fabric-not-ready", "nvidia-fabricmanager"),
        ("full", VARIANTS, "skipped", "out-of-memory", "CUDA_ERROR_OUT_OF_MEMORY"),
        ("no-device", VARIANTS, "skipped", "no-gpu", "no such CUDA device"),
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


def test_a_crash_in_the_library_names_the_phase(start: Start, pretended: Path) -> None:
    answer = run(start, pretended, "crash")
    assert answer.returncode < 0
    assert answer.outcomes is None
    assert answer.phase == "multiplying row-major"


def test_a_device_that_is_not_there_is_skipped(start: Start, pretended: Path) -> None:
    one = run(start, pretended, device=3).one("row-major")
    assert (one["outcome"], one["code"], one["device"]) == ("skipped", "no-gpu", "cuda:3")


def test_another_major_than_torch_needs_is_named(start: Start, pretended: Path) -> None:
    one = run(start, pretended, torch_cuda="11.8").one("row-major")
    assert (one["outcome"], one["code"]) == ("failed", "wrong-major")
    assert "of CUDA 11 (torch is built for 11.8); found only" in one["detail"]
    assert "libcublasLt.so.13" in one["detail"]


def test_no_library_at_all_is_missing(start: Start, pretended: Path) -> None:
    if ctypes.util.find_library("cublasLt"):
        pytest.skip("a cuBLASLt of this machine is on the loader's path")
    one = run(start, pretended, torch_cuda="77.1", search=[]).one("row-major")
    assert (one["outcome"], one["code"]) == ("failed", "library-missing")


def test_a_file_that_is_no_library_has_failed(
    start: Start, pretended: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.so").write_text("text")
    one = run(start, pretended, library=str(tmp_path / "text.so")).one("row-major")
    assert (one["outcome"], one["code"]) == ("failed", "failed")
    assert "text.so" in one["detail"]


def test_without_a_driver_nothing_is_said_about_the_library(start: Start) -> None:
    answer = start("cublaslt_igemm", env={"CUDA_VISIBLE_DEVICES": "-1"}, torch_cuda="13.0")
    assert {one["code"] for one in answer.outcomes or []} == {"no-gpu"}


@pytest.mark.parametrize(
    ("cuda", "libraries", "majors"),
    [
        ("'12.8'", ["cuda118", "cuda130"], [12]),
        ("None", ["cuda118", "cuda128", "cuda130"], [13, 12, 11]),
        ("None", ["cuda117_nocublaslt"], [11]),
        ("None", ["cpu"], []),
    ],
)
def test_the_wanted_major_is_torchs_else_what_bitsandbytes_brings(
    tmp_path: Path, load: Load, cuda: str, libraries: list[str], majors: list[int]
) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "version.py").write_text(f"cuda: Optional[str] = {cuda}\nhip = None\n")
    (tmp_path / "bitsandbytes").mkdir()
    for name in libraries:
        (tmp_path / "bitsandbytes" / f"libbitsandbytes_{name}.so").touch()
    found, _ = load("_cublaslt").wanted_majors({}, [str(tmp_path)])
    assert found == majors


def test_the_reference_is_the_product_by_its_definition(load: Load) -> None:
    kernel = load("cublaslt_igemm")
    a, b = kernel.operands()
    assert (min(a), max(a)) == (-128, 127)
    wanted = kernel.reference(a, b)
    at = sum(a[5 * kernel.K + k] * b[7 * kernel.K + k] for k in range(kernel.K))
    assert wanted[5 * kernel.N + 7] == at
    assert len(wanted) == kernel.M * kernel.N
    shape = (2, 3, 1541)
    c, d = kernel.large_operands(shape)
    sums = kernel.reference(c, d, depth=1541)
    assert sums[4] == sum(c[1541 + k] * d[1541 + k] for k in range(1541))
    assert max(sums) > 2**24
    assert max(map(abs, wanted)) < 2**24


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_on_a_real_gpu_the_plain_layout_is_exact(start: Start) -> None:
    answer = start("cublaslt_igemm")
    plain = answer.one("row-major")
    if plain["code"] in ("library-missing", "wrong-major"):
        pytest.skip(plain["detail"])
    assert plain["outcome"] == "passed"
    awkward = answer.one("awkward")
    assert awkward["outcome"] == "passed", awkward
    for variant in LAYOUTS[1:]:
        one = answer.one(variant)
        assert (one["outcome"], one["code"]) in {("passed", None), ("failed", "no-algorithm")}


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("order", ["col32", "col32_2r_4r4"])
def test_on_a_real_gpu_tiled_orders_lie_as_documented(load: Load, order: str) -> None:
    """The legacy products need a GPU that still has them; their operands' layouts do not."""
    kernel, api, made = load("cublaslt_igemm"), load("_cublaslt"), load("_outcomes")
    try:
        place = api.choose(made, {})
    except made.Refused as error:
        pytest.skip(str(error))
    device, library = load("_cuda").acquire(made, 0, lambda _text: None), api.Library(place)
    _, values = kernel.operands()
    plain = device.put(bytes(value & 255 for value in values))
    _, block = kernel._tiled(api, (device, library), order, kernel.N, plain)
    tiled = device.get(block, kernel.N * kernel.K)
    device.free()
    for row in (0, 1, 5, 8, 31, 32, 95):
        for column in (0, 1, 31, 32, 77, 159):
            if order == "col32":
                at = row * 32
            else:
                r = row % 32
                at = row // 32 * 1024 + ((r % 8 // 2 * 4 + r // 8) * 2 + r % 2) * 32
            at += column // 32 * 32 * kernel.N + column % 32
            assert tiled[at] == values[row * kernel.K + column] & 255
