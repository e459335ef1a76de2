"""dll-not-loaded: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "dll-not-loaded"
LOADING = 'OSError: [WinError 126] Error loading "C:\\py\\Lib\\site-packages\\torch\\lib\\{}.dll"'
WINDOWS = {"os": "windows", "libc": ""}


def test_a_dll_that_nobody_brings_is_answered_with_the_next_release(ask: Ask) -> None:
    text = LOADING.format("fbgemm")
    found = ask("h100", text, host=WINDOWS, packages={"torch": "2.4.0"})[NAME]
    first = found.fixes[0]
    assert (found.severity, found.explains_error) == ("error", True)
    assert (first.action, first.package, first.spec) == ("upgrade", "torch", ">=2.4.1")


def test_a_release_that_has_it_is_answered_with_the_runtime(ask: Ask) -> None:
    text = LOADING.format("fbgemm")
    found = ask("h100", text, host=WINDOWS, packages={"torch": "2.5.1"})[NAME]
    assert found.fixes[0].name == "Visual C++ Redistributable"


def test_without_a_stated_release_the_text_is_enough(ask: Ask) -> None:
    text = "ImportError: DLL load failed while importing libtriton: a routine failed."
    found = ask("h100", text, host=WINDOWS, packages={"torch": None, "triton": None})[NAME]
    assert (found.fixes[0].action, found.undecided) == ("install-system", None)


def test_is_silent_without_such_a_text(ask: Ask) -> None:
    assert NAME not in ask("h100", host=WINDOWS)
    assert NAME not in ask("h100", "ValueError: the DLL is a word like any other")


def test_a_dll_of_intels_extension_is_made_for_one_torch(ask: Ask) -> None:
    text = (
        'OSError: [WinError 126] Error loading "C:\\x\\site-packages\\intel_extension_for_pytorch'
        '\\bin\\intel-ext-pt-gpu.dll" or one of its dependencies.'
    )
    fix = ask("h100", error=text, host={"os": "windows", "libc": None})[NAME].fixes[0]
    assert (fix.action, fix.package) == ("reinstall", "intel-extension-for-pytorch")
