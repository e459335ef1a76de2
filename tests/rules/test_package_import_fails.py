"""package-import-fails: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import structs

from qdoctor.model import Finding, Observation

Ask = Callable[..., dict[str, Finding]]

NAME = "package-import-fails"
OTHERS = {"probe-contradicts-matrix", "probe-failed"}
AT = "/venv/lib/python3.12/site-packages/torch/__init__.py:35 in <module>: from x import y"
HALF = Observation(
    probe="half_gemm",
    variant="half",
    outcome="failed",
    code="import-failed",
    expected="pass",
    device="cuda:0",
    detail="ModuleNotFoundError: No module named 'typing_extensions'",
    evidence=["<frozen importlib._bootstrap>:241 in _call_with_frames_removed:", AT],
)
INT8 = structs.replace(HALF, probe="torch_int_mm", variant="plain", expected="unknown")


def test_one_import_that_fails_is_told_once_with_what_is_missing(ask: Ask) -> None:
    found = ask("h100", observations=(HALF, INT8))
    assert not OTHERS & found.keys()
    told = found[NAME]
    assert told.severity == "error"
    assert told.title.startswith("torch cannot be imported: ModuleNotFoundError")
    assert "half_gemm and torch_int_mm" in told.because[0].text
    assert told.fixes[0].command == 'python -m pip install "typing-extensions"'
    assert {"half", "half_gemm", "torch_int_mm"} <= set(told.affects)


def test_a_part_of_its_own_that_is_missing_asks_for_the_same_release_anew(ask: Ask) -> None:
    for text in (
        "ModuleNotFoundError: No module named 'torch._utils'",
        "ImportError: cannot import name 'Tensor' from 'torch._C' (unknown location)",
    ):
        broken = structs.replace(HALF, detail=text)
        fix = ask("h100", observations=(broken,), packages={"torch": "2.11.0"})[NAME].fixes[0]
        assert (fix.action, fix.package, fix.spec) == ("reinstall", "torch", "==2.11.0")


def test_a_library_of_its_own_that_is_missing_or_cut_off_asks_for_it_anew(ask: Ask) -> None:
    missing = "ImportError: libtorch_cpu.so: cannot open shared object file: No such file"
    crash = "SIGBUS (bus error) while importing torch: Fatal Python error: Bus error"
    cut = structs.replace(HALF, outcome="crashed", code="sigbus", detail=crash, evidence=[])
    ours = structs.replace(cut, detail="SIGBUS (bus error) while importing what qdoctor compiles")
    for seen in ((structs.replace(HALF, detail=missing),), (cut,), (ours, cut)):
        found = ask("h100", observations=seen, packages={"torch": "2.11.0"})
        assert not OTHERS & found.keys()
        assert found[NAME].title.startswith("torch cannot be imported")
        fix = found[NAME].fixes[0]
        assert (fix.action, fix.package, fix.spec) == ("reinstall", "torch", "==2.11.0")


def test_a_library_of_cuda_or_the_system_and_other_crashes_are_for_explain(ask: Ask) -> None:
    words = ": cannot open shared object file: No such file or directory"
    crash = "SIGILL (illegal instruction) while importing torch"
    seen = structs.replace(HALF, outcome="crashed", code="sigill", detail=crash, evidence=[])
    raised = [
        structs.replace(HALF, detail=f"ImportError: {name}{words}")
        for name in ("libcudart.so.13", "libgomp.so.1", "libcudnn.so.9")
    ]
    for one in (seen, *raised):
        assert ask("h100", observations=(one,))[NAME].fixes[0].action == "run"


def test_words_that_name_no_known_module_are_for_explain(ask: Ask) -> None:
    for text in ("ModuleNotFoundError: No module named 'my_site_hook'", "ImportError: libfoo.so.1"):
        fix = ask("h100", observations=(structs.replace(HALF, detail=text),))[NAME].fixes[0]
        assert (fix.command, "qdoctor explain" in fix.why) == (None, True)


def test_of_an_unknown_package_and_probe_it_is_a_warning(ask: Ask) -> None:
    silent = Observation(
        probe="triton_libdevice", outcome="failed", code="import-failed", expected="unknown"
    )
    told = ask("h100", observations=(silent,))[NAME]
    assert told.severity == "warning"
    assert told.title.startswith("what a probe needs cannot be imported")


def test_is_silent_where_the_data_foretold_it_and_where_imports_passed(ask: Ask) -> None:
    foretold = structs.replace(HALF, expected="fail")
    passed = Observation(probe="half_gemm", outcome="passed", expected="pass")
    assert NAME not in ask("h100", observations=(foretold, passed))
    assert NAME not in ask("h100")


def test_it_is_a_symptom_of_files_that_are_missing(ask: Ask) -> None:
    unread = {"packages_found.torch": "its metadata is there, its module is not"}
    found = ask("h100", observations=(HALF,), unread=unread)
    assert found[NAME].symptom_of == "package-files-missing"
