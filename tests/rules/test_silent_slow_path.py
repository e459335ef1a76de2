"""silent-slow-path: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from qdoctor.model import Finding, Observation

Ask = Callable[..., dict[str, Finding]]

NAME = "silent-slow-path"

SLOW = Observation(
    probe="cublaslt_igemm",
    outcome="wrong",
    code="silent-slow-path",
    path_taken="fp32",
    expected="pass",
)


def test_fires_on_right_numbers_by_the_wrong_path(ask: Ask) -> None:
    found = ask("h100", observations=(SLOW,))
    assert found[NAME].severity == "warning"
    assert "fp32" in found[NAME].title
    assert "probe-contradicts-matrix" not in found


def test_is_silent_on_the_right_path(ask: Ask) -> None:
    passed = Observation(probe="cublaslt_igemm", outcome="passed", expected="pass")
    assert NAME not in ask("h100", observations=(passed,))


ODD = msgspec.structs.replace(
    SLOW, probe="bnb_int8", variant="matmul-odd-k", path_taken="no native function"
)


def test_is_silent_where_the_data_knows_the_slow_path(ask: Ask) -> None:
    assert NAME not in ask("h100", observations=(msgspec.structs.replace(ODD, expected="fail"),))


def test_fires_where_the_data_does_not_know(ask: Ask) -> None:
    found = ask("h100", observations=(msgspec.structs.replace(ODD, expected="unknown"),))[NAME]
    assert found.title.endswith(
        "bnb_int8 (matmul-odd-k) silently took a slow path: no native function"
    )
    assert found.affects == ["bnb_int8"]


def test_takes_away_the_backend_whose_layer_it_was(ask: Ask) -> None:
    layer = msgspec.structs.replace(ODD, variant="linear", expected="pass")
    assert ask("h100", observations=(layer,))[NAME].affects == ["bnb_int8", "bnb-int8"]


def test_is_silent_where_nothing_ran(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_the_package_that_a_text_names_is_installed_anew(ask: Ask) -> None:
    text = "ERROR:auto_gptq.nn_modules.qlinear.qlinear_exllama:exllama_kernels not installed."
    found = ask("a100", error=text)[NAME]
    assert (found.fixes[0].action, found.fixes[0].package) == ("reinstall", "auto-gptq")
