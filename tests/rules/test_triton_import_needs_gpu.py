"""triton-import-needs-gpu: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "triton-import-needs-gpu"

PACKAGES = {"triton": "3.3.0", "bitsandbytes": "0.44.1"}


def test_fires_where_importing_asks_for_a_gpu(ask: Ask) -> None:
    found = ask("cpu", packages=PACKAGES)
    first = next(iter(found.values()))
    assert (first.rule, first.severity) == (NAME, "error")
    assert first.fixes[0].package == "bitsandbytes"


def test_names_what_comes_next(ask: Ask) -> None:
    told = " ".join(one.text for one in ask("cpu", packages=PACKAGES)[NAME].because)
    assert "triton-ops-removed" in told


def test_is_silent_with_a_gpu(ask: Ask) -> None:
    found = ask("h100", packages=PACKAGES)
    assert NAME not in found
    assert "triton-ops-removed" in found


def test_is_silent_on_a_bitsandbytes_that_asks_nothing(ask: Ask) -> None:
    assert NAME not in ask("cpu", packages={"triton": "3.3.0"})


def test_is_silent_where_the_gpus_are_unknown(ask: Ask) -> None:
    assert NAME not in ask("cpu", packages=PACKAGES, gpus=None, driver=None)


def test_a_text_accuses_where_the_gpus_are_unknown(ask: Ask) -> None:
    text = "RuntimeError: 0 active drivers ([]). There should only be one."
    found = ask("h100", error=text, packages=PACKAGES, gpus=None, driver=None)
    assert found[NAME].explains_error


def test_does_not_blame_bitsandbytes_where_it_is_not_known_to_be_there(ask: Ask) -> None:
    text = "RuntimeError: 0 active drivers ([]). There should only be one."
    unknown = {"bitsandbytes": None, "triton": None, "torch": None}
    found = ask("h100", error=text, packages=unknown, gpus=None, driver=None)[NAME]
    assert found.fixes[0].action == "change-hardware"
    assert "bitsandbytes" not in found.title
