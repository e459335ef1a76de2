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


def on_rocm(ask: Ask, gpu: dict[str, str], release: str, error: str | None = None) -> list[Finding]:
    packages = {"torch": "2.9.1+rocm6.4", "bitsandbytes": release, "triton": None}
    gpus = [{"index": 0, "vendor": "amd", **gpu}]
    found = ask("a100", error, packages=packages, torch_cuda=None, gpus=gpus, native=None)
    return list(found.values())


def test_an_amd_gpu_whose_target_no_library_for_rocm_holds_is_named_from_facts_alone(
    ask: Ask,
) -> None:
    for gpu in ({"name": "AMD Instinct MI60"}, {"name": "AMD Radeon VII (gfx906)"}):
        first = on_rocm(ask, gpu, "0.50.2")[0]
        assert (first.rule, first.severity, first.fixes[0].action) == (NAME, "warning", "rebuild")
        assert "gfx906" in first.title


def test_a_release_that_holds_the_target_is_offered(ask: Ask) -> None:
    first = on_rocm(ask, {"arch": "gfx1030"}, "0.49.2")[0]
    assert (first.rule, first.fixes[0].action, first.fixes[0].spec) == (NAME, "upgrade", ">=0.50.2")


def test_an_amd_gpu_that_is_served_or_not_known_is_not_accused(ask: Ask) -> None:
    for gpu in ({"arch": "gfx1100"}, {"name": "AMD Instinct MI300X"}, {"name": "AMD Radeon"}):
        assert NAME not in {one.rule for one in on_rocm(ask, gpu, "0.50.2")}


def test_a_text_about_the_target_is_explained_by_it(ask: Ask) -> None:
    text = "the bitsandbytes wheel has no gfx906 kernels"
    first = on_rocm(ask, {"arch": "gfx906"}, "0.49.1", text)[0]
    assert (first.rule, first.explains_error, first.undecided) == (NAME, True, None)
