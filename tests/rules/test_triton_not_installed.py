"""triton-not-installed and triton-missing-for-python by a text: which, and what to install."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "triton-not-installed"
FOR_PYTHON = "triton-missing-for-python"
TEXT = (
    "torch._inductor.exc.TritonMissing: Cannot find a working triton installation. Either the "
    "package is not installed or it is too old."
)
WINDOWS = {"os": "windows", "libc": None}


def test_on_windows_the_build_for_this_torch_is_installed(ask: Ask) -> None:
    packages = {"torch": "2.7.1+cu128", "triton": None, "bitsandbytes": None}
    found = ask("h100", error=TEXT, packages=packages, host=WINDOWS)
    assert next(iter(found)) == FOR_PYTHON
    assert NAME not in found
    assert "brings none along on windows" in found[FOR_PYTHON].title
    assert found[FOR_PYTHON].undecided is None
    fixes = found[FOR_PYTHON].fixes
    assert (fixes[0].action, fixes[0].package, fixes[0].spec) == (
        "install",
        "triton-windows",
        "==3.3.*",
    )
    assert fixes[1].action == "disable"


def test_on_linux_the_triton_that_torch_requires_is_installed(ask: Ask) -> None:
    packages = {"torch": "2.7.1", "triton": "", "bitsandbytes": None}
    found = ask("h100", error=TEXT, packages=packages, torch_cuda=None)
    assert found[NAME].severity == "error"
    fix = found[NAME].fixes[0]
    assert (fix.package, fix.spec) == ("triton", "==3.3.1")


def test_a_mac_has_none(ask: Ask) -> None:
    packages = {"torch": None, "triton": None, "bitsandbytes": None}
    host = {"os": "macos", "libc": None}
    found = ask("cpu", error=TEXT, packages=packages, torch_cuda=None, host=host)
    assert [fix.action for fix in found[FOR_PYTHON].fixes] == ["disable"]


def test_an_installed_triton_leaves_open_what_is_wrong(ask: Ask) -> None:
    title = ask("h100", error=TEXT)[NAME].title
    assert "does not find" in title


def test_is_silent_without_the_text(ask: Ask) -> None:
    packages = {"torch": "2.7.1+cu128", "triton": None, "bitsandbytes": None}
    assert NAME not in ask("h100", packages=packages, host=WINDOWS)


LEFT_OUT = {"torch": "2.3.0", "triton": None, "bitsandbytes": None}


def test_a_torch_that_leaves_triton_out_for_this_python_is_the_cause(ask: Ask) -> None:
    python = {"version": "3.12.3"}
    found = ask("h100", error=TEXT, packages=LEFT_OUT, torch_cuda=None, python=python)
    assert next(iter(found)) == FOR_PYTHON
    assert NAME not in found
    fixes = found[FOR_PYTHON].fixes
    assert [fix.action for fix in fixes] == ["upgrade", "use-python"]
    assert fixes[0].spec == ">=2.4.0"


def test_where_python_is_unknown_it_is_only_likely(ask: Ask) -> None:
    python = {"version": None}
    found = ask("h100", error=TEXT, packages=LEFT_OUT, torch_cuda=None, python=python)
    assert NAME not in found
    assert "Python is not known" in str(found[FOR_PYTHON].undecided)
    assert found[FOR_PYTHON].fixes[0].package == "triton"
