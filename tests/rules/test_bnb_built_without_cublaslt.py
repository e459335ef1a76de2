"""bnb-built-without-cublaslt: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "bnb-built-without-cublaslt"

FILE = {"package": "bitsandbytes", "file": "libbitsandbytes_cuda121.so"}


def test_fires_on_a_library_that_does_not_need_it(ask: Ask) -> None:
    found = ask("a100", native=[{**FILE, "needs": ["libcudart.so.12", "libc.so.6"]}])[NAME]
    assert "bnb-int8" in found.affects
    assert (found.fixes[0].action, found.fixes[0].spec) == ("reinstall", "==0.42.0")


def test_is_silent_on_one_that_does(ask: Ask) -> None:
    assert NAME not in ask("a100", native=[{**FILE, "needs": ["libcublasLt.so.12"]}])


def test_is_silent_where_the_needs_were_not_read(ask: Ask) -> None:
    assert NAME not in ask("a100", native=[FILE])
    assert NAME not in ask("a100")
