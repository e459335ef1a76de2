"""triton-too-old-for-package: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from qdoctor import diagnose
from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "triton-too-old-for-package"
# Only in releases that are newer than triton 2.1.0, by the matrix.
NEWER = "triton.language.extra.libdevice"


def using(name: str, when: str = "import") -> list[dict[str, Any]]:
    return [{"package": "fla-core", "file": "fla/op.py", "names": {name: 3}, "when": when}]


OLD = {"torch": "2.1.2", "triton": "2.1.0", "fla-core": "0.4.0"}


def test_fires_where_only_newer_releases_have_the_name(ask: Ask) -> None:
    found = ask("v100", packages=OLD, triton_names=using(NEWER))[NAME]
    assert found.severity == "error"
    assert "fla-core cannot be imported" in found.title
    first = found.fixes[0]
    assert (first.action, first.package, first.spec) == ("downgrade", "fla-core", "<0.4.0")


def test_a_newer_torch_brings_the_triton_and_triton_alone_is_not_offered(ask: Ask) -> None:
    fixes = ask("h100", packages=OLD, triton_names=using(NEWER))[NAME].fixes
    assert [fix.package for fix in fixes] == ["fla-core", "torch"]
    assert fixes[1].applicability == "unsafe"


def test_where_torch_requires_no_triton_triton_alone_is_the_fix(ask: Ask) -> None:
    host = {"os": "windows", "libc": None}
    found = ask("h100", packages=OLD, triton_names=using(NEWER), host=host)
    fix = found[NAME].fixes[0]
    assert (fix.action, fix.package) == ("upgrade", "triton")
    assert fix.spec is not None


def test_is_silent_on_a_triton_that_has_it(ask: Ask) -> None:
    assert NAME not in ask("h100", packages={"fla-core": "0.4.0"}, triton_names=using(NEWER))


def test_is_silent_where_older_releases_had_it(ask: Ask) -> None:
    names = using("triton.ops.matmul")
    assert NAME not in ask("h100", packages={"fla-core": "0.4.0"}, triton_names=names)


def test_is_silent_where_triton_is_unknown(ask: Ask) -> None:
    packages = {"torch": None, "triton": None, "fla-core": "0.4.0"}
    assert NAME not in ask("h100", packages=packages, torch_cuda=None, triton_names=using(NEWER))


MISSING = "AttributeError: module 'triton.language' has no attribute 'math'"


def test_the_name_in_a_text_decides_by_the_releases_that_have_it(ask: Ask) -> None:
    packages = {"torch": "2.0.1", "triton": "2.0.0", "bitsandbytes": None}
    found = ask("h100", error=MISSING, packages=packages, torch_cuda=None)
    first = next(iter(found.values()))
    assert (first.rule, first.explains_error, first.undecided) == (NAME, True, None)
    assert [fix.package for fix in first.fixes] == ["torch"]
    assert "triton-api-moved-other" not in found


def test_a_text_about_a_name_that_older_releases_had_is_another_problem(ask: Ask) -> None:
    text = "ModuleNotFoundError: No module named 'triton.common'"
    assert NAME not in ask("h100", error=text)


def test_a_release_that_a_text_asks_for_comes_with_torch(ask: Ask) -> None:
    text = "Exception: GIL is disabled and not compatible. Please upgrade to Triton >= 3.4.0"
    packages = {"torch": "2.7.1", "triton": "3.3.1"}
    found = ask("h100", error=text, packages=packages)[NAME]
    assert [(fix.package, fix.spec) for fix in found.fixes] == [("torch", ">=2.8.0")]
    newer = {"torch": "2.8.0", "triton": "3.4.0"}
    assert NAME not in ask("h100", error=text, packages=newer)


def test_an_option_of_a_launch_is_newer_than_this_triton(ask: Ask) -> None:
    text = "TypeError: any_kernel() got an unexpected keyword argument 'num_ctas'"
    packages = {"torch": "2.1.0", "triton": "2.1.0"}
    found = ask("h100", error=text, packages=packages)[NAME]
    offered = [(fix.action, fix.package, fix.spec) for fix in found.fixes]
    assert offered[0] == ("upgrade", "triton", ">=2.2.0")
    assert offered[-1] == ("upgrade", "torch", ">=2.2.0")
    assert ("change-code", None, None) in offered


def test_an_option_of_a_launch_that_only_newer_tritons_refuse_so_is_gone(ask: Ask) -> None:
    text = "KeyError: 'Keyword argument enable_warp_specialization was specified but unrecognised'"
    packages = {"torch": None, "triton": None}
    found = ask("h100", error=text, packages=packages, torch_cuda=None)
    first = next(iter(found.values()))
    assert (first.rule, first.explains_error) == ("triton-api-moved-other", True)
    assert NAME not in found


def test_an_option_that_no_triton_has_is_the_programs_own(ask: Ask) -> None:
    text = "KeyError: 'Keyword argument BLOCK_SZ was specified but unrecognised'"
    assert NAME not in ask("h100", error=text)


def test_a_ptxas_of_a_cuda_that_this_triton_does_not_know() -> None:
    """The text asks for CUDA 10 or higher; triton up to 3.4 says so of CUDA 13."""
    text = "RuntimeError: Triton only support CUDA 10.0 or higher, but got CUDA version: 13.0"
    found = diagnose({}, text).findings[0]
    assert (found.rule, found.explains_error) == (NAME, True)
    assert (found.fixes[0].action, found.fixes[0].name) == ("unset-env", "TRITON_PTXAS_PATH")


MXFP4 = "MXFP4 quantization requires triton >= 3.4.0 and kernels installed, we will default to bf16"


@pytest.mark.parametrize(
    ("torch", "first"),
    [("2.6.0", NAME), ("2.8.0+cu129", "python-module-missing")],
)
def test_the_triton_that_torch_requires_counts_where_a_text_asks_for_a_release(
    torch: str, first: str
) -> None:
    found = diagnose({"packages": {"torch": torch}}, MXFP4).findings
    assert next(one.rule for one in found if one.explains_error) == first


def test_a_reduction_over_everything_needs_triton_2_1() -> None:
    text = "TypeError(\"sum() missing 1 required positional argument: 'axis'\")"
    found = diagnose({"schema": "qdoctor/facts/1"}, text).findings[0]
    assert (found.rule, found.fixes[0].spec) == (NAME, ">=2.1.0")
