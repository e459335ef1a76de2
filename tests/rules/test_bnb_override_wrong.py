"""bnb-override-wrong: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "bnb-override-wrong"


def test_fires_on_another_cuda_version(ask: Ask) -> None:
    found = ask("h100", env={"BNB_CUDA_VERSION": "118"})[NAME]
    assert found.severity == "warning"
    assert (found.fixes[0].action, found.fixes[0].name) == ("unset-env", "BNB_CUDA_VERSION")


def test_explains_a_library_without_cublaslt(ask: Ask) -> None:
    text = "loading libbitsandbytes_cuda118_nocublaslt118.so"
    found = ask("v100", error=text, torch_cuda="11.8", env={"BNB_CUDA_VERSION": "118"})
    assert found[NAME].explains_error


def test_is_silent_on_torchs_own(ask: Ask) -> None:
    assert NAME not in ask("h100", env={"BNB_CUDA_VERSION": "130"})


def test_is_silent_where_the_environment_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("h100", env=None)


def test_a_text_that_says_that_it_is_set_is_enough(ask: Ask) -> None:
    text = (
        "WARNING: Manual override via BNB_CUDA_VERSION env variable detected!\n"
        "CUDA SETUP: Required library version not found: libbitsandbytes_cuda114_nocublaslt.so."
    )
    found = ask("h100", text, packages={"bitsandbytes": None}, native=None, env={})
    assert next(iter(found)) == "bnb-override-wrong"
