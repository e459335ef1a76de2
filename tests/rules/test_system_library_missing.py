"""system-library-missing: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "system-library-missing"
MISSING = "OSError: {}: cannot open shared object file: No such file or directory"


def test_names_the_package_that_holds_the_library(ask: Ask) -> None:
    found = ask("h100", MISSING.format("libopenblas.so.0"))[NAME]
    assert found.explains_error
    assert found.fixes[0].command == "apt-get install libopenblas-dev"


def test_a_hash_in_the_name_plays_no_part(ask: Ask) -> None:
    found = ask("h100", MISSING.format("libgomp-a34b3233.so.1"))[NAME]
    assert found.fixes[0].package == "libgomp1"


def test_says_where_the_package_is_known_to_bring_another_version(ask: Ask) -> None:
    found = ask("h100", MISSING.format("libssl.so.1.1"))[NAME]
    assert (
        found.fixes[0].why
        == "it brings libssl.so.3; libssl.so.1.1 may be of another release of the system"
    )
    assert any("libssl.so.3" in because.text for because in found.because)
    found = ask("h100", MISSING.format("libgomp-a34b3233.so.1"))[NAME]
    assert found.fixes[0].why == "it brings libgomp.so.1"


def test_a_loader_without_room_is_told_what_to_load_first(ask: Ask) -> None:
    text = "/x/torch.libs/libgomp-804f19d4.so.1.0.0: cannot allocate memory in static TLS block"
    assert ask("h100", text)[NAME].fixes[0].name == "LD_PRELOAD"


def test_where_the_system_is_not_known_the_command_is_still_offered(ask: Ask) -> None:
    found = ask("h100", MISSING.format("libGL.so.1"), host={"os": None})[NAME]
    assert found.fixes[0].command == "apt-get install libgl1"


def test_is_silent_about_libraries_that_packages_bring(ask: Ask) -> None:
    assert NAME not in ask("h100", MISSING.format("libcudart.so.12"))
    assert NAME not in ask("h100")


def test_the_library_of_a_python_is_named_after_its_version(ask: Ask) -> None:
    found = ask("h100", MISSING.format("libpython3.10.so.1.0"))[NAME]
    assert [(one.action, one.name) for one in found.fixes] == [
        ("install-system", "libpython3.10"),
        ("set-env", "LD_LIBRARY_PATH"),
    ]


def test_a_loader_without_room_does_not_miss_the_library(ask: Ask) -> None:
    text = "ImportError: libgomp.so.1: cannot allocate memory in static TLS block"
    assert ask("h100", text)[NAME].fixes[0].name == "LD_PRELOAD"


def test_libraries_of_ffmpeg_and_intel_are_of_the_system(ask: Ask) -> None:
    for library, package in [("libavutil.so.56", "ffmpeg"), ("libze_loader.so.1", "libze1")]:
        found = ask("h100", MISSING.format(library))[NAME]
        assert found.fixes[0].package == package


def test_torchcodec_needs_ffmpeg(ask: Ask) -> None:
    text = "RuntimeError: Could not load libtorchcodec. Likely causes:"
    found = ask("h100", text)[NAME]
    assert [(one.action, one.package) for one in found.fixes] == [
        ("install-system", "ffmpeg"),
        ("reinstall", "torchcodec"),
    ]


def test_mkl_comes_with_its_own_package(ask: Ask) -> None:
    found = ask("h100", MISSING.format("libmkl_intel_lp64.so.1"))[NAME]
    assert found.fixes[0].package == "mkl"
