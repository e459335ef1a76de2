"""bnb-version-regression: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from packaging.specifiers import SpecifierSet

import qdoctor
from qdoctor.model import Facts, Finding, Observation

Ask = Callable[..., dict[str, Finding]]

NAME = "bnb-version-regression"
BROKEN = "is known to be broken"


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
    assert BROKEN not in ask("a100", packages={"bitsandbytes": "0.48.1"})[NAME].title


CPU_LIBRARY = "libbitsandbytes_cpu.so: cannot open shared object file: No such file or directory"


def test_a_missing_file_counts_where_a_text_names_it(ask: Ask) -> None:
    told = ask("a100", packages={"bitsandbytes": "0.45.4"}, error=CPU_LIBRARY)[NAME]
    assert told.explains_error
    assert told.undecided is None
    assert BROKEN not in ask("a100", packages={"bitsandbytes": "0.45.4"})[NAME].title


def test_a_text_accuses_no_release_that_is_whole(ask: Ask) -> None:
    assert NAME not in ask("a100", packages={"bitsandbytes": "0.45.5"}, error=CPU_LIBRARY)


def test_a_text_dates_the_release_where_it_is_unknown(ask: Ask) -> None:
    text = (
        "ImportError: cannot import name 'get_cuda_lib_handle' from 'bitsandbytes.cuda_setup.main'"
    )
    found = ask("a100", packages={"bitsandbytes": None}, error=text)[NAME]
    assert found.explains_error
    assert (found.fixes[0].action, found.fixes[0].package) == ("upgrade", "bitsandbytes")


UNDEFINED = (
    '    cuda_setup.add_log_entry("WARNING: Compute capability < 7.5 detected! Only slow 8-bit '
    'matmul is supported for your GPU!", is_warning=True)\n\n'
    "NameError: name 'cuda_setup' is not defined"
)


@pytest.mark.parametrize("version", [None, "0.36.0", "0.37.0"])
def test_a_name_that_a_warning_asks_for_in_vain_is_the_release(
    version: str | None, ask: Ask
) -> None:
    packages = {"bitsandbytes": version}
    found = ask("a100", packages=packages, gpus=None, error=UNDEFINED)
    assert next(iter(found)) == NAME
    fix = found[NAME].fixes[0]
    assert (fix.action, fix.package) == ("upgrade", "bitsandbytes")
    assert not list(SpecifierSet(fix.spec or "<0").filter(["0.36.0", "0.37.0"]))


def test_that_release_is_not_accused_where_nothing_asks(ask: Ask) -> None:
    assert BROKEN not in ask("a100", packages={"bitsandbytes": "0.37.0"})[NAME].title


AVX512 = {"cpu_features": ["avx2", "avx512f"]}
SIZES = "is silently wrong here: 4-bit weights whose in_features is a multiple of 16 and not of 64"


def uneven(outcome: str) -> Observation:
    plain = {"probe": "bnb_4bit", "variant": "nf4-uneven", "device": "cpu", "outcome": outcome}
    return msgspec.convert({**plain, "detail": "wrong for 16, 48"}, Observation)


def test_fires_where_a_cpu_with_avx512_reads_4_bit_weights_wrongly(ask: Ask) -> None:
    found = ask("cpu", host=AVX512)[NAME]
    assert (found.severity, found.title) == ("note", f"bitsandbytes 0.50.2 {SIZES}")
    assert found.affects == []
    code, older = found.fixes
    assert (code.action, "llm_int8_skip_modules" in code.why) == ("change-code", True)
    assert (older.action, older.spec) == ("downgrade", ">=0.47.0,<0.49.0")
    assert "a block of zeros" in older.why


@pytest.mark.parametrize(
    ("host", "version"),
    [
        ({"cpu_features": ["avx2"]}, "0.50.2"),
        ({**AVX512, "os": "windows"}, "0.50.2"),
        (AVX512, "0.48.2"),
        ({}, "0.50.2"),
        (AVX512, None),
    ],
)
def test_is_silent_where_it_cannot_strike_and_where_that_is_unknown(
    host: dict[str, Any], version: str | None, ask: Ask
) -> None:
    assert NAME not in ask("cpu", host=host, packages={"bitsandbytes": version})


def test_what_ran_here_decides(ask: Ask) -> None:
    assert NAME not in ask("cpu", host=AVX512, observations=(uneven("passed"),))
    wrong = ask("cpu", observations=(uneven("wrong"),))[NAME]
    assert wrong.undecided is None
    assert wrong.because[-1].text.endswith("wrong: wrong for 16, 48")


def test_fires_where_gpus_train_by_a_wrong_gradient_and_offers_what_trains(ask: Ask) -> None:
    packages = {"bitsandbytes": "0.50.2", "torch": "2.8.0", "triton": "3.4.0", "torchao": ""}
    found = ask("a100", packages=packages, torch_cuda="12.8", torch_arch_list=None)[NAME]
    assert found.severity == "note"
    assert "the weight's gradient of Linear8bitLt" in found.title
    assert found.affects == []
    assert [one.backend for one in found.fixes if one.action == "use"] == ["qdoctor-switchback"]


def test_a_text_of_another_cause_does_not_speak_for_wrong_results(ask: Ask) -> None:
    memory = "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB"
    assert NAME not in ask("cpu", host=AVX512, error=memory)


PACKING = """  File "/x/bitsandbytes/nn/modules.py", line 620, in forward
    self.weight.data, quant_state = _convert_weight_packed_for_cpu(self.weight.data, quant_state)
  File "/x/bitsandbytes/functional.py", line 1720, in _convert_weight_packed_for_cpu
    quant_state.absmax.reshape(quant_state.shape[0], quant_state.shape[1] // quant_state.blocksize)
RuntimeError: shape '[128, 1]' is invalid for input of size 192
"""
REFUSED = "AssertionError: N must be divisible by block_n"


@pytest.mark.parametrize("text", [PACKING, REFUSED])
@pytest.mark.parametrize("version", ["0.50.2", None])
def test_a_refused_size_is_explained_whatever_else_is_known(
    text: str, version: str | None, ask: Ask
) -> None:
    for machine in ("cpu", "h100"):
        found = ask(machine, error=text, packages={"bitsandbytes": version})[NAME]
        assert found.explains_error
        assert found.undecided is None
        assert "Linear4bit after its first forward" in found.title
        assert "support_avx512bf16_for_cpu = False" in found.fixes[0].why
        assert "in_features is no multiple of 64 unquantized" in found.fixes[0].why


def test_what_qdoctors_own_trial_says_is_explained(ask: Ask) -> None:
    output = "bnb-nf4 computes wrongly on cpu: its output has the relative error 0.22 in a trial"
    found = ask("cpu", error=output)[NAME]
    assert (found.explains_error, SIZES in found.title) == (True, True)
    gradient = "bnb-int8 computes wrongly on cuda:0: its weight gradient has the relative error 1.2"
    found = ask("h100", error=gradient, packages={"bitsandbytes": "0.50.2"})[NAME]
    assert (found.explains_error, "gradient" in found.title) == (True, True)


def test_a_release_that_is_right_is_not_accused_by_such_a_text(ask: Ask) -> None:
    assert NAME not in ask("cpu", error=REFUSED, packages={"bitsandbytes": "0.48.2"})


SETUP = "RuntimeError: CUDA Setup failed despite GPU being available. Please run the following"
OLDER_CXX = {"os": "linux", "libc": None, "glibcxx": None}


def test_a_release_that_needs_a_newer_cxx_library_than_those_around_it_is_told_by_its_text(
    ask: Ask,
) -> None:
    packages = {"bitsandbytes": "0.41.3.post1", "torch": "2.1.2", "triton": "2.1.0"}
    told = ask("a100", error=SETUP, host=OLDER_CXX, packages=packages)[NAME]
    assert told.explains_error
    assert "GLIBCXX_3.4.26" in told.because[0].text
    assert told.fixes[0].package == "bitsandbytes"
    assert NAME not in ask("a100", host=OLDER_CXX, packages=packages)


@pytest.mark.parametrize(
    ("glibcxx", "version"),
    [("3.4.30", "0.41.3.post1"), (None, "0.41.3.post2"), (None, "0.38.1"), (None, None)],
)
def test_the_same_text_accuses_no_other_release_and_no_system_that_is_new_enough(
    glibcxx: str | None, version: str | None, ask: Ask
) -> None:
    host = {**OLDER_CXX, "glibcxx": glibcxx}
    assert NAME not in ask("a100", error=SETUP, host=host, packages={"bitsandbytes": version})


@pytest.mark.parametrize("release", ["0.45.4", "0.48.0"])
def test_full_memory_is_laid_to_no_release_that_breaks_something_else(release: str) -> None:
    facts = Facts(packages={"bitsandbytes": release})
    found = qdoctor.diagnose(facts, "torch.OutOfMemoryError: CUDA out of memory.").findings
    assert [one.rule for one in found if one.explains_error] == ["not-environment"]


def test_full_memory_is_laid_to_the_release_that_takes_too_much() -> None:
    facts = Facts(packages={"bitsandbytes": "0.38.1"})
    found = qdoctor.diagnose(facts, "torch.OutOfMemoryError: CUDA out of memory.").findings
    assert next(one.rule for one in found if one.explains_error) == NAME
