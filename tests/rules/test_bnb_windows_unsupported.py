"""bnb-windows-unsupported: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor import diagnose
from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "bnb-windows-unsupported"

WINDOWS = {"os": "windows", "libc": None}
OLD = {"torch": "2.1.2+cu121", "triton": "", "bitsandbytes": "0.41.1"}


def test_fires_on_a_release_without_windows_libraries(ask: Ask) -> None:
    found = ask("a100", host=WINDOWS, packages=OLD)[NAME]
    assert found.severity == "warning"
    assert found.fixes[0].action == "upgrade"
    assert (found.fixes[0].spec or "").startswith(">=0.43.0")


def test_is_silent_on_a_release_with_them(ask: Ask) -> None:
    assert NAME not in ask("a100", host=WINDOWS, packages={**OLD, "bitsandbytes": "0.43.1"})


def test_is_silent_on_linux(ask: Ask) -> None:
    assert NAME not in ask("a100", packages=OLD)


def test_is_silent_where_the_system_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("a100", host={"os": None, "libc": None, "wsl": None}, packages=OLD)


def test_a_release_for_windows_is_offered_beside_a_torch_without_cuda(ask: Ask) -> None:
    packages = {"bitsandbytes": "0.39.0", "torch": "2.0.1"}
    found = ask("h100", host={"os": "windows"}, packages=packages, torch_cuda=None, native=None)
    first = found[NAME].fixes[0]
    assert (first.action, first.package) == ("upgrade", "bitsandbytes")


def test_a_release_before_those_for_windows_leads_whatever_text_says_that_it_has_no_gpu(
    ask: Ask,
) -> None:
    for text in (
        "The installed version of bitsandbytes was compiled without GPU support.",
        "RuntimeError: Method 'cquantize' not available in CPU-only version of bitsandbytes.",
    ):
        facts = {"host": {"os": "windows"}, "packages": {"bitsandbytes": "0.41.1"}}
        assert next(iter(ask("h100", error=text, **facts))) == NAME
        facts["packages"]["bitsandbytes"] = "0.45.0"
        assert NAME not in ask("h100", error=text, **facts)


NOTICE = (
    "UserWarning: C:\\envs\\e did not contain ['libcudart.so', 'libcudart.so.11.0', "
    "'libcudart.so.12.0'] as expected! Searching further paths..."
)


def test_a_notice_of_its_search_tells_of_a_release_without_windows_libraries(ask: Ask) -> None:
    found = ask("a100", error=NOTICE, host=WINDOWS, packages={**OLD, "bitsandbytes": "0.42.0"})
    assert next(iter(found)) == NAME
    assert found[NAME].explains_error


def test_the_same_notice_is_harmless_elsewhere(ask: Ask) -> None:
    linux = NOTICE.replace("C:\\envs\\e", "/opt/conda")
    for host, text, version in (
        (None, linux, "0.42.0"),
        (WINDOWS, NOTICE, "0.43.0"),
        (WINDOWS, NOTICE, None),
    ):
        found = ask("a100", error=text, host=host, packages={**OLD, "bitsandbytes": version})
        assert next(iter(found)) == "harmless-warning"


FOREIGN = "libbitsandbytes_cpu.so not designed to run on windows"


def test_windows_words_for_a_library_of_linux_lead_whatever_notice_stands_before(ask: Ask) -> None:
    notice = "UserWarning: C:\\e did not contain cudart64_110.dll as expected! Searching further"
    found = ask("a100", host=WINDOWS, packages={"bitsandbytes": None}, error=f"{notice}\n{FOREIGN}")
    assert next(iter(found)) == NAME


def test_a_greeting_that_names_a_dll_accuses_nobody(ask: Ask) -> None:
    text = "bin D:\\e\\Lib\\site-packages\\bitsandbytes\\libbitsandbytes_cuda121.dll"
    assert NAME not in ask("a100", host=WINDOWS, packages={"bitsandbytes": None}, error=text)


def test_a_library_asked_in_vain_on_windows_is_of_before_its_releases_there() -> None:
    text = "'NoneType' object has no attribute 'cadam32bit_grad_fp32'"
    found = diagnose({"host": {"os": "windows"}}, text).findings[0]
    assert (found.rule, found.explains_error) == (NAME, True)
    assert (found.fixes[0].action, found.fixes[0].package) == ("upgrade", "bitsandbytes")
    told = [one.rule for one in diagnose({"host": {"os": "linux"}}, text).findings]
    assert NAME not in told


def test_a_dll_that_no_release_has_is_somebody_elses_copy(ask: Ask) -> None:
    file = "C:\\x\\bitsandbytes\\libbitsandbytes_cuda{}.dll"
    line = f"FileNotFoundError: Could not find module '{file}' (or one of its dependencies)."
    packages = {"torch": None, "bitsandbytes": None}
    unknown = {"packages": packages, "torch_cuda": None, "native": None}
    machine = {"host": {"os": "windows", "libc": None}, **unknown}
    first = next(iter(ask("h100", error=line.format("116"), **machine).values()))
    assert first.rule == NAME
    assert (first.fixes[0].action, first.fixes[0].package) == ("upgrade", "bitsandbytes")
    assert NAME not in ask("h100", error=line.format("126"), **machine)


def test_a_loader_that_was_copied_over_is_one_of_windows() -> None:
    text = "ModuleNotFoundError: No module named 'bitsandbytes.cuda_setup.paths'"
    for facts in ({}, {"host": {"os": "windows"}}):
        (found,) = (one for one in diagnose(facts, text).findings if one.explains_error)
        assert found.rule == NAME
        assert [(fix.action, fix.spec) for fix in found.fixes] == [
            ("upgrade", ">=0.43.0"),
            ("reinstall", ""),
        ]
    newer = {"host": {"os": "windows"}, "packages": {"bitsandbytes": "0.44.1"}}
    assert diagnose(newer, text).findings[0].fixes[0].action == "reinstall"
