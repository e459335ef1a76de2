"""bnb-cuda-binary-missing: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor.diagnosis import diagnose
from qdoctor.model import Facts, Finding, Host

Ask = Callable[..., dict[str, Finding]]

NAME = "bnb-cuda-binary-missing"

TOO_NEW = {"packages": {"torch": "2.4.0+cu124", "triton": "3.0.0", "bitsandbytes": "0.43.0"}}


def test_fires_on_a_cuda_version_without_a_library(ask: Ask) -> None:
    found = ask("a100", torch_cuda="12.4", **TOO_NEW)[NAME]
    assert found.severity == "error"
    fix = found.fixes[0]
    assert (fix.action, fix.package, fix.spec) == ("upgrade", "bitsandbytes", ">=0.43.1")


def test_is_a_note_without_a_gpu(ask: Ask) -> None:
    found = ask("a100", torch_cuda="12.4", gpus=[], **TOO_NEW)[NAME]
    assert found.severity == "note"


def test_a_release_whose_libraries_all_lack_cublaslt_has_none_for_turing_and_later(
    ask: Ask,
) -> None:
    old = {"packages": {"torch": "1.13.1", "bitsandbytes": "0.36.0"}, "torch_cuda": "11.7"}
    found = ask("a100", **old)[NAME]
    assert (found.severity, found.fixes[0].action) == ("error", "upgrade")
    assert "none with cuBLASLt" in found.because[0].text
    assert (found.fixes[0].spec or "").startswith(">=0.36.0.post2")
    assert NAME not in ask("v100", **old)
    assert NAME not in ask("a100", gpus=None, **old)  # which library is loaded is not known


def test_is_silent_where_the_library_is_there(ask: Ask) -> None:
    assert NAME not in ask("a100")


def test_is_silent_where_torchs_cuda_is_unknown(ask: Ask) -> None:
    packages = {"torch": None, "triton": None, "bitsandbytes": "0.43.0"}
    assert NAME not in ask("a100", torch_cuda=None, packages=packages)


def test_the_name_of_the_library_tells_the_cuda_version(ask: Ask) -> None:
    text = "CUDA SETUP: Required library version not found: libbitsandbytes_cuda122.so."
    packages = {"torch": None, "triton": None, "bitsandbytes": "0.39.1"}
    found = ask("a100", error=text, torch_cuda=None, packages=packages)[NAME]
    assert found.explains_error
    assert found.fixes[0].spec is not None
    assert found.fixes[0].spec.startswith(">=0.4")


def test_a_text_does_not_overrule_a_library_that_is_there(ask: Ask) -> None:
    text = "Required library version not found: libbitsandbytes_cuda121.so"
    assert NAME not in ask("a100", error=text)


ALONE = {"torch": None, "triton": None}
NOWHERE = {"os": None, "libc": None, "wsl": None}


def test_what_no_wheel_has_is_missing_whatever_the_system_is(ask: Ask) -> None:
    packages = {**ALONE, "bitsandbytes": "0.43.0"}
    found = ask("a100", torch_cuda="12.4", packages=packages, host=NOWHERE)[NAME]
    fix = found.fixes[0]  # 0.43.1 has it for Linux only
    assert (fix.action, fix.package, fix.spec) == ("upgrade", "bitsandbytes", ">=0.43.2")


def test_is_silent_where_only_some_system_lacks_it(ask: Ask) -> None:
    packages = {**ALONE, "bitsandbytes": "0.43.1"}
    assert NAME not in ask("a100", torch_cuda="12.4", packages=packages, host=NOWHERE)


def test_a_library_for_rocm_is_looked_for_by_its_name(ask: Ask) -> None:
    text = "RuntimeError: Configured ROCm binary not found at /x/libbitsandbytes_rocm82.so"
    packages = {"torch": "2.12.0+rocm7.12", "bitsandbytes": "0.49.2"}
    found = ask("h100", text, packages=packages, torch_cuda=None, native=None, gpus=None)
    assert "ROCm" in found["bnb-cuda-binary-missing"].title
    assert found["bnb-cuda-binary-missing"].fixes[0].action == "upgrade"


def test_a_release_that_has_the_library_for_rocm_is_not_accused(ask: Ask) -> None:
    text = "RuntimeError: Configured ROCm binary not found at /x/libbitsandbytes_rocm72.so"
    packages = {"torch": "2.12.0+rocm7.2", "bitsandbytes": "0.49.2"}
    found = ask("h100", text, packages=packages, torch_cuda=None, native=None, gpus=None)
    assert "bnb-cuda-binary-missing" not in found


def told(ask: Ask, text: str) -> Finding:
    packages = {"bitsandbytes": None, "torch": None, "triton": None}
    return ask("h100", text, packages=packages, torch_cuda=None, native=None)[NAME]


def test_a_text_without_a_stated_release_is_of_one_that_lacks_the_library(ask: Ask) -> None:
    text = "CUDA SETUP: Required library version not found: libbitsandbytes_cuda121.so."
    found = told(ask, text)
    assert (found.explains_error, found.undecided) == (True, None)
    assert (found.fixes[0].action, found.fixes[0].spec) == ("upgrade", ">=0.37.2")


def test_a_library_that_all_known_releases_have_is_missing_from_an_older_one(ask: Ask) -> None:
    text = "CUDA SETUP: Required library version not found: libbitsandbytes_cuda118.so."
    assert told(ask, text).fixes[0].action == "upgrade"


def test_a_library_that_no_later_release_has_is_left_to_what_else_is_known(ask: Ask) -> None:
    text = "CUDA SETUP: Required library version not found: libbitsandbytes_cuda100.so."
    assert told(ask, text).fixes[0].package != "bitsandbytes" or told(ask, text).undecided


def test_a_release_that_serves_every_build_of_the_stated_torch_lacks_none() -> None:
    text = "AttributeError: 'NoneType' object has no attribute 'cquantize_blockwise_fp16_nf4'"
    for release, missing in (("0.43.2", False), ("0.37.2", True)):  # 0.37.2: none for CUDA 12.1
        facts = Facts(packages={"bitsandbytes": release, "torch": "2.3.0"})
        found = diagnose(facts, error=text)[1]
        assert (NAME in {one.rule for one in found}) is missing


def test_the_installed_build_of_torch_is_not_offered_again() -> None:
    text = (
        "The installed version of bitsandbytes was compiled without GPU support. 8-bit optimizers, "
        "8-bit multiplication, and GPU quantization are unavailable."
    )
    facts = Facts(host=Host(os="windows"), packages={"torch": "2.6.0+cu126"})
    found = diagnose(facts, error=text)[1]
    offered = [fix for one in found if one.rule == NAME for fix in one.fixes]
    assert (offered[0].action, offered[0].package) == ("upgrade", "bitsandbytes")
    assert "cu126" not in {fix.index for fix in offered}


@pytest.mark.parametrize(
    ("cuda", "action", "spec"),
    [
        ("112", "downgrade", ">=0.36.0.post2,<0.40.0"),
        ("116", "downgrade", ">=0.36.0.post2,<0.40.0"),
        ("122", "upgrade", ">=0.40.0,<0.50.0"),
    ],
)
def test_the_wording_tells_in_which_direction_the_release_with_the_library_lies(
    cuda: str, action: str, spec: str, ask: Ask
) -> None:
    text = f"CUDA SETUP: Required library version not found: libbitsandbytes_cuda{cuda}.so."
    fixes = told(ask, text).fixes
    with_it = next(one for one in fixes if "it has this library" in one.why)
    assert (with_it.action, with_it.package, with_it.spec) == (action, "bitsandbytes", spec)
    newer = [one.spec for one in fixes[: fixes.index(with_it)]]
    assert newer == ([">=0.50.0"] if action == "downgrade" else [])


GREETING = "bin /x/site-packages/bitsandbytes/libbitsandbytes_cuda{}.so"
FOUND = (
    "CUDA_SETUP: WARNING! libcudart.so not found in any environmental path. Searching in backup "
    "paths...\nCUDA SETUP: CUDA runtime path found: /usr/local/cuda/lib64/libcudart.so"
)


def greeted(ask: Ask, text: str, release: str | None) -> Finding:
    packages = {"bitsandbytes": release, "torch": None, "triton": None}
    found = ask("a100", text, packages=packages, torch_cuda=None, native=None)
    return next(iter(found.values()))


def test_a_greeting_that_names_a_library_which_the_release_lacks_foretells_the_failure(
    ask: Ask,
) -> None:
    for text in (GREETING.format("122"), f"CUDA SETUP: Loading {GREETING.format('122')}..."):
        found = greeted(ask, text.replace("Loading bin", "Loading binary"), "0.38.1")
        assert (found.rule, found.explains_error, found.undecided) == (NAME, True, None)
        assert (found.fixes[0].action, found.fixes[0].spec) == ("upgrade", ">=0.40.0,<0.50.0")
    older = greeted(ask, GREETING.format("116"), "0.41.1")
    offered = [(one.action, one.spec) for one in older.fixes if one.package == "bitsandbytes"]
    assert older.rule == NAME
    assert offered == [("upgrade", ">=0.45.0"), ("downgrade", ">=0.36.0.post2,<0.40.0")]


def test_a_release_between_those_with_the_library_may_be_left_either_way(ask: Ask) -> None:
    """0.37 to 0.38 and 0.40 to 0.42 have one for CUDA 11.0; 0.39.0 and 0.43.0 print it, too."""
    text = "CUDA SETUP: Required library version not found: libbitsandbytes_cuda110.so."
    assert "downgrade" not in {one.action for one in told(ask, text).fixes[:1]}


@pytest.mark.parametrize("release", ["0.39.1", None, "0.39.1+own"])
def test_a_greeting_is_harmless_where_the_library_may_be_there(
    release: str | None, ask: Ask
) -> None:
    assert greeted(ask, GREETING.format("118"), release).rule == "harmless-warning"
    assert greeted(ask, GREETING.format("118") + "\n" + FOUND, release).rule == "harmless-warning"


def test_a_greeting_tells_the_cuda_version_that_a_release_of_torch_leaves_open(ask: Ask) -> None:
    """torch 2.5.1 comes for CUDA 12.4, unless another build was taken: here one for 12.1."""
    text = f"CUDA SETUP: Detected CUDA version 121\nCUDA SETUP: Loading binary {GREETING[4:]}..."
    packages = {"bitsandbytes": "0.41.1", "torch": "2.5.1", "triton": "3.1.0"}
    found = ask("a100", text.format("121"), packages=packages, torch_cuda=None, native=None)
    assert NAME not in found
    assert next(iter(found)) == "harmless-warning"


def test_what_fails_after_a_warning_that_was_overtaken_counts(ask: Ask) -> None:
    text = GREETING.format("112") + "\n" + FOUND
    missing = "CUDA SETUP: Required library version not found: libbitsandbytes_cuda112.so."
    assert greeted(ask, f"{text}\n{missing}", "0.40.2").rule == NAME
    cpu = GREETING.format("118").replace("cuda118", "cpu") + "\n" + FOUND
    assert greeted(ask, cpu, "0.39.1").rule != "harmless-warning"
