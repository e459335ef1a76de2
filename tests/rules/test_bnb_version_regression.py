"""bnb-version-regression: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "bnb-version-regression"


def test_fires_on_a_release_without_4_bit_layers(ask: Ask) -> None:
    found = ask("a100", packages={"bitsandbytes": "0.37.2"})[NAME]
    assert "bnb-nf4" in found.affects
    assert (found.fixes[0].action, found.fixes[0].package) == ("upgrade", "bitsandbytes")


def test_is_silent_on_a_release_with_them(ask: Ask) -> None:
    assert NAME not in ask("a100")


def test_is_silent_where_bitsandbytes_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("a100", packages={"bitsandbytes": None})


def test_fires_on_a_release_whose_int8_is_known_to_be_broken(ask: Ask) -> None:
    packages = {"bitsandbytes": "0.48.0", "torch": "2.8.0", "triton": "3.4.0"}
    found = ask("a100", packages=packages, torch_cuda="12.8", torch_arch_list=None)[NAME]
    assert found.severity == "note"
    assert found.affects == ["bnb-int8"]
    assert found.because[0].strength == "documented"
    assert (found.fixes[0].action, found.fixes[0].spec) == ("upgrade", ">=0.48.1")


def test_is_silent_on_the_release_that_repaired_it(ask: Ask) -> None:
    assert NAME not in ask("a100", packages={"bitsandbytes": "0.48.1"})


CPU_LIBRARY = "libbitsandbytes_cpu.so: cannot open shared object file: No such file or directory"


def test_a_missing_file_counts_where_a_text_names_it(ask: Ask) -> None:
    told = ask("a100", packages={"bitsandbytes": "0.45.4"}, error=CPU_LIBRARY)[NAME]
    assert told.explains_error
    assert told.undecided is None
    assert NAME not in ask("a100", packages={"bitsandbytes": "0.45.4"})


def test_a_text_accuses_no_release_that_is_whole(ask: Ask) -> None:
    assert NAME not in ask("a100", packages={"bitsandbytes": "0.45.5"}, error=CPU_LIBRARY)


def test_a_text_dates_the_release_where_it_is_unknown(ask: Ask) -> None:
    text = (
        "ImportError: cannot import name 'get_cuda_lib_handle' from 'bitsandbytes.cuda_setup.main'"
    )
    found = ask("a100", packages={"bitsandbytes": None}, error=text)[NAME]
    assert found.explains_error
    assert (found.fixes[0].action, found.fixes[0].package) == ("upgrade", "bitsandbytes")
