"""The rules about triton names, for any installed package: by the names that its own files use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

RULES = {
    "triton.ops.matmul": "triton-ops-removed",
    "triton.language.libdevice.llrint": "triton-libdevice-removed",
    "triton.language.math.tanh": "triton-math-moved",
    "triton.common.build": "triton-api-moved-other",
}


def using(name: str, when: str, package: str = "liger-kernel") -> list[dict[str, Any]]:
    file = package.replace("-", "_") + "/ops.py"
    return [{"package": package, "file": file, "names": {name: 12, "triton.jit": 9}, "when": when}]


@pytest.mark.parametrize(("name", "rule"), RULES.items())
def test_fires_for_any_package(ask: Ask, name: str, rule: str) -> None:
    names = using(name, "import")
    found = ask("h100", packages={"liger-kernel": "0.3.0"}, triton_names=names)[rule]
    assert found.severity == "error"
    assert "liger-kernel cannot be imported" in found.title
    assert found.because[0].source == "liger_kernel/ops.py:12"
    assert found.because[0].strength == "inspected"
    fix = found.fixes[0]
    assert (fix.action, fix.package, fix.spec) == ("upgrade", "liger-kernel", ">0.3.0")


@pytest.mark.parametrize(("name", "rule"), RULES.items())
def test_is_a_note_where_only_code_that_is_called_asks(ask: Ask, name: str, rule: str) -> None:
    names = using(name, "later")
    found = ask("h100", packages={"liger-kernel": "0.3.0"}, triton_names=names)[rule]
    assert found.severity == "note"
    assert "code of liger-kernel" in found.title


@pytest.mark.parametrize(("name", "rule"), RULES.items())
def test_never_accuses_code_that_looks_first(ask: Ask, name: str, rule: str) -> None:
    names = using(name, "guarded")
    found = ask("h100", packages={"liger-kernel": "0.3.0"}, triton_names=names).get(rule)
    assert found is None or "liger" not in found.title


@pytest.mark.parametrize(("name", "rule"), RULES.items())
def test_is_silent_where_triton_has_the_name(ask: Ask, name: str, rule: str) -> None:
    assert name
    names = using("triton.language.dot", "import")
    found = ask("h100", packages={"liger-kernel": "0.3.0"}, triton_names=names).get(rule)
    assert found is None or "liger" not in found.title


@pytest.mark.parametrize(("name", "rule"), RULES.items())
def test_is_silent_where_triton_is_unknown(ask: Ask, name: str, rule: str) -> None:
    packages = {"torch": None, "triton": None, "liger-kernel": "0.3.0"}
    found = ask("h100", packages=packages, torch_cuda=None, triton_names=using(name, "import"))
    assert not any("liger" in one.title for one in found.values())
    assert rule not in found


def test_a_text_settles_on_the_package_that_asks(ask: Ask) -> None:
    text = "AttributeError: module 'triton.language' has no attribute 'libdevice'"
    names = using("triton.language.libdevice.llrint", "later")
    packages = {"liger-kernel": "0.3.0", "bitsandbytes": ""}
    found = ask("h100", error=text, packages=packages, triton_names=names)
    first = next(iter(found.values()))
    assert (first.rule, first.severity) == ("triton-libdevice-removed", "error")
    assert "liger-kernel" in first.title
    assert first.explains_error


def test_the_place_of_a_moved_function_is_told(ask: Ask) -> None:
    names = using("triton.language.math.tanh", "import")
    found = ask("h100", packages={"liger-kernel": "0.3.0"}, triton_names=names)
    told = [fix for fix in found["triton-math-moved"].fixes if fix.action == "change-code"]
    assert "triton.language.extra" in told[0].why


def test_names_of_other_makers_tritons_only_count_where_importing_asks_for_them(ask: Ask) -> None:
    rule = "triton-api-moved-other"
    packages = {"liger-kernel": "0.3.0"}
    name = "triton.language.no_such_name"
    assert rule not in ask("h100", packages=packages, triton_names=using(name, "later"))
    assert rule in ask("h100", packages=packages, triton_names=using(name, "import"))


def test_an_unknown_triton_answers_by_its_own_files(ask: Ask) -> None:
    packages = {"triton": "99.0.0", "liger-kernel": "0.3.0"}
    names = using("triton.ops.matmul", "import")
    rule = "triton-ops-removed"
    assert rule not in ask("h100", packages=packages, triton_names=names)
    found = ask(
        "h100", packages=packages, triton_names=names, triton_has={"triton.ops.matmul": False}
    )
    assert "liger-kernel" in found[rule].title
    has = {"triton.ops.matmul": True}
    assert rule not in ask("h100", packages=packages, triton_names=names, triton_has=has)


def test_installed_files_of_bitsandbytes_outrank_its_release(ask: Ask) -> None:
    """A copy whose import of triton.ops was patched away can be imported, whatever its release."""
    packages = {"bitsandbytes": "0.44.1"}
    rule = "triton-ops-removed"
    patched = using("triton.jit", "import", "bitsandbytes")
    assert ask("h100", packages=packages)[rule].because[0].strength == "mined"
    assert rule not in ask("h100", packages=packages, triton_names=patched)
    asks = using("triton.ops.matmul_perf_model.early_config_prune", "import", "bitsandbytes")
    found = ask("h100", packages=packages, triton_names=asks)[rule]
    assert found.because[0].strength == "inspected"


def test_an_unknown_bitsandbytes_answers_by_its_own_files(ask: Ask) -> None:
    packages = {"bitsandbytes": "99.0.0"}
    rule = "triton-ops-removed"
    assert rule not in ask("h100", packages=packages)
    asks = using("triton.ops.matmul_perf_model.early_config_prune", "import", "bitsandbytes")
    assert ask("h100", packages=packages, triton_names=asks)[rule].severity == "error"
