"""torch-name-removed: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "torch-name-removed"
SIX = "ModuleNotFoundError: No module named 'torch._six'"
CALLED = (
    "Traceback (most recent call last):\n"
    '  File "/x/site-packages/deepspeed/runtime/utils.py", line 18, in <module>\n'
    f"    from torch._six import inf\n{SIX}"
)


def test_fires_on_a_torch_from_which_the_name_is_gone(ask: Ask) -> None:
    found = ask("h100", error=CALLED, packages={"deepspeed": "0.7.0"})
    assert next(iter(found)) == NAME
    assert [(fix.action, fix.package, fix.spec) for fix in found[NAME].fixes] == [
        ("upgrade", "deepspeed", ">=0.8.3"),
        ("downgrade", "torch", "<2.0.0"),
    ]


def test_of_an_unknown_torch_the_history_of_the_name_decides(ask: Ask) -> None:
    packages = {"torch": None, "triton": None, "bitsandbytes": None}
    found = ask("h100", error=SIX, packages=packages, torch_cuda=None)[NAME]
    assert (found.explains_error, found.undecided) == (True, None)
    assert [fix.package for fix in found.fixes] == ["torch"]


def test_an_older_torch_has_it_so_another_copy_runs(ask: Ask) -> None:
    packages = {"torch": "1.13.1", "triton": "", "bitsandbytes": None}
    found = ask("a100", error=SIX, packages=packages, torch_cuda=None)[NAME]
    assert found.fixes[0].action == "restart-kernel"


def test_is_silent_on_a_name_that_came_later_and_without_a_text(ask: Ask) -> None:
    assert NAME not in ask("h100")
    later = "AttributeError: module 'torch' has no attribute 'int1'"
    assert NAME not in ask("h100", error=later, packages={"torch": "2.5.1"}, torch_cuda=None)


LOG = "ImportError: cannot import name 'log' from 'torch.distributed.elastic.agent.server.api'"
NVIDIAS = "2.4.0a0+07cecf4168.nv24.05"


def test_a_pre_release_of_the_release_without_it_counts_as_without(ask: Ask) -> None:
    packages = {"torch": NVIDIAS, "triton": None, "bitsandbytes": None, "deepspeed": "0.14.0"}
    found = ask("a100", error=LOG, packages=packages, torch_cuda=None)[NAME]
    assert found.undecided is None
    assert [(fix.action, fix.package, fix.spec) for fix in found.fixes] == [
        ("upgrade", "deepspeed", ">=0.14.1"),
        ("downgrade", "torch", "<2.4.0"),
    ]


def test_a_pre_release_of_the_release_before_still_has_it(ask: Ask) -> None:
    packages = {"torch": "2.3.0a0+40ec155e58.nv24.03", "triton": None, "bitsandbytes": None}
    found = ask("a100", error=LOG, packages=packages, torch_cuda=None)[NAME]
    assert found.fixes[0].action == "restart-kernel"


def test_a_release_that_asks_no_more_is_not_offered_a_newer_one(ask: Ask) -> None:
    packages = {"torch": "2.4.0", "triton": None, "bitsandbytes": None, "deepspeed": "0.14.1"}
    found = ask("a100", error=LOG, packages=packages, torch_cuda=None)[NAME]
    assert [fix.package for fix in found.fixes] == ["torch"]


def test_a_private_name_that_a_released_package_imports_is_known(ask: Ask) -> None:
    name = "ImportError: cannot import name '_get_socket_with_port' from"
    text = f"{name} 'torch.distributed.elastic.agent.server.api'"
    packages = {"torch": "2.4.0", "triton": None, "bitsandbytes": None}
    found = ask("a100", error=text, packages=packages, torch_cuda=None)[NAME]
    assert ("upgrade", "deepspeed", ">=0.14.4") in [
        (fix.action, fix.package, fix.spec) for fix in found.fixes
    ]


def test_a_keyword_that_torch_takes_no_more(ask: Ask) -> None:
    text = "TypeError: ReduceLROnPlateau.__init__() got an unexpected keyword argument 'verbose'"
    found = ask("h100", error=text, packages={"torch": "2.7.0"})
    assert next(iter(found)) == NAME
    assert ("downgrade", "torch", "<2.7.0") in [
        (fix.action, fix.package, fix.spec) for fix in found[NAME].fixes
    ]


def test_what_went_before_all_known_releases(ask: Ask) -> None:
    text = "ImportError: torch.utils.ffi is deprecated. Please use cpp extensions instead."
    found = ask("h100", error=text)
    assert next(iter(found)) == NAME
    assert found[NAME].fixes[0].action == "change-code"
