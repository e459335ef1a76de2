"""bnb-cuda-libs-not-found: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor.diagnosis import diagnose
from qdoctor.model import Facts, Finding, Host, Observation

Ask = Callable[..., dict[str, Finding]]

NAME = "bnb-cuda-libs-not-found"

MISSING = Observation(
    probe="cublaslt_igemm", outcome="failed", code="library-missing", detail="no libcublasLt.so.13"
)
OTHER = Observation(probe="cublaslt_igemm", outcome="failed", code="wrong-major", expected="pass")
FOUND = Observation(probe="cublaslt_igemm", outcome="passed", variant="plain", expected="pass")
TEXT = "libcusparse.so.11: cannot open shared object file: No such file or directory"


def test_tells_a_missing_library(ask: Ask) -> None:
    found = ask("h100", observations=(MISSING,))
    assert found[NAME].title == "the CUDA libraries are not found"
    assert "probe-failed" not in found


def test_tells_another_major(ask: Ask) -> None:
    found = ask("h100", observations=(OTHER,))
    assert "another CUDA major" in found[NAME].title
    assert "probe-contradicts-matrix" not in found


def test_is_silent_where_the_library_was_loaded(ask: Ask) -> None:
    assert NAME not in ask("h100", observations=(FOUND,))


def test_is_silent_where_nothing_ran(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_a_text_accuses_where_nothing_ran(ask: Ask) -> None:
    found = ask("h100", error=TEXT)[NAME]
    assert found.explains_error
    assert "libcusparse.so.11" in found.title


CUDA130 = {
    "package": "bitsandbytes",
    "file": "libbitsandbytes_cuda130.so",
    "sm": ["sm_90"],
    "ptx": [],
    "needs": ["libcublasLt.so.13", "libcudart.so.13"],
}


def test_tells_what_the_loader_would_not_find(ask: Ask) -> None:
    nowhere = {**CUDA130, "resolved": {"libcublasLt.so.13": "", "libcudart.so.13": "/x/cudart"}}
    found = ask("h100", native=[nowhere])[NAME]
    assert "libcublasLt.so.13" in found.because[0].text
    assert found.undecided is None
    assert "bnb-int8" in found.affects


def test_is_silent_where_the_loader_finds_them(ask: Ask) -> None:
    there = {**CUDA130, "resolved": {"libcublasLt.so.13": "/x/cublasLt"}}
    assert NAME not in ask("h100", native=[there])
    assert NAME not in ask("h100", native=[there], error=TEXT)


def test_a_library_that_is_not_loaded_does_not_count(ask: Ask) -> None:
    older = {
        **CUDA130,
        "file": "libbitsandbytes_cuda118.so",
        "resolved": {"libcublasLt.so.11": ""},
    }
    assert NAME not in ask("h100", native=[CUDA130, older])


def test_is_silent_where_nobody_followed_the_loader(ask: Ask) -> None:
    assert NAME not in ask("h100", native=[CUDA130])


def test_a_search_that_found_the_runtime_after_all_is_no_failure(ask: Ask) -> None:
    text = (
        "CUDA_SETUP: WARNING! libcudart.so not found in any environmental path. Searching in "
        "backup paths...\n"
        "CUDA SETUP: CUDA runtime path found: /usr/local/cuda/lib64/libcudart.so.11.0\n"
    )
    loaded = f"{text}CUDA SETUP: Loading binary /x/bitsandbytes/libbitsandbytes_cuda118.so...\n"
    nothing = {"torch": None, "triton": None, "bitsandbytes": None}
    found = ask("a100", error=loaded, packages=nothing, torch_cuda="11.8")
    assert [name for name, one in found.items() if one.explains_error] == ["harmless-warning"]
    cpu = loaded.replace("cuda118", "cpu")
    found = ask("a100", error=cpu, packages=nothing, torch_cuda="11.8")
    assert "harmless-warning" not in [name for name, one in found.items() if one.explains_error]


@pytest.mark.parametrize(
    "text",
    [
        "WARNING: No libcudart.so found! Install CUDA or the cudatoolkit package (anaconda)!",
        "CUDA_SETUP: WARNING! libcudart.so not found in any environmental path.",
        "ERROR: libcudart.so could not be read from path: None!",
    ],
)
def test_a_text_of_the_runtime_leads_where_nothing_else_is_known(text: str) -> None:
    found = diagnose(Facts(host=Host(os="linux")), error=text)[1]
    assert found[0].rule == NAME


def test_a_search_that_ends_well_misses_nothing() -> None:
    text = (
        "CUDA_SETUP: WARNING! libcudart.so not found in any environmental path. Searching...\n"
        "CUDA SETUP: WARNING! libcuda.so not found! Do you have a CUDA driver installed?\n"
        "CUDA SETUP: CUDA runtime path found: /usr/local/cuda/lib64/libcudart.so"
    )
    found = diagnose(Facts(host=Host(os="linux", wsl=True)), error=text)[1]
    assert found[0].rule == "libcuda-not-found"
