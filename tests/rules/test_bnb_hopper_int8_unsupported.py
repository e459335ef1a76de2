"""bnb-hopper-int8-unsupported: where it fires, where not, and where it cannot be told."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "bnb-hopper-int8-unsupported"

OLD = {"torch": "2.5.1+cu124", "triton": "3.1.0", "bitsandbytes": "0.44.1"}


def test_fires_on_a_release_with_the_old_layouts(ask: Ask) -> None:
    found = ask("h100", packages=OLD, torch_cuda="12.4")[NAME]
    assert found.severity == "note"
    fix = found.fixes[0]
    assert (fix.action, fix.package, fix.spec) == ("upgrade", "bitsandbytes", ">=0.45.0")


def test_is_an_error_where_int8_is_needed(ask: Ask) -> None:
    found = ask("h100", packages=OLD, torch_cuda="12.4", need=("bnb-int8",))
    assert found[NAME].severity == "error"


def test_explains_the_text(ask: Ask) -> None:
    text = "Exception: cublasLt ran into an error!"
    assert ask("h100", error=text, packages=OLD, torch_cuda="12.4")[NAME].explains_error


def test_is_silent_on_a_release_with_the_plain_layout(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_is_silent_where_bitsandbytes_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("h100", packages={"bitsandbytes": None})


def test_an_amd_machine_is_not_told_of_hopper(ask: Ask) -> None:
    gpus = [{"index": 0, "name": "RX 7900XT"}]
    packages = {"bitsandbytes": "0.44.1", "torch": "2.5.1+rocm6.2", "triton": None}
    text = "Exception: cublasLt ran into an error!"
    found = ask("h100", text, gpus=gpus, packages=packages, torch_cuda=None, native=None)
    assert NAME not in found
    assert next(iter(found)) == "bnb-platform-unsupported"
