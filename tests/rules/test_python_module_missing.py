"""python-module-missing: where it fires, and where not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor.diagnosis import diagnose
from qdoctor.model import Facts, Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "python-module-missing"
OLD = {"torch": "2.0.1", "triton": "2.0.0", "bitsandbytes": "0.41.1"}


def test_a_package_that_is_imported_and_absent_is_named(ask: Ask) -> None:
    """bitsandbytes 0.41.1 imports scipy and requires nothing."""
    found = ask("a100", packages={**OLD, "scipy": "", "numpy": "1.26.4"})
    assert found[NAME].severity == "error"
    assert [fix.package for fix in found[NAME].fixes] == ["scipy"]
    assert not {"triton-import-needs-gpu", "triton-ops-removed"} & set(found)


def test_what_is_there_or_not_stated_is_not_missing(ask: Ask) -> None:
    assert NAME not in ask("a100", packages={**OLD, "scipy": "1.11.0"})
    assert NAME not in ask("a100", packages=OLD)


def test_the_module_of_a_text_is_brought_by_its_package(ask: Ask) -> None:
    text = "ModuleNotFoundError: No module named 'einops'"
    found = ask("h100", error=text, packages={"einops": ""})[NAME]
    assert found.explains_error
    assert found.fixes[0].command == 'python -m pip install "einops"'


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("typing_extensions", "typing-extensions"),
        ("sympy", "sympy"),
        ("jinja2", "jinja2"),
        ("markupsafe", "markupsafe"),
        ("regex", "regex"),
    ],
)
def test_what_torch_and_transformers_require_is_known(ask: Ask, module: str, package: str) -> None:
    """An install with --no-deps, or a copied folder, leaves it out: torch does not import then."""
    found = ask("h100", error=f"ModuleNotFoundError: No module named '{module}'", packages={})
    assert found[NAME].fixes[0].command == f'python -m pip install "{package}"'


def test_a_module_that_left_its_package_asks_for_an_older_release(ask: Ask) -> None:
    text = "ModuleNotFoundError: No module named 'pkg_resources'"
    fix = ask("h100", error=text, packages={"setuptools": "84.2.1"})[NAME].fixes[0]
    assert (fix.action, fix.package, fix.spec) == ("downgrade", "setuptools", "<82")
    assert NAME not in ask("h100", error=text, packages={"setuptools": "81.0.0"})


def test_a_module_that_nobody_knows_may_be_the_users_own(ask: Ask) -> None:
    assert NAME not in ask("h100", error="ModuleNotFoundError: No module named 'my_model'")


def test_a_module_whose_package_is_there_is_not_missing_here(ask: Ask) -> None:
    text = "ModuleNotFoundError: No module named 'einops'"
    assert NAME not in ask("h100", error=text, packages={"einops": "0.8.0"})


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("init_empty_weights", "accelerate"),
        ("load_fsdp_model", "accelerate"),
        ("flash_attn_varlen_func", "flash-attn"),
        ("awq_ext", "autoawq-kernels"),
    ],
)
def test_a_name_that_is_imported_only_where_its_package_is_found(
    ask: Ask, name: str, package: str
) -> None:
    text = f"NameError: name '{name}' is not defined"
    found = ask("a100", error=text)
    assert next(iter(found)) == NAME
    assert [(fix.action, fix.package) for fix in found[NAME].fixes] == [("install", package)]
    fixes = ask("a100", error=text, packages={package: "2.0.0"})[NAME].fixes
    assert [fix.action for fix in fixes] == ["restart-kernel", "upgrade"]


@pytest.mark.parametrize("name", ["model", "init_weights", "pad_inputs", "my_flash_attn_func"])
def test_a_name_of_the_program_is_the_programs(ask: Ask, name: str) -> None:
    assert NAME not in ask("a100", error=f"NameError: name '{name}' is not defined")


@pytest.mark.parametrize(
    ("text", "package"),
    [
        ("ImportError: The required package 'scipy' is not installed.", "scipy"),
        ("ImportError: You need to install `torch-optimi` in order to use it.", "torch-optimi"),
        ("ImportError: HQQ is not available. Please follow the instructions", "hqq"),
        ("ImportError: Using `eetq` 8-bit quantization requires eetq.Please install it", "eetq"),
        ("RuntimeError: Unable to JIT load the adam op due to ninja not being installed.", "ninja"),
    ],
)
def test_a_package_that_a_check_misses_by_its_name(text: str, package: str) -> None:
    found = diagnose(Facts(), error=text)[1][0]
    assert (found.rule, found.fixes[0].action, found.fixes[0].package) == (NAME, "install", package)


def test_a_module_that_no_index_has_is_built_as_its_command_says(ask: Ask) -> None:
    text = "ModuleNotFoundError: No module named 'dropout_layer_norm'"
    fix = ask("h100", error=text)[NAME].fixes[0]
    assert (fix.action, fix.package) == ("install", "dropout-layer-norm")
    assert "subdirectory=csrc/layer_norm" in (fix.command or "")


def test_a_module_of_a_package_that_is_known_to_be_absent_is_installed_with_it(ask: Ask) -> None:
    text = "ModuleNotFoundError: No module named 'fused_layer_norm_cuda'"
    fix = ask("h100", error=text, packages={"apex": ""})[NAME].fixes[0]
    assert (fix.action, fix.package) == ("install", "apex")
    assert "--cuda_ext" in (fix.command or "")


def test_an_optimizers_package_that_a_trainer_misses(ask: Ask) -> None:
    text = "ImportError: No lion_pytorch / lion_pytorch がインストールされていないようです"
    fix = ask("h100", error=text)[NAME].fixes[0]
    assert (fix.action, fix.package) == ("install", "lion-pytorch")


def test_a_name_that_came_later_asks_for_a_newer_release(ask: Ask) -> None:
    text = "NameError: name 'flash_attn_varlen_func' is not defined"
    older = ask("h100", error=text, packages={"flash-attn": "1.0.9"})[NAME]
    assert (older.fixes[0].action, older.fixes[0].spec) == ("upgrade", ">=2.0.0")
    newer = ask("h100", error=text, packages={"flash-attn": "2.8.3"})[NAME]
    assert newer.fixes[0].action == "restart-kernel"


def test_a_feature_names_the_package_it_wants() -> None:
    text = (
        "To use the `--use-sage-attention` feature, the `sageattention` package must be installed"
    )
    fix = diagnose(Facts(), error=text)[1][0].fixes[0]
    assert (fix.action, fix.package) == ("install", "sageattention")


@pytest.mark.parametrize(
    ("text", "package"),
    [
        ("ImportError: Please install EETQ from https://github.com/NetEase-FuXi/EETQ", "eetq"),
        ("please install apex from https://www.github.com/nvidia/apex to run this", "apex"),
        ("Please install it from https://github.com/x/y", None),
        ("Please install torch from https://github.com/x/y", None),
        (
            "The 'regex!=20' distribution was not found and is required by this application.",
            "regex",
        ),
    ],
)
def test_the_package_that_a_text_asks_to_install_is_named(text: str, package: str | None) -> None:
    found = [one for one in diagnose(Facts(), error=text)[1] if one.rule == NAME]
    assert [one.fixes[0].package for one in found] == ([package] if package else [])
