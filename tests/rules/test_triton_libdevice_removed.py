"""triton-libdevice-removed: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "triton-libdevice-removed"


def test_fires_where_the_name_is_gone(ask: Ask) -> None:
    found = ask("a100")[NAME]
    assert found.severity == "note"
    assert found.affects == ["bnb-switchback"]


def test_is_an_error_where_switchback_is_needed(ask: Ask) -> None:
    assert ask("a100", need=("bnb-switchback",))[NAME].severity == "error"


def test_never_offers_triton_alone(ask: Ask) -> None:
    fixes = ask("a100")[NAME].fixes
    assert fixes[0].action == "use"
    assert not any(fix.package == "triton" for fix in fixes)


def test_names_the_triton_and_the_torch_that_work(ask: Ask) -> None:
    found = ask("a100")[NAME]
    torch = next(fix for fix in found.fixes if fix.package == "torch")
    assert torch.spec == "==2.0.1"
    told = found.because[-1].text
    assert "triton 2.0.0 only" in told
    assert "torch 2.0.0 and 2.0.1" in told


def test_an_older_torch_is_not_offered_where_it_cannot_work(ask: Ask) -> None:
    found = [ask("v100")[NAME], ask("a100", python={"version": "3.12.1"})[NAME]]
    assert not any(fix.package == "torch" for one in found for fix in one.fixes)


def test_is_silent_on_the_triton_that_has_it(ask: Ask) -> None:
    packages = {"torch": "2.0.1+cu117", "triton": "2.0.0"}
    assert NAME not in ask("a100", packages=packages, torch_cuda="11.7")


def test_is_silent_where_triton_is_unknown(ask: Ask) -> None:
    packages = {"torch": None, "triton": None}
    assert NAME not in ask("a100", packages=packages, torch_cuda=None)


def test_a_text_accuses_where_nothing_is_known(ask: Ask) -> None:
    text = "AttributeError: module 'triton.language' has no attribute 'libdevice'"
    packages = {"torch": None, "triton": None, "bitsandbytes": None}
    found = ask("a100", error=text, packages=packages, torch_cuda=None)[NAME]
    assert found.explains_error
    assert found.fixes[0].action == "use"
