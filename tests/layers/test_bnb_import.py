"""Can bitsandbytes be imported: what releases mean by triton being available."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qdoctor.layers.bnb_import import bnb_imports

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdoctor.layers import Answer

ASKING_TRITON = "3.3.1"  # its autotune decorator asks for a driver
GUARDED_BY_A_GPU = "0.48.0"  # takes triton for available only where torch finds a GPU for it
GUARDED_BY_INSTALLATION = "0.44.1"


def _packages(bitsandbytes: str) -> dict[str, str]:
    return {"torch": "2.7.1", "triton": ASKING_TRITON, "bitsandbytes": bitsandbytes}


def test_a_release_that_asks_for_a_gpu_first_imports_without_one(
    ask: Callable[..., Answer],
) -> None:
    assert ask(bnb_imports, packages=_packages(GUARDED_BY_A_GPU), gpus=[]).value == "yes"


def test_a_release_that_asks_only_whether_triton_is_installed_does_not(
    ask: Callable[..., Answer],
) -> None:
    answer = ask(bnb_imports, packages=_packages(GUARDED_BY_INSTALLATION), gpus=[])
    assert (answer.value, answer.rule) == ("no", "triton-import-needs-gpu")


@pytest.mark.parametrize("gpus", [[], None, [{"index": 0, "sm": "8.0"}]])
def test_names_that_are_there_need_no_guard(
    ask: Callable[..., Answer], gpus: list[dict[str, object]] | None
) -> None:
    assert ask(bnb_imports, packages=_packages(GUARDED_BY_A_GPU), gpus=gpus).value == "yes"


def test_a_guard_that_cannot_be_judged_leaves_a_failing_import_unknown(
    ask: Callable[..., Answer],
) -> None:
    packages = {"torch": "2.1.2", "triton": "2.0.0", "bitsandbytes": GUARDED_BY_A_GPU}
    opened = ask(bnb_imports, packages=packages, gpus=[{"index": 0, "sm": "8.0"}])
    unsure = ask(bnb_imports, packages=packages, gpus=None, driver=None)
    assert (opened.value, unsure.value) == ("no", "unknown")


IMPORTS_SCIPY = "0.41.3"  # and does not require it


@pytest.mark.parametrize(("scipy", "value"), [("", "no"), ("1.17.0", "yes"), (None, "yes")])
def test_a_package_that_is_known_to_be_missing_fails_the_import(
    ask: Callable[..., Answer], scipy: str | None, value: str
) -> None:
    packages = {"bitsandbytes": IMPORTS_SCIPY, "scipy": scipy}
    answer = ask(bnb_imports, packages=packages)
    assert answer.value == value
    assert value == "yes" or "scipy" in answer.reason


OLD_TRITON = "2.1.0"  # has no triton.backends, which torch's compiler imports from 2.7 on


@pytest.mark.parametrize(
    ("bitsandbytes", "torch", "triton", "value"),
    [
        ("0.48.1", "2.13.0", OLD_TRITON, "no"),
        ("0.48.1", "2.13.0", "3.7.1", "yes"),
        ("0.50.2", "2.13.0", OLD_TRITON, "yes"),  # loads no compiler when it is imported
    ],
)
def test_torchs_compiler_may_ask_for_what_an_old_triton_lacks(
    ask: Callable[..., Answer], bitsandbytes: str, torch: str, triton: str, value: str
) -> None:
    packages = {"bitsandbytes": bitsandbytes, "torch": torch, "triton": triton}
    answer = ask(bnb_imports, packages=packages, gpus=[])
    assert answer.value == value
    assert value == "yes" or "triton.backends.compiler" in answer.reason


@pytest.mark.parametrize(
    ("bitsandbytes", "rule"),
    [("0.42.0", "triton-ops-removed"), ("0.44.1", "triton-import-needs-gpu")],
)
def test_what_importing_reaches_first_is_what_fails(
    ask: Callable[..., Answer], bitsandbytes: str, rule: str
) -> None:
    answer = ask(bnb_imports, packages=_packages(bitsandbytes), gpus=[])
    assert (answer.value, answer.rule) == ("no", rule)
