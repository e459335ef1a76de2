"""stale-package-shadowing: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "stale-package-shadowing"
OLD = {"name": "bitsandbytes", "version": "0.44.1", "file": "/old/bitsandbytes/__init__.py"}
NEW = {"name": "bitsandbytes", "version": "0.50.2", "file": "/v/site/bitsandbytes/__init__.py"}
OPS = "ModuleNotFoundError: No module named 'triton.ops'"


def test_fires_where_an_older_copy_is_imported(ask: Ask) -> None:
    packages = {"bitsandbytes": "0.44.1"}
    found = ask("h100", packages=packages, packages_found=[OLD, NEW])[NAME]
    assert found.title == "bitsandbytes 0.44.1 hides bitsandbytes 0.50.2"
    assert found.fixes[0].command == "python -m pip uninstall -y bitsandbytes"


def test_a_folder_on_pythonpath_is_taken_off_it(ask: Ask) -> None:
    packages, env = {"bitsandbytes": "0.44.1"}, {"PYTHONPATH": "/other:/old/"}
    found = ask("h100", packages=packages, packages_found=[OLD, NEW], env=env)[NAME]
    assert (found.fixes[0].action, found.fixes[0].name) == ("unset-env", "PYTHONPATH")


def test_a_file_of_ones_own_is_renamed_not_uninstalled(ask: Ask) -> None:
    mine = {"name": "bitsandbytes", "version": None, "file": "/me/bitsandbytes.py"}
    packages, env = {"bitsandbytes": "?"}, {"PYTHONPATH": "/me"}
    found = ask("h100", packages=packages, packages_found=[mine, NEW], env=env)[NAME]
    assert found.title == "the file /me/bitsandbytes.py hides bitsandbytes 0.50.2"
    assert [fix.action for fix in found.fixes] == ["change-code", "unset-env"]
    assert "rename /me/bitsandbytes.py" in found.fixes[0].why


@pytest.mark.parametrize("file", ["/me/queue.py", "/me/queue/__init__.py"])
def test_pythons_own_library_is_no_matter_for_pip(ask: Ask, file: str) -> None:
    mine = {"name": "queue", "version": None, "file": file}
    own = {"name": "queue", "version": "3.11.7", "file": "/usr/lib/python3.11/queue.py"}
    found = ask("h100", packages_found=[mine, own])[NAME]
    assert found.title == f"the file {file} hides Python 3.11.7's own queue"
    assert [(fix.action, fix.command) for fix in found.fixes] == [("change-code", None)]


def test_what_the_stale_copy_fails_for_is_its_symptom(ask: Ask) -> None:
    packages = {"bitsandbytes": "0.44.1"}
    found = ask("h100", error=OPS, packages=packages, packages_found=[OLD, NEW])
    first = next(iter(found.values()))
    assert first.rule == NAME
    assert first.explains_error
    assert found["triton-ops-removed"].symptom_of == NAME


def test_is_silent_on_one_copy_and_on_equal_copies(ask: Ask) -> None:
    assert NAME not in ask("h100", packages_found=[NEW])
    again = {**NEW, "file": "/other/bitsandbytes/__init__.py"}
    assert NAME not in ask("h100", packages_found=[NEW, again])


def test_is_silent_where_the_copies_are_unknown(ask: Ask) -> None:
    assert NAME not in ask("h100", packages_found=None)


def test_a_text_that_the_installed_release_does_not_print_comes_from_another(ask: Ask) -> None:
    packages = {"torch": "2.6.0", "triton": None, "bitsandbytes": "0.48.2"}
    text = "Required library version not found: `libbitsandbytes_cuda124.so`"
    found = ask("h100", error=text, packages=packages, torch_cuda="12.4", packages_found=None)
    assert found[NAME].explains_error
    fix = found[NAME].fixes[0]
    assert (fix.action, fix.package, fix.spec) == ("reinstall", "bitsandbytes", "==0.48.2")


def test_is_silent_where_the_installed_release_prints_the_text_or_is_unknown(ask: Ask) -> None:
    text = "Required library version not found: `libbitsandbytes_cuda124.so`"
    for version in ("0.42.0", None):
        packages = {"torch": "2.6.0", "triton": None, "bitsandbytes": version}
        assert NAME not in ask("h100", error=text, packages=packages, packages_found=None)


def test_a_bitsandbytes_without_what_every_release_has_is_another_one(ask: Ask) -> None:
    text = "AttributeError: module 'bitsandbytes.nn' has no attribute 'Linear8bitLt'"
    found = ask("h100", error=text, packages={"bitsandbytes": None}, packages_found=None)[NAME]
    assert found.explains_error
    assert (found.fixes[0].action, found.fixes[0].package) == ("reinstall", "bitsandbytes")


def test_files_of_two_tritons_print_a_text_of_their_own(ask: Ask) -> None:
    text = "SystemError: PY_SSIZE_T_CLEAN macro must be defined for '#' formats"
    found = ask("h100", error=text)[NAME]
    assert (found.fixes[0].action, found.fixes[0].package) == ("reinstall", "triton")


def test_a_module_compiled_for_another_python(ask: Ask) -> None:
    text = "/x/python3.9/site-packages/triton/_C/libtriton.so: undefined symbol: _PyUnicode_Ready"
    found = ask("h100", f"ImportError: {text}")[NAME]
    assert found.fixes[0].action == "reinstall"


def test_triton_never_imports_itself_in_a_circle(ask: Ask) -> None:
    text = (
        "ImportError: cannot import name 'OutOfResources' from partially initialized module "
        "'triton.runtime.autotuner' (most likely due to a circular import)"
    )
    first = ask("h100", text)[NAME].fixes[0]
    assert (first.action, first.package) == ("reinstall", "triton")


@pytest.mark.parametrize("module", ["peft", "transformers", "vllm", "llmtuner", "triton", "torch"])
def test_a_module_without_a_file_is_not_the_package(ask: Ask, module: str) -> None:
    text = f"ImportError: cannot import name 'Anything' from '{module}' (unknown location)"
    first = next(iter(ask("h100", error=text).values()))
    assert (first.rule, first.explains_error) == (NAME, True)
    assert first.title == f"what is imported as {module} is not {module}"
    assert [fix.action for fix in first.fixes] == ["change-code", "reinstall"]
    assert first.fixes[1].package == module


def test_a_file_of_ones_own_named_like_a_package_hides_it(ask: Ask) -> None:
    text = (
        "ImportError: cannot import name 'AutoModel' from partially initialized module "
        "'transformers' (most likely due to a circular import)"
    )
    for place in ("", " (/x/transformers.py)"):
        assert next(iter(ask("h100", error=text + place).values())).rule == NAME
    found = ask("h100", error=f"{text} (/x/transformers/__init__.py)")
    assert next(iter(found.values())).rule != NAME


def test_parts_of_a_compiled_module_have_no_file_of_their_own(ask: Ask) -> None:
    text = "ImportError: cannot import name 'ProcessGroup' from 'torch._C._distributed_c10d'"
    assert NAME not in ask("h100", error=f"{text} (unknown location)")


def test_the_release_that_is_installed_is_installed_again(ask: Ask) -> None:
    text = "ImportError: cannot import name 'LoraConfig' from 'peft' (unknown location)"
    fixes = ask("h100", error=text, packages={"peft": "0.17.1"})[NAME].fixes
    assert fixes[1].spec == "==0.17.1"
    fixes = ask("h100", error=text, packages={"peft": "0.17.2.dev0"})[NAME].fixes
    assert not fixes[1].spec


def test_one_file_in_place_of_a_package_of_many_is_not_it(ask: Ask) -> None:
    text = "ImportError: cannot import name 'AutoTokenizer' from 'transformers'"
    own = ask("h100", error=f"{text} (/home/u/proj/transformers.py)")
    assert next(iter(own.values())).rule == NAME
    there = f"{text} (/x/site-packages/transformers/__init__.py)"
    assert next(iter(ask("h100", error=there).values())).rule != NAME


def test_a_name_that_every_release_has_is_missed_by_another_copy(ask: Ask) -> None:
    text = "ImportError: cannot import name 'AutoProcessor' from 'transformers'"
    found = ask("h100", error=text, packages={"transformers": "4.57.3"})
    assert next(iter(found.values())).rule == NAME
    old = ask("h100", error=text, packages={"transformers": "4.12.5"})
    first = next(iter(old.values()))
    assert [(fix.action, fix.package, fix.spec) for fix in first.fixes] == [
        ("upgrade", "transformers", ">=4.15.0")
    ]


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        (
            (
                "OMP: Error #15: Initializing libiomp5md.dll, but found libiomp5md.dll already "
                "initialized."
            ),
            ("set-env", "KMP_DUPLICATE_LIB_OK"),
        ),
        (
            (
                "Error: mkl-service + Intel(R) MKL: MKL_THREADING_LAYER=INTEL is incompatible with "
                "libgomp.so.1 library."
            ),
            ("set-env", "MKL_THREADING_LAYER"),
        ),
        ("ModuleNotFoundError: No module named 'torch._C'", ("reinstall", None)),
        ("ImportError: Failed to load PyTorch C extensions:", ("reinstall", None)),
    ],
)
def test_two_copies_in_one_process(ask: Ask, text: str, fix: tuple[str, str | None]) -> None:
    found = ask("h100", error=text)[NAME]
    assert found.explains_error
    assert (found.fixes[0].action, found.fixes[0].name) == fix


def test_a_torch_without_distributed_is_no_second_copy(ask: Ask) -> None:
    text = (
        "ModuleNotFoundError: No module named 'torch._C._distributed_c10d'; 'torch._C' is not a "
        "package"
    )
    assert NAME not in ask("h100", error=text)


@pytest.mark.parametrize(
    "text",
    [
        "ImportError: cannot import name 'Random' from 'random' (/home/u/proj/random.py)",
        (
            "AttributeError: partially initialized module 'random' has no attribute 'Random' "
            "(most likely due to a circular import)"
        ),
        (
            "AttributeError: module 'random' has no attribute 'Random' (consider renaming "
            "'/x/random.py' since it has the same name as the standard library module named "
            "'random' and the import system gives it precedence)"
        ),
        "ModuleNotFoundError: No module named 'json.decoder'; 'json' is not a package",
    ],
)
def test_a_text_about_pythons_own_library_offers_nothing_from_the_index(
    ask: Ask, text: str
) -> None:
    found = ask("h100", error=text)[NAME]
    assert found.explains_error
    assert [(fix.action, fix.command) for fix in found.fixes] == [("change-code", None)]


@pytest.mark.parametrize(
    "home", ["/opt/conda/lib/python3.11", "C:\\Python311\\Lib", "/usr/lib64/python3.9"]
)
def test_a_name_that_pythons_own_file_lacks_is_another_matter(ask: Ask, home: str) -> None:
    text = f"ImportError: cannot import name 'getargspec' from 'inspect' ({home}/inspect.py)"
    assert NAME not in ask("h100", error=text)
