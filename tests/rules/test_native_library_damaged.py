"""native-library-damaged: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "native-library-damaged"
FILE = "/v/lib/python3.11/site-packages/triton/_C/libtriton.so"
TEXT = f"ImportError: {FILE}: file too short"


def test_fires_on_the_loaders_words(ask: Ask) -> None:
    found = ask("h100", error=TEXT, packages={"triton": "3.6.0"})[NAME]
    assert found.explains_error
    assert found.title == "libtriton.so is damaged"
    told = 'python -m pip install --force-reinstall --no-deps "triton==3.6.0"'
    assert found.fixes[0].command == told


def test_is_silent_where_the_file_was_read_and_is_whole(ask: Ask) -> None:
    native = [{"package": "triton", "file": "libtriton.so", "needs": ["libc.so.6"]}]
    assert NAME not in ask("h100", error=TEXT, native=native)


def test_is_silent_without_such_a_text(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_names_no_package_where_the_file_lies_elsewhere(ask: Ask) -> None:
    text = "OSError: /opt/mine/libkernel.so: invalid ELF header"
    assert ask("h100", error=text, native=None)[NAME].fixes == []


@pytest.mark.parametrize(
    ("folder", "toolkit"),
    [("/usr/local/cuda-12.1/lib64", "12.1"), ("/opt/cuda/lib64", "12.4")],
)
def test_a_file_of_the_toolkit_comes_with_the_toolkit(folder: str, toolkit: str, ask: Ask) -> None:
    text = f"OSError: {folder}/libnvJitLink.so.12: file too short"
    anew, past = ask("h100", error=text, native=None, toolkit_cuda="12.4")[NAME].fixes
    assert (anew.action, anew.name) == ("install-system", f"cuda-toolkit {toolkit}")
    assert (past.action, past.name) == ("unset-env", "LD_LIBRARY_PATH")
    assert folder in past.why


def test_a_toolkit_file_for_another_processor_is_not_installed_anew(ask: Ask) -> None:
    text = "OSError: /usr/local/cuda/lib64/libcudart.so.12: wrong ELF class: ELFCLASS32"
    assert [fix.action for fix in ask("h100", error=text)[NAME].fixes] == ["use-python"]


def test_windows_words_for_a_file_that_is_no_library(ask: Ask) -> None:
    text = "C:\\x\\c10.dll is either not designed to run on Windows or it contains an error."
    assert ask("cpu", error=text)[NAME].title == "c10.dll is damaged"


MAC = "/p/lib/python3.11/site-packages/torch/lib/libtorch_global_deps.dylib"


def _mach_o(have: str, need: str) -> str:
    wrong = f"mach-o file, but is an incompatible architecture (have '{have}', need '{need}')"
    return f"OSError: dlopen({MAC}, 0x000A): tried: '{MAC}' ({wrong})"


def test_a_library_for_another_processor_is_installed_anew(ask: Ask) -> None:
    found = ask("cpu", error=_mach_o("x86_64", "arm64"))[NAME]
    assert found.title == f"{MAC.rpartition('/')[2]} is for another processor than the interpreter"
    assert [(fix.action, fix.package) for fix in found.fixes] == [
        ("reinstall", "torch"),
        ("use-python", None),
    ]


def test_an_emulated_interpreter_is_exchanged_first(ask: Ask) -> None:
    found = ask("cpu", error=_mach_o("arm64", "x86_64"))[NAME]
    assert [fix.action for fix in found.fixes] == ["use-python", "reinstall"]


def test_a_library_of_no_package_leaves_the_interpreter(ask: Ask) -> None:
    found = ask("h100", error="OSError: /opt/mine/libkernel.so: wrong ELF class: ELFCLASS32")[NAME]
    assert [fix.action for fix in found.fixes] == ["use-python"]
