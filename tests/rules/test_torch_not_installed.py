"""torch-not-installed: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.diagnosis import diagnose
from qdoctor.model import Facts, Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "torch-not-installed"


def test_fires_without_torch(ask: Ask) -> None:
    found = ask("cpu", packages={"torch": ""}, torch_cuda=None)[NAME]
    assert found.severity == "note"
    assert found.fixes[0].command == "python -m pip install torch"


def test_is_an_error_where_a_backend_is_needed(ask: Ask) -> None:
    found = ask("cpu", packages={"torch": ""}, torch_cuda=None, need=("half",))
    assert found[NAME].severity == "error"


def test_is_silent_with_torch(ask: Ask) -> None:
    assert NAME not in ask("cpu")


def test_is_silent_where_torch_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("cpu", packages={"torch": None}, torch_cuda=None)


def test_a_torch_that_is_there_is_missed_by_another_python(ask: Ask) -> None:
    found = ask("h100", "ModuleNotFoundError: No module named 'torch'")[NAME]
    assert found.explains_error
    assert [one.action for one in found.fixes] == ["use-python", "install"]


def test_a_build_that_pip_isolates_has_no_torch(ask: Ask) -> None:
    text = (
        "  Getting requirements to build wheel did not run successfully.\n"
        "      ModuleNotFoundError: No module named 'torch'"
    )
    assert "--no-build-isolation" in (ask("h100", text)[NAME].fixes[0].why)


def test_uv_says_that_a_package_does_not_name_torch_for_its_build() -> None:
    text = (
        "hint: This error likely indicates that `flash-attn@2.7.3` depends on `torch`, "
        "but doesn't declare it as a build dependency."
    )
    assert diagnose(Facts(), error=text)[1][0].rule == NAME


def test_what_transformers_says_where_it_finds_no_torch() -> None:
    for text in (
        "AutoModel requires the PyTorch library but it was not found in your environment.",
        "None of PyTorch, TensorFlow >= 2.0, or Flax have been found.",
        "ImportError: Pytorch is not installed.",
    ):
        assert diagnose(Facts(), error=text)[1][0].rule == NAME
    cuda = "PyTorch is not installed with CUDA"
    assert NAME not in {one.rule for one in diagnose(Facts(), error=cuda)[1]}
