"""no-c-compiler: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor.diagnosis import diagnose
from qdoctor.model import Facts, Finding, Observation

Ask = Callable[..., dict[str, Finding]]

NAME = "no-c-compiler"


def test_fires_where_kernels_are_started(ask: Ask) -> None:
    found = ask("h100", host={"c_compiler": False})[NAME]
    assert found.severity == "warning"
    assert (found.fixes[0].action, found.fixes[0].name) == ("install-system", "gcc")


def test_is_silent_where_it_is_there(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_is_silent_without_a_gpu(ask: Ask) -> None:
    assert NAME not in ask("cpu", host={"c_compiler": False})


def test_is_silent_where_it_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("h100", host={"c_compiler": None})


def test_a_text_accuses_where_it_is_unknown(ask: Ask) -> None:
    text = "RuntimeError: Failed to find C compiler. Please specify via CC environment variable."
    assert ask("h100", error=text, host={"c_compiler": None})[NAME].explains_error


def tried(outcome: str, code: str | None = None, variant: str = "compiler") -> Observation:
    return Observation(
        probe="triton_toolchain",
        variant=variant,
        outcome=outcome,  # type: ignore[arg-type]
        code=code,
        detail="/usr/bin/gcc ended with status 1: cc1: fatal error: no cc1",
        device="cuda:0",
    )


def test_one_that_is_there_and_does_not_work_is_found_by_the_probe(ask: Ask) -> None:
    found = ask("h100", observations=(tried("failed", NAME),))
    assert found[NAME].because[0].strength == "observed"
    assert "ended with status 1" in found[NAME].because[0].text
    assert found[NAME].affects == ["bnb-switchback", "qdoctor-switchback"]
    assert not {"probe-failed", "probe-contradicts-matrix"} & found.keys()


def test_one_that_worked_refutes_what_was_read(ask: Ask) -> None:
    assert NAME not in ask("h100", observations=(tried("passed"),), host={"c_compiler": False})


def test_the_probe_accuses_nobody_without_a_gpu(ask: Ask) -> None:
    assert NAME not in ask("cpu", observations=(tried("failed", NAME),))


def test_what_was_tried_of_another_part_says_nothing(ask: Ask) -> None:
    headers = tried("passed", variant="headers")
    assert NAME in ask("h100", observations=(headers,), host={"c_compiler": False})


def test_windows_gets_the_compiler_that_triton_brings(ask: Ask) -> None:
    text = "RuntimeError: Failed to find C compiler. Please specify via CC environment variable."
    found = ask("h100", error=text, host={"os": "windows", "libc": None, "c_compiler": None})[NAME]
    assert (found.fixes[0].action, found.fixes[0].package) == ("upgrade", "triton-windows")
    assert "apt-get" not in " ".join(fix.command or "" for fix in found.fixes)


def test_what_torch_compiles_in_cxx_needs_no_compiler_of_triton(ask: Ask) -> None:
    text = "RuntimeError: Compiler: cl is not found."
    fixes = ask("h100", text, host={"os": "windows", "c_compiler": None})[NAME].fixes
    assert fixes[0].action == "install-system"
    assert "triton-windows" not in {fix.package for fix in fixes}


def test_a_compiler_that_cc_names_is_left_first(ask: Ask) -> None:
    text = (
        "Failed to compile. cc_cmd: ['C:\\\\VS\\\\x64\\\\cl.exe', 'C:\\\\T\\\\cuda_utils.c', '/LD']"
    )
    found = ask("h100", text, host={"os": "windows", "libc": None, "c_compiler": None})
    fixes = found[NAME].fixes
    assert (fixes[0].action, fixes[0].name) == ("unset-env", "CC")
    assert next(iter(found)) == NAME


def test_triton_for_windows_that_finds_no_msvc_is_known(ask: Ask) -> None:
    text = "UnboundLocalError: cannot access local variable 'cl_path' where it is not associated"
    host = {"os": "windows", "libc": None, "c_compiler": None}
    assert ask("a100", error=text, host=host)[NAME].explains_error


def test_kernels_that_a_models_own_code_compiles(ask: Ask) -> None:
    text = "Cannot load cpu or cuda kernel, quantization failed:"
    found = ask("a100", text, host={"c_compiler": False})[NAME]
    assert "the model's kernels for the CPU" in found.title
    assert (found.fixes[0].action, found.fixes[0].package) == ("install-system", "gcc")


def test_apples_clang_comes_without_openmp(ask: Ask) -> None:
    text = "CppCompileError: C++ compile error\nfatal error: 'omp.h' file not found"
    fixes = ask("h100", error=text, host={"os": "macos"})[NAME].fixes
    assert [(fix.action, fix.name) for fix in fixes[:2]] == [
        ("install-system", "libomp"),
        ("set-env", "OMP_PREFIX"),
    ]
    assert ask("h100", error=text)[NAME].fixes[0].name == "libomp-dev"


def test_what_torch_compile_writes_in_cpp_asks_for_another_compiler(ask: Ask) -> None:
    text = "torch._inductor.exc.InductorError: CppCompileError: C++ compile error"
    windows = ask("h100", error=text, host={"os": "windows"})[NAME]
    assert windows.fixes[0].name == "Visual Studio Build Tools"
    assert ask("h100", error=text)[NAME].fixes[0].name == "a newer g++"
    header = f"{text}\nfatal error: Python.h: No such file or directory"
    assert diagnose(Facts(), error=header)[1][0].rule == "python-headers-missing"


def test_what_compiles_cxx_too_is_named_beside_the_least(ask: Ask) -> None:
    text = "RuntimeError: Failed to find C compiler. Please specify via CC environment variable."
    fixes = ask("h100", error=text, host={"c_compiler": None})[NAME].fixes
    assert [one.package for one in fixes] == ["gcc", "build-essential"]
    assert fixes[0].command == "apt-get install gcc libc6-dev"


@pytest.mark.parametrize(
    "text",
    [
        "InvalidCxxCompiler: No working C++ compiler found in torch._inductor.config.cpp.cxx",
        "RuntimeError: Failed to find C++ compiler. Please specify via CXX environment variable",
        "FileNotFoundError: [Errno 2] No such file or directory: 'g++'",
        "/bin/sh: 1: c++: not found",
    ],
)
def test_a_missing_cxx_compiler_needs_more_than_gcc(ask: Ask, text: str) -> None:
    fixes = ask("h100", error=text, host={"c_compiler": None})[NAME].fixes
    assert [one.package for one in fixes] == ["build-essential"]
