"""libcuda-not-found: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor.model import Finding, Observation

Ask = Callable[..., dict[str, Finding]]

NAME = "libcuda-not-found"

UNLINKED = Observation(
    probe="triton_toolchain",
    variant="libcuda",
    outcome="failed",
    code=NAME,
    detail="cannot find -lcuda",
)
NONE = {"libcuda": "", "libcuda_elsewhere": ""}
FOUND = {"libcuda": "/usr/lib/x86_64-linux-gnu/libcuda.so.1"}
WSL = {"libcuda": "", "libcuda_elsewhere": "/usr/lib/wsl/lib/libcuda.so.1"}


def test_fires_where_the_loader_finds_none(ask: Ask) -> None:
    found = ask("h100", driver=NONE)[NAME]
    assert (found.severity, found.title) == ("error", "the loader finds no libcuda.so.1")
    assert "gpu" in found.affects
    assert found.fixes[0].command == "sudo ldconfig"


def test_names_the_folder_that_the_loader_was_not_told_of(ask: Ask) -> None:
    ldconfig, variable = ask("h100", driver=WSL)[NAME].fixes
    assert ldconfig.command == "sudo ldconfig /usr/lib/wsl/lib"
    assert (variable.name, variable.value) == ("LD_LIBRARY_PATH", "/usr/lib/wsl/lib")


def test_in_a_container_the_driver_has_to_be_let_in(ask: Ask) -> None:
    found = ask("h100", driver=NONE, host={"container": "docker"})[NAME]
    assert "--gpus all" in found.fixes[0].why


def test_a_stub_is_no_driver(ask: Ask) -> None:
    stub = "/usr/local/cuda/lib64/stubs/libcuda.so.1"
    found = ask("h100", driver={"libcuda": stub})[NAME]
    assert (found.fixes[0].action, found.fixes[0].name) == ("unset-env", "LD_LIBRARY_PATH")


def test_what_the_linker_lacks_is_another_file(ask: Ask) -> None:
    found = ask("h100", driver=FOUND, observations=(UNLINKED,))[NAME]
    assert found.severity == "warning"
    assert "triton_toolchain" in found.affects
    link, _, path = found.fixes
    assert link.command == "sudo ln -s libcuda.so.1 /usr/lib/x86_64-linux-gnu/libcuda.so"
    assert (path.name, path.value) == ("TRITON_LIBCUDA_PATH", "/usr/lib/x86_64-linux-gnu")


def test_is_silent_where_it_is_found(ask: Ask) -> None:
    assert NAME not in ask("h100", driver=FOUND)


def test_is_silent_without_a_driver(ask: Ask) -> None:
    assert NAME not in ask("cpu", driver={"version": "", **NONE})


def test_is_silent_where_nobody_looked(ask: Ask) -> None:
    assert NAME not in ask("h100")


@pytest.mark.parametrize(
    "text",
    [
        "/usr/bin/ld: cannot find -lcuda",
        "AssertionError: libcuda.so cannot found!",
        "ImportError: libcuda.so.1: cannot open shared object file: No such file or directory",
    ],
)
def test_a_text_accuses_where_nobody_looked(ask: Ask, text: str) -> None:
    assert ask("h100", error=text)[NAME].explains_error


def test_is_silent_on_windows_whose_driver_has_no_such_file(ask: Ask) -> None:
    text = "CUDA SETUP: WARNING! libcuda.so not found! Do you have a CUDA driver installed?"
    assert NAME not in ask("h100", error=text, host={"os": "windows", "libc": None})


def test_in_wsl_the_folder_of_windows_is_named(ask: Ask) -> None:
    text = "OSError: libcuda.so: cannot open shared object file: No such file or directory"
    found = ask("h100", text, host={"wsl": True}, driver={"libcuda": None})["libcuda-not-found"]
    first = found.fixes[0]
    assert (first.action, first.value) == ("set-env", "/usr/lib/wsl/lib")


def test_on_windows_a_newer_triton_brings_what_it_links_with(ask: Ask) -> None:
    text = "LINK : fatal error LNK1181: cannot open input file 'cuda.lib'"
    found = ask("h100", error=text, host={"os": "windows", "libc": None})[NAME]
    assert found.explains_error
    assert (found.fixes[0].action, found.fixes[0].package) == ("upgrade", "triton-windows")


@pytest.mark.parametrize(
    "text",
    [
        "FileNotFoundError: [Errno 2] No such file or directory: '/sbin/ldconfig'",
        "PermissionError: [Errno 13] Permission denied: '/sbin/ldconfig'",
    ],
)
def test_without_ldconfig_triton_is_told_the_folder(ask: Ask, text: str) -> None:
    found = ask("h100", error=text)[NAME]
    assert found.explains_error
    first = found.fixes[0]
    assert (first.action, first.name, first.value) == ("set-env", "TRITON_LIBCUDA_PATH", None)
    assert not any(fix.name == "ldconfig" for fix in found.fixes)


def test_the_folder_is_named_where_it_is_known(ask: Ask) -> None:
    text = "FileNotFoundError: [Errno 2] No such file or directory: '/sbin/ldconfig'"
    driver = {"libcuda": "/run/opengl-driver/lib/libcuda.so.1"}
    assert ask("h100", error=text, driver=driver)[NAME].fixes[0].value == "/run/opengl-driver/lib"


def test_an_ldconfig_that_path_does_not_reach_is_put_on_it(ask: Ask) -> None:
    text = "FileNotFoundError: [Errno 2] No such file or directory: 'ldconfig'"
    packages = {"torch": "2.1.2", "triton": "2.1.0"}
    path, newer = ask("h100", error=text, packages=packages)[NAME].fixes
    assert (path.action, path.name) == ("set-env", "PATH")
    assert (newer.action, newer.package, newer.spec) == ("upgrade", "torch", ">=2.2.0")


def test_whereis_is_what_the_oldest_triton_asks(ask: Ask) -> None:
    text = "FileNotFoundError: [Errno 2] No such file or directory: 'whereis'"
    packages = {"torch": "2.0.1", "triton": "2.0.0"}
    first = ask("h100", error=text, packages=packages)[NAME].fixes[0]
    assert (first.action, first.package) == ("install-system", "util-linux")


def test_an_ldconfig_that_fails_is_run_again(ask: Ask) -> None:
    text = "Command '['/sbin/ldconfig', '-p']' returned non-zero exit status 1."
    again, path = ask("h100", error=text)[NAME].fixes
    assert (again.name, path.name) == ("ldconfig", "TRITON_LIBCUDA_PATH")


def test_a_link_is_made_where_only_its_name_is_missing(ask: Ask) -> None:
    text = (
        "AssertionError: libcuda.so cannot found!\n"
        "Possible files are located at ['/lib64/libcuda.so.1']."
        "Please create a symlink of libcuda.so to any of the file."
    )
    packages = {"torch": "2.2.2", "triton": "2.2.0"}
    assert ask("h100", error=text, packages=packages)[NAME].fixes[0].action == "symlink"


@pytest.mark.parametrize(
    "text",
    [
        "CUDA SETUP: WARNING! libcuda.so not found! Do you have a CUDA driver installed?",
        "OSError: libcuda.so: cannot open shared object file: No such file or directory",
        "RuntimeError: Failed to dlopen libcuda.so",
    ],
)
def test_who_opens_the_library_by_name_searches_the_loaders_path(ask: Ask, text: str) -> None:
    packages = {"bitsandbytes": "0.39.1"}
    path, ldconfig, link = ask("h100", error=text, packages=packages)[NAME].fixes
    assert (path.action, path.name) == ("set-env", "LD_LIBRARY_PATH")
    assert (ldconfig.name, link.action) == ("ldconfig", "symlink")


def test_a_linker_searches_a_path_of_its_own(ask: Ask) -> None:
    names = [one.name for one in ask("h100", error="/usr/bin/ld: cannot find -lcuda")[NAME].fixes]
    assert names == ["ldconfig", "LIBRARY_PATH", "TRITON_LIBCUDA_PATH"]


def test_a_variable_is_not_offered_to_releases_that_do_not_read_it(ask: Ask) -> None:
    packages = {"torch": "2.1.2", "triton": "2.1.0"}
    text = "AssertionError: libcuda.so cannot found!"
    fixes = ask("h100", error=text, packages=packages)[NAME].fixes
    assert [one.name for one in fixes] == ["ldconfig"]
