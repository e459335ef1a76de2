"""sm-lacks-int8-tensor-cores: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "sm-lacks-int8-tensor-cores"

TEXT = "NotImplementedError: igemmlt not available (probably built with NO_CUBLASLT)"


def test_fires_on_hardware_without_them(ask: Ask) -> None:
    found = ask("v100")[NAME]
    assert found.severity == "note"
    assert "bnb-int8" in found.affects
    assert ("use", "bnb-nf4") in [(fix.action, fix.backend) for fix in found.fixes]


def test_explains_the_text_of_a_failed_merge(ask: Ask) -> None:
    found = ask("v100", error=TEXT)
    first = next(iter(found.values()))
    assert (first.rule, first.explains_error, first.severity) == (NAME, True, "error")
    assert ("use", "half") in [(fix.action, fix.backend) for fix in first.fixes]


def test_the_same_text_has_another_cause_on_hardware_with_them(ask: Ask) -> None:
    file = "libbitsandbytes_cuda121.so"
    library = [{"package": "bitsandbytes", "file": file, "needs": ["libc.so.6"]}]
    found = ask("a100", error=TEXT, native=library)
    assert NAME not in found
    assert found["bnb-built-without-cublaslt"].explains_error


def test_a_release_without_another_path_is_upgraded_to_the_first_that_has_one(ask: Ask) -> None:
    packages = {"torch": "1.13.1", "bitsandbytes": "0.35.4"}
    fix = ask("v100", packages=packages, torch_cuda="11.7")[NAME].fixes[0]
    assert (fix.action, fix.package) == ("upgrade", "bitsandbytes")
    assert (fix.spec or "").startswith(">=0.37.0,<")


def test_where_there_is_no_path_any_more_nobody_is_sent_back(ask: Ask) -> None:
    packages = {"torch": "2.5.1", "bitsandbytes": "0.45.0"}
    fixes = ask("v100", packages=packages)[NAME].fixes
    assert "bitsandbytes" not in [fix.package for fix in fixes]


def test_is_silent_on_hardware_with_them(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_is_silent_where_the_sm_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("v100", gpus=[{"index": 0, "name": "NVIDIA Graphics Device"}])


def test_a_text_accuses_where_nothing_is_known(ask: Ask) -> None:
    packages = {"torch": None, "triton": None, "bitsandbytes": None}
    text = "ERROR: Your GPU does not support Int8 Matmul!"
    found = ask("v100", error=text, packages=packages, torch_cuda=None, gpus=None)[NAME]
    assert found.explains_error


def test_a_text_that_others_print_too_is_not_its_own_without_bitsandbytes(ask: Ask) -> None:
    text = "RuntimeError: probability tensor contains either `inf`, `nan` or element < 0"
    assert next(iter(ask("v100", error=text))) == NAME
    found = ask("v100", error=text, packages={"bitsandbytes": None})
    assert next(iter(found)) == "not-environment"
    assert NAME not in found
