"""Names of triton in a text: which rule answers, and that its fixes concern who asked."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor import diagnose
from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

TANH = "AttributeError: module 'triton.language.math' has no attribute 'tanh'"
CAST = "AttributeError: module 'triton.language' has no attribute 'cast'"
DUMP = "ImportError: cannot import name 'default_dump_dir' from 'triton.runtime.cache'"
NOTHING = {"torch": None, "triton": None, "bitsandbytes": None}


def called(module: str, text: str) -> str:
    call = f'  File "/x/site-packages/{module}/a.py", line 1, in f'
    return f"Traceback (most recent call last):\n{call}\n{text}"


def first_of(found: dict[str, Finding]) -> Finding:
    return next(iter(found.values()))


def test_the_package_in_the_traceback_is_upgraded_and_triton_stays(ask: Ask) -> None:
    text, packages = called("mamba_ssm", TANH), {"mamba_ssm": "2.0.1", "bitsandbytes": None}
    found = first_of(ask("h100", error=text, packages=packages))
    assert (found.rule, found.severity, found.undecided) == ("triton-math-moved", "error", None)
    assert found.title.startswith("mamba-ssm asks for triton.language.math.tanh")
    actions = [(fix.action, fix.package, fix.spec) for fix in found.fixes]
    assert actions[0][:2] == ("upgrade", "mamba-ssm")
    assert [one[0] for one in actions] == ["upgrade", "change-code", "downgrade"]
    assert actions[2][1:] == ("triton", "<3.0.0")


def test_a_script_is_to_be_changed(ask: Ask) -> None:
    found = first_of(ask("h100", error=TANH, packages={"bitsandbytes": None}))
    assert found.fixes[0].action == "change-code"
    assert "triton.language.extra.libdevice.tanh" in found.fixes[0].why


def test_no_other_quantization_is_offered_for_code_without_bitsandbytes(ask: Ask) -> None:
    for text in (TANH, CAST, DUMP, called("fla", TANH)):
        for one in ask("h100", error=text, packages=NOTHING, torch_cuda=None).values():
            assert not any(fix.action == "use" for fix in one.fixes if one.explains_error)


@pytest.mark.parametrize(
    ("text", "rule", "fix"),
    [
        (CAST, "triton-too-old-for-package", ("upgrade", "triton", ">=3.0.0")),
        (TANH, "triton-math-moved", ("change-code", None, None)),
        (
            "AttributeError: module 'triton' has no attribute 'kernel'",  # before 2.0.0
            "triton-api-moved-other",
            ("downgrade", "triton", "<2.0.0"),
        ),
        (
            "ImportError: cannot import name 'tanh' from 'triton.language.math'",
            "triton-math-moved",
            ("change-code", None, None),
        ),
    ],
)
def test_of_an_unknown_triton_the_history_of_the_name_decides(
    ask: Ask, text: str, rule: str, fix: tuple[str, str | None, str | None]
) -> None:
    found = first_of(ask("h100", error=text, packages=NOTHING, torch_cuda=None))
    assert (found.rule, found.undecided) == (rule, None)
    assert (found.fixes[0].action, found.fixes[0].package, found.fixes[0].spec) == fix


def test_an_older_torch_is_changed_with_its_triton(ask: Ask) -> None:
    packages = {"torch": "2.1.2", "triton": "2.1.0", "bitsandbytes": None}
    found = first_of(ask("a100", error=called("fla", CAST), packages=packages, torch_cuda=None))
    assert [(fix.action, fix.package) for fix in found.fixes] == [
        ("upgrade", "torch"),
        ("downgrade", "flash-linear-attention"),
    ]


def test_what_a_package_requires_says_which_triton_is_right(ask: Ask) -> None:
    packages = {**NOTHING, "vllm": "0.5.3.post1"}
    found = first_of(ask("h100", error=DUMP, packages=packages, torch_cuda=None))
    fix = found.fixes[0]
    assert (fix.action, fix.package, fix.spec) == ("install-matching", "triton", "==2.3.1")


def test_what_torch_itself_asks_for_is_a_matter_of_its_pin(ask: Ask) -> None:
    packages = {"torch": "2.1.2", "triton": "2.3.0", "bitsandbytes": None}
    text = called("torch", "cannot import name 'get_cuda_stream' from 'triton.runtime.jit'")
    found = ask("a100", error=text, packages=packages, torch_cuda=None)
    assert next(iter(found)) == "triton-pin-mismatch"
    assert "triton-api-moved-other" not in found


def test_a_triton_that_is_only_implied_is_not_accused_of_what_it_has(ask: Ask) -> None:
    text = called("fla", "module 'triton.language' has no attribute 'make_tensor_descriptor'")
    found = ask("h100", error=text, packages={"triton": None, "bitsandbytes": None})
    assert next(iter(found)) == "triton-pin-mismatch"


def test_what_every_triton_has_is_missed_in_something_else(ask: Ask) -> None:
    text = "ModuleNotFoundError: No module named 'triton.language'; 'triton' is not a package"
    found = first_of(ask("h100", error=text))
    assert found.rule == "stale-package-shadowing"
    assert [fix.action for fix in found.fixes] == ["reinstall", "change-code"]


def test_on_windows_only_what_can_be_installed_there_counts(ask: Ask) -> None:
    host = {"os": "windows", "libc": None}
    found = first_of(ask("h100", error=TANH, packages=NOTHING, torch_cuda=None, host=host))
    assert found.rule == "triton-math-moved"
    assert not any(fix.action == "downgrade" for fix in found.fixes)  # 2.x was never built there
    found = first_of(ask("h100", error=CAST, packages={**NOTHING, "triton": "2.3.1"}, host=host))
    assert found.fixes[0].package in {"triton-windows", "torch"}


LOG1P = "AttributeError: module 'triton.language.math' has no attribute 'log1p'"


def test_the_release_that_asks_no_more_is_named_where_it_is_known(ask: Ask) -> None:
    found = first_of(ask("h100", error=called("mamba_ssm", LOG1P), packages={"bitsandbytes": None}))
    fix = found.fixes[0]
    assert (fix.action, fix.package, fix.spec) == ("upgrade", "mamba-ssm", ">=2.1.0")


def test_without_a_traceback_whoever_is_known_to_ask_is_named_with_an_if(ask: Ask) -> None:
    found = first_of(ask("h100", error=LOG1P, packages={"bitsandbytes": None}))
    assert [fix.action for fix in found.fixes] == ["upgrade", "change-code", "downgrade"]
    assert "if you use it" in found.fixes[0].why


def test_a_function_of_cuda_under_its_own_name_is_to_be_changed(ask: Ask) -> None:
    text = "Implicit conversion of CUDA __nv_roundf device function has been dropped"
    found = first_of(ask("h100", error=text))
    assert found.rule == "triton-math-moved"
    assert [fix.action for fix in found.fixes] == ["change-code"]
    found = first_of(ask("h100", error=called("fla", text)))
    assert [fix.action for fix in found.fixes] == ["upgrade", "change-code"]


def test_a_name_that_newer_releases_of_bitsandbytes_ask_for_too_is_still_too_new(ask: Ask) -> None:
    text = "AttributeError: module 'triton.runtime' has no attribute 'driver'"
    found = ask("h100", error=text, packages=NOTHING, torch_cuda=None)
    assert next(iter(found)) == "triton-too-old-for-package"
    assert "triton-math-moved" not in found


def test_of_a_private_name_no_release_is_named(ask: Ask) -> None:
    text = "module 'triton.language' has no attribute '_experimental_make_tensor_descriptor'"
    packages = {"torch": "2.5.1", "triton": "3.5.1", "bitsandbytes": None}
    found = ask("h100", error=text, packages=packages, torch_cuda=None)["triton-api-moved-other"]
    assert {fix.action for fix in found.fixes} == {"change-code"}
    assert "private" in found.because[1].text


def test_what_every_known_triton_has_is_missing_in_an_older_one(ask: Ask) -> None:
    text = "module 'triton.language' has no attribute 'constexpr'"
    found = first_of(ask("h100", error=text, packages=NOTHING, torch_cuda=None))
    fix = found.fixes[0]
    assert found.rule == "triton-too-old-for-package"
    assert (fix.action, fix.package, fix.spec) == ("upgrade", "triton", ">=2.0.0")
    older = {"torch": None, "triton": "1.1.1", "bitsandbytes": None}
    found = first_of(ask("h100", error=text, packages=older, torch_cuda=None))
    fix = found.fixes[0]
    assert found.rule == "triton-too-old-for-package"
    assert (fix.action, fix.package, fix.spec) == ("upgrade", "triton", ">=2.0.0")
    circular = f"AttributeError: partially initialized {text}"
    found = first_of(ask("h100", error=circular, packages=NOTHING, torch_cuda=None))
    assert found.rule == "stale-package-shadowing"


def test_inside_the_triton_of_torch_other_code_asks(ask: Ask) -> None:
    text = "AttributeError: 'JITFunction' object has no attribute 'cache'"
    packages = {"torch": "2.9.0", "triton": "3.5.0", "bitsandbytes": None}
    found = first_of(ask("h100", error=text, packages=packages, torch_cuda=None))
    assert (found.rule, found.fixes[0].action) == ("triton-api-moved-other", "change-code")
    broken = {**packages, "triton": "3.2.0"}
    assert "triton-api-moved-other" not in ask("h100", error=text, packages=broken, torch_cuda=None)


def test_what_triton_misses_in_its_own_compiled_part_was_mixed(ask: Ask) -> None:
    text = "cannot import name 'translate_llvmir_to_hsaco' from 'triton._C.libtriton.triton'"
    found = first_of(ask("h100", error=text, packages=NOTHING, torch_cuda=None))
    assert (found.fixes[0].action, found.fixes[0].package) == ("reinstall", "triton")


@pytest.mark.parametrize(
    "packages", [{}, {"torch": "2.9.1"}, {"torch": "2.8.0", "triton": "3.6.0"}]
)
def test_a_name_of_no_release_that_only_torch_asks_for_is_torch_s(packages: dict[str, str]) -> None:
    text = "ImportError: cannot import name 'specialize_impl' from 'triton.runtime.jit'"
    assert diagnose({"packages": packages}, text).findings[0].rule == "triton-pin-mismatch"


def test_no_triton_before_the_known_ones_is_offered_for_a_module_that_they_have() -> None:
    text = "ImportError: cannot import name 'no_such_name' from 'triton.runtime.jit'"
    fixes = diagnose({}, text).findings[0].fixes
    assert [fix.action for fix in fixes] == ["change-code"]
