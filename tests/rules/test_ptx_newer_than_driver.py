"""ptx-newer-than-driver: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "ptx-newer-than-driver"

ONLY_PTX: dict[str, Any] = {
    "package": "my_kernels",
    "file": "my_kernels.so",
    "sm": ["sm_80"],
    "ptx": ["sm_80"],
    "ptx_isa": {"sm_80": "9.0"},
}
OLD_DRIVER = {"version": "550.54.14", "cuda": "12.4"}
TEXT = "CUDA runtime error: the provided PTX was compiled with an unsupported toolchain."


def test_fires_on_ptx_of_a_newer_toolkit(ask: Ask) -> None:
    found = ask("h100", native=[ONLY_PTX], driver=OLD_DRIVER, torch_cuda="12.4")[NAME]
    assert found.title == "driver 550.54.14 cannot compile my_kernels's PTX"
    assert "PTX 9.0" in found.because[0].text
    assert [fix.action for fix in found.fixes] == ["upgrade-driver", "rebuild"]


def test_bitsandbytes_backends_are_taken_away(ask: Ask) -> None:
    bnb = {**ONLY_PTX, "package": "bitsandbytes", "file": "libbitsandbytes_cuda124.so"}
    found = ask("h100", native=[bnb], driver=OLD_DRIVER, torch_cuda="12.4")[NAME]
    assert "bnb-nf4" in found.affects


def test_torch_s_cuda_version_tells_where_its_library_was_not_read(ask: Ask) -> None:
    torch = {"torch": "2.6.0+cu126"}
    found = ask(
        "h100",
        packages=torch,
        torch_cuda="12.6",
        torch_arch_list=["sm_80", "compute_80"],
        driver={"version": "550.54.14", "cuda": "12.4"},
    )[NAME]
    assert found.severity == "error"
    assert "torch" in found.title


def test_a_later_toolkit_may_write_the_same_ptx(ask: Ask) -> None:
    found = ask(
        "h100",
        packages={"torch": "2.6.0+cu126"},
        torch_cuda="12.6",
        torch_arch_list=["sm_80", "compute_80"],
        driver={"version": "555.42.06", "cuda": "12.5"},
    )
    assert NAME not in found


def test_is_silent_where_machine_code_serves(ask: Ask) -> None:
    native = [{**ONLY_PTX, "sm": ["sm_90"]}]
    assert NAME not in ask("h100", native=native, driver=OLD_DRIVER, torch_cuda="12.4")


def test_is_silent_where_the_driver_is_new_enough(ask: Ask) -> None:
    assert NAME not in ask("h100", native=[ONLY_PTX])


def test_is_silent_where_the_ptx_version_is_not_known(ask: Ask) -> None:
    native = [{**ONLY_PTX, "ptx_isa": None}]
    assert NAME not in ask("h100", native=native, driver=OLD_DRIVER, torch_cuda="12.4")


def test_is_silent_where_the_driver_is_not_known(ask: Ask) -> None:
    assert NAME not in ask("h100", native=[ONLY_PTX], driver=None)


def test_a_text_accuses_and_the_toolkit_names_the_driver(ask: Ask) -> None:
    found = ask("h100", error=TEXT, toolkit_cuda="13.2")[NAME]
    assert found.explains_error
    assert (found.fixes[0].action, found.fixes[0].spec) == ("upgrade-driver", ">=595.45.04")
