"""python-module-missing: where it fires, and where not."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "python-module-missing"
OLD = {"torch": "2.0.1", "triton": "2.0.0", "bitsandbytes": "0.41.1"}


def test_a_package_that_is_imported_and_absent_is_named(ask: Ask) -> None:
    """bitsandbytes 0.41.1 imports scipy and requires nothing."""
    found = ask("a100", packages={**OLD, "scipy": "", "numpy": "1.26.4"})
    assert found[NAME].severity == "error"
    assert [fix.package for fix in found[NAME].fixes] == ["scipy"]
    assert not {"triton-import-needs-gpu", "triton-ops-removed"} & set(found)


def test_what_is_there_or_not_stated_is_not_missing(ask: Ask) -> None:
    assert NAME not in ask("a100", packages={**OLD, "scipy": "1.11.0"})
    assert NAME not in ask("a100", packages=OLD)
