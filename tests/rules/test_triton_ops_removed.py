"""triton-ops-removed: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "triton-ops-removed"


def test_fires_where_the_import_fails(ask: Ask) -> None:
    found = ask("h100", packages={"bitsandbytes": "0.44.1"})[NAME]
    assert found.severity == "error"
    fix = found.fixes[0]
    assert (fix.action, fix.package, fix.spec) == ("upgrade", "bitsandbytes", ">=0.45.1")
    assert fix.command == 'python -m pip install --upgrade "bitsandbytes>=0.45.1"'


def test_is_silent_on_a_triton_that_has_it(ask: Ask) -> None:
    assert NAME not in ask("v100")


def test_is_silent_where_triton_is_unknown(ask: Ask) -> None:
    packages = {"torch": None, "triton": None, "bitsandbytes": "0.44.1"}
    assert NAME not in ask("h100", packages=packages, torch_cuda=None)


def test_a_text_accuses_where_nothing_is_known(ask: Ask) -> None:
    text = "ModuleNotFoundError: No module named 'triton.ops.matmul_perf_model'"
    packages = {"torch": None, "triton": None, "bitsandbytes": None}
    found = ask("h100", error=text, packages=packages, torch_cuda=None)[NAME]
    assert found.explains_error
    assert found.fixes[0].spec == ">=0.45.1"
