"""triton-pin-mismatch: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor.diagnosis import diagnose
from qdoctor.model import Facts, Finding, Host

Ask = Callable[..., dict[str, Finding]]

NAME = "triton-pin-mismatch"


def test_fires_on_another_triton(ask: Ask) -> None:
    found = ask("h100", packages={"triton": "3.4.0"})[NAME]
    assert found.severity == "warning"
    fix = found.fixes[0]
    assert (fix.action, fix.package, fix.spec) == ("install-matching", "triton", "==3.6.0")
    assert fix.command == 'python -m pip install "triton==3.6.0"'


def test_is_silent_on_the_triton_that_torch_requires(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_is_silent_where_torch_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("h100", packages={"torch": None}, torch_cuda=None)


def test_the_text_of_a_resolver_brings_its_own_versions(ask: Ask) -> None:
    text = "torch 2.5.1 requires triton==3.1.0, but you have triton 3.0.0 which is incompatible."
    found = ask("h100", error=text, packages={"torch": None, "triton": None}, torch_cuda=None)[NAME]
    assert found.explains_error
    assert found.fixes[0].spec == "==3.1.0"


def test_a_triton_that_is_only_implied_refutes_no_text(ask: Ask) -> None:
    text = "ImportError: cannot import name 'triton_key' from 'triton.compiler.compiler'"
    assert ask("h100", error=text, packages={"triton": None})[NAME].explains_error


def test_on_windows_the_package_has_another_name(ask: Ask) -> None:
    text = "ImportError: cannot import name 'triton_key' from 'triton.compiler.compiler'"
    packages = {"torch": "2.8.0+cu129", "triton": "3.5.0"}
    found = ask("h100", error=text, host={"os": "windows", "libc": None}, packages=packages)[NAME]
    assert (found.fixes[0].package, found.fixes[0].spec) == ("triton-windows", "==3.4.*")


HOOK = "AttributeError: type object 'CompiledKernel' has no attribute 'launch_enter_hook'"
KEY = "ImportError: cannot import name 'triton_key' from 'triton.compiler.compiler'"
UNKNOWN = {"torch": None, "triton": None, "bitsandbytes": None}


def test_a_newer_triton_that_made_torch_fail_is_taken_back(ask: Ask) -> None:
    packages = {"torch": "2.7.1", "triton": "3.4.0"}
    fix = ask("h100", error=HOOK, packages=packages, torch_cuda=None)[NAME].fixes[0]
    assert (fix.action, fix.package, fix.spec) == ("downgrade", "triton", "==3.3.1")


def test_without_versions_the_name_says_which_triton_and_which_torch(ask: Ask) -> None:
    host = {"os": "windows", "libc": None}
    found = ask("h100", error=KEY, packages=UNKNOWN, torch_cuda=None, host=host)
    assert next(iter(found)) == NAME
    assert [(fix.action, fix.package, fix.spec) for fix in found[NAME].fixes] == [
        ("downgrade", "triton-windows", "<3.5.0"),
        ("upgrade", "torch", ">=2.9.0"),
    ]


def test_without_versions_and_name_the_one_of_torch_is_offered(ask: Ask) -> None:
    text = HOOK.replace("launch_enter_hook", "num_warps")
    fixes = ask("h100", error=text, packages=UNKNOWN, torch_cuda=None)[NAME].fixes
    assert [(fix.action, fix.package, fix.spec) for fix in fixes] == [
        ("install-matching", "triton", None)
    ]


def test_on_windows_a_torch_that_misses_a_name_is_told_without_a_text(ask: Ask) -> None:
    packages = {"torch": "2.6.0", "triton": "3.3.x", "bitsandbytes": None, "torchao": None}
    host = {"os": "windows", "libc": ""}
    found = ask("h100", host=host, packages=packages, torch_cuda="12.4", native=None)
    first = found["triton-pin-mismatch"].fixes[0]
    assert (first.package, first.spec) == ("triton-windows", "==3.2.*")


def test_on_windows_a_torch_that_misses_nothing_is_left_alone(ask: Ask) -> None:
    packages = {"torch": "2.9.0", "triton": "3.5.1", "bitsandbytes": None, "torchao": None}
    host = {"os": "windows", "libc": ""}
    assert "triton-pin-mismatch" not in ask("h100", host=host, packages=packages, native=None)


def test_a_member_that_went_names_the_release_before(ask: Ask) -> None:
    text = "AttributeError: type object 'CompiledKernel' has no attribute 'launch_enter_hook'"
    packages = {"torch": None, "triton": None}
    found = ask("h100", text, packages=packages, native=None, torch_cuda=None)
    first = found["triton-pin-mismatch"].fixes[0]
    assert (first.action, first.spec) == ("downgrade", "<3.4.0")


def test_a_class_that_is_no_dataclass_any_more_is_torch_s_business(ask: Ask) -> None:
    text = "TypeError: must be called with a dataclass type or instance"
    packages = {"torch": None, "triton": None}
    found = ask("h100", text, packages=packages, native=None, torch_cuda=None)
    assert [one.spec for one in found["triton-pin-mismatch"].fixes] == ["<3.2.0", ">=2.6.0"]


def test_a_triton_without_a_version_is_ones_own_and_may_stay() -> None:
    text = (
        "torch 2.4.0 requires triton==3.0.0; ... but you have triton 0.0.0 which is incompatible."
    )
    found = diagnose(Facts(packages={"torch": "2.4.0", "triton": "0.0.0"}), error=text)[1][0]
    assert [fix.action for fix in found.fixes] == ["reorder", "install-matching"]
    released = diagnose(Facts(packages={"torch": "2.4.0", "triton": "3.1.0"}), error=text)[1][0]
    assert "reorder" not in {fix.action for fix in released.fixes}


def test_a_text_of_newer_torch_asks_for_its_triton() -> None:
    text = (
        "CompiledKernel object does not has any of the attributes: ('cluster_dims', 'clusterDims')"
    )
    for triton, offered in (("2.1.0", ("upgrade", "triton", ">=2.3.0")), ("2.3.0", None)):
        found = diagnose(Facts(packages={"triton": triton}), error=text)[1][0]
        fix = found.fixes[0]
        assert found.rule == NAME
        assert offered in (None, (fix.action, fix.package, fix.spec))
        assert offered or fix.package == "torch"


def test_a_torch_that_requires_a_compatible_triton_is_understood() -> None:
    text = "AttributeError: 'KernelMetadata' object has no attribute 'cluster_dims'"
    asked: list[tuple[dict[str, str], str | None, tuple[str, str, str]]] = [
        ({"torch": "2.14.0", "triton": "3.9.0"}, "linux", ("downgrade", "triton", "~=3.8.0")),
        (
            {"torch": "2.14.0", "triton": "3.7.0"},
            "linux",
            ("install-matching", "triton", "~=3.8.0"),
        ),
        (
            {"torch": "2.14.0", "triton-windows": "3.7.0"},
            "windows",
            ("install-matching", "triton-windows", "==3.8.*"),
        ),
        ({"triton": "3.8.0"}, None, ("upgrade", "torch", ">=2.14.0,<=2.14.1")),
    ]
    for packages, system, offered in asked:
        facts = Facts(packages=packages, host=Host(os=system))
        fix = diagnose(facts, error=text)[1][0].fixes[0]
        assert (fix.action, fix.package, fix.spec) == offered


@pytest.mark.parametrize(("triton", "fired"), [("3.3.1", False), ("3.4.0", True)])
def test_on_windows_the_release_that_torch_is_made_for_counts(triton: str, fired: bool) -> None:  # noqa: FBT001
    facts = Facts(host=Host(os="windows"), packages={"torch": "2.7.0", "triton": triton})
    found = [one for one in diagnose(facts)[1] if one.rule == NAME]
    assert bool(found) is fired
    assert all(one.fixes[0].package == "triton-windows" for one in found)


def test_a_text_about_something_else_accuses_no_triton_on_windows() -> None:
    facts = Facts(host=Host(os="windows"), packages={"torch": "2.7.0", "triton": "3.4.0"})
    assert NAME not in {one.rule for one in diagnose(facts, error="CUDA out of memory")[1]}


def test_a_triton_over_the_files_of_intel_s_is_taken_away_first() -> None:
    text = "ImportError: cannot import name 'intel' from 'triton._C.libtriton'"
    packages = {"pytorch-triton-xpu": "3.4.0", "triton": "3.4.0"}
    found = diagnose(Facts(packages=packages), error=text)[1][0]
    assert (found.rule, found.explains_error) == ("triton-pin-mismatch", True)
    offered = [(fix.action, fix.package) for fix in found.fixes]
    assert offered == [("uninstall", "triton"), ("reinstall", "pytorch-triton-xpu")]


@pytest.mark.parametrize(
    ("system", "torch", "action", "package", "spec"),
    [
        ("windows", "2.7.1", "upgrade", "triton-windows", "==3.3.*"),
        ("windows", "2.8.0+cu128", "upgrade", "triton-windows", "==3.4.*"),
        ("linux", "2.7.0", "install-matching", "triton", "==3.3.0"),
    ],
)
def test_a_text_of_an_older_triton_than_torch_is_made_for(
    system: str, torch: str, action: str, package: str, spec: str
) -> None:
    text = "RuntimeError: Triton only support CUDA 10.0 or higher, but got CUDA version: 12.9"
    machine = Facts(host=Host(os=system), packages={"torch": torch})
    first = diagnose(machine, error=text)[1][0]
    assert (first.rule, first.explains_error) == (NAME, True)
    fix = first.fixes[0]
    assert (fix.action, fix.package, fix.spec) == (action, package, spec)


@pytest.mark.parametrize("packages", [{"torch": "2.6.0"}, {}])
def test_the_same_text_of_torchs_own_triton_is_none(packages: dict[str, str]) -> None:
    text = "RuntimeError: Triton only support CUDA 10.0 or higher, but got CUDA version: 12.8"
    machine = Facts(host=Host(os="linux"), packages=packages)
    found = diagnose(machine, error=text)[1]
    assert NAME not in {one.rule for one in found}
    assert found[0].rule == "triton-too-old-for-package"
