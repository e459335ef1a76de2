"""bnb-no-sm-binary: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "bnb-no-sm-binary"

WITHOUT = [
    {"package": "bitsandbytes", "file": "libbitsandbytes_cuda130.so", "sm": ["sm_75"], "ptx": []}
]
WITH = [{**WITHOUT[0], "sm": ["sm_75", "sm_90"]}]
UNREAD = [{"package": "bitsandbytes", "file": "libbitsandbytes_cuda130.so"}]


def test_fires_on_a_library_without_kernels_for_the_gpu(ask: Ask) -> None:
    found = ask("h100", native=WITHOUT)[NAME]
    assert found.severity == "warning"
    assert "bnb-nf4" in found.affects


def test_the_released_wheel_is_better_than_this_copy(ask: Ask) -> None:
    fix = ask("h100", native=WITHOUT)[NAME].fixes[0]
    assert (fix.action, fix.spec) == ("reinstall", "==0.50.2")


def test_is_silent_where_the_kernels_are_there(ask: Ask) -> None:
    assert NAME not in ask("h100", native=WITH)


def test_is_silent_where_the_library_was_not_read(ask: Ask) -> None:
    assert NAME not in ask("h100", native=UNREAD)


def test_a_text_of_its_source_file_accuses(ask: Ask) -> None:
    text = "no kernel image is available for execution on the device at line 479 in file ops.cu"
    assert ask("h100", error=text, native=UNREAD)[NAME].explains_error


def test_a_build_that_is_not_known_gives_way_to_the_released_wheel(ask: Ask) -> None:
    text = (
        "Error no kernel image is available for execution on the device at line 167 in file ops.cu"
    )
    nothing = {"torch": None, "triton": None, "bitsandbytes": None}
    found = ask("h100", error=text, native=None, packages=nothing, host={"os": "windows"})[NAME]
    assert (found.fixes[0].action, found.fixes[0].package) == ("install", "bitsandbytes")
    assert found.fixes[0].spec == ">=0.48.0"  # the first with SM 9.0 for this torch's CUDA 13.0


def test_a_library_of_ones_own_holds_other_kernels_than_the_wheel(ask: Ask) -> None:
    text = "Error named symbol not found at line 117 in file /home/u/bitsandbytes/csrc/ops.cu"
    found = ask("h100", error=text, native=None)[NAME]
    assert found.explains_error
    assert [fix.action for fix in found.fixes[:2]] == ["rebuild", "reinstall"]
    assert NAME not in ask("h100", error=text, native=WITH)
