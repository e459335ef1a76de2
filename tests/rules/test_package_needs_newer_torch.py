"""package-needs-newer-torch: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor.diagnosis import diagnose
from qdoctor.model import Facts, Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "package-needs-newer-torch"

OLD_TORCH = {"torch": "1.13.1+cu117", "triton": "", "bitsandbytes": "0.50.2"}


def test_fires_on_an_older_torch(ask: Ask) -> None:
    found = ask("a100", packages=OLD_TORCH, torch_cuda="11.7")[NAME]
    assert found.severity == "warning"
    assert found.fixes[0].action == "downgrade"


def test_is_silent_on_a_torch_that_is_accepted(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_is_silent_where_torch_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("h100", packages={"torch": None}, torch_cuda=None)


INT1 = "AttributeError: module 'torch' has no attribute 'int1'"
ATTENTION = "ModuleNotFoundError: No module named 'torch.nn.attention'"
CALLED = (
    "Traceback (most recent call last):\n"
    '  File "/x/site-packages/diffusers/__init__.py", line 5, in <module>\n'
    '  File "/x/site-packages/torchao/dtypes/uint.py", line 9, in <module>\n'
    f"    torch.int1: 1,\n{INT1}"
)


def first_of(found: dict[str, Finding]) -> Finding:
    return next(iter(found.values()))


def test_a_name_that_came_later_asks_for_that_torch_from_the_same_index(ask: Ask) -> None:
    found = first_of(ask("a100", error=INT1, packages={"torch": "2.5.1+cu121", "triton": "3.1.0"}))
    assert (found.rule, found.severity, found.explains_error) == (NAME, "error", True)
    fix = found.fixes[0]
    assert (fix.action, fix.package, fix.spec) == ("upgrade", "torch", ">=2.6.0")
    assert (
        fix.index is not None
    )  # the release that has the name is not built for CUDA 12.1 any more
    assert fix.command is not None
    assert fix.command.endswith(f"/{fix.index}")


def test_a_torch_without_cuda_stays_without(ask: Ask) -> None:
    packages = {"torch": "2.2.1+cpu", "triton": "", "bitsandbytes": None}
    found = first_of(ask("cpu", error=ATTENTION, packages=packages, torch_cuda=""))
    assert (found.rule, found.fixes[0].index) == (NAME, "cpu")


def test_the_package_that_asks_may_be_taken_back(ask: Ask) -> None:
    packages = {"torch": "2.5.1", "triton": "3.1.0", "torchao": "0.12.0"}
    fixes = first_of(ask("a100", error=CALLED, packages=packages, torch_cuda=None)).fixes
    assert [(fix.action, fix.package) for fix in fixes] == [
        ("upgrade", "torch"),
        ("downgrade", "torchao"),
    ]
    assert fixes[1].spec == "<0.12.0"


def test_where_python_is_too_old_for_that_torch_the_asker_comes_first(ask: Ask) -> None:
    packages = {"torch": "2.4.1", "triton": "3.0.0", "torchao": "0.12.0", "bitsandbytes": None}
    python = {"version": "3.8.20"}
    found = first_of(ask("a100", error=CALLED, packages=packages, torch_cuda=None, python=python))
    assert [fix.action for fix in found.fixes] == ["downgrade", "use-python", "upgrade"]


def test_of_an_unknown_torch_the_history_of_the_name_decides(ask: Ask) -> None:
    packages = {"torch": None, "triton": None, "bitsandbytes": None}
    found = first_of(ask("a100", error=INT1, packages=packages, torch_cuda=None))
    assert (found.rule, found.undecided, found.fixes[0].spec) == (NAME, None, ">=2.6.0")


def test_a_torch_that_has_the_name_is_another_copy(ask: Ask) -> None:
    found = first_of(ask("h100", error=INT1))
    assert (found.rule, found.fixes[0].action) == (NAME, "restart-kernel")


def test_a_name_that_torch_never_had_is_no_question_of_its_release(ask: Ask) -> None:
    text = "AttributeError: module 'torch' has no attribute 'paint'"
    assert NAME not in ask("h100", error=text)
    circular = f"AttributeError: partially initialized {INT1[16:]}"
    assert NAME not in ask("h100", error=circular)


def test_a_name_that_every_known_torch_has_is_asked_of_an_older_one() -> None:
    text = (
        '  File "/x/site-packages/safetensors/torch.py", line 310, in load_file\n'
        "AttributeError: module 'torch' has no attribute 'frombuffer'"
    )
    for packages in (None, {"torch": "1.9.0"}):
        found = diagnose(Facts(packages=packages), error=text)[1][0]
        assert (found.rule, found.fixes[0].action, found.fixes[0].package) == (
            NAME,
            "upgrade",
            "torch",
        )
    newer = diagnose(Facts(packages={"torch": "2.5.0"}), error=text)[1]
    assert not any(one.explains_error for one in newer)
    own = "AttributeError: module 'torch' has no attribute 'frombuffer'"
    assert not any(one.explains_error for one in diagnose(Facts(), error=own)[1])


OPERATOR = "AttributeError: '_OpNamespace' '{}' object has no attribute '{}'"


def test_an_operator_of_torchs_own_namespace_asks_for_the_torch_that_brought_it(ask: Ask) -> None:
    text = OPERATOR.format("aten", "_convert_weight_to_int4pack")
    packages = {"torch": "2.1.0a0+32f93b1", "triton": None, "bitsandbytes": None}
    found = first_of(ask("a100", error=text, packages=packages, torch_cuda=None))
    assert (found.rule, found.undecided) == (NAME, None)
    assert (found.fixes[0].package, found.fixes[0].spec) == ("torch", ">=2.2.0")


def test_of_an_unknown_operator_only_the_owner_is_known(ask: Ask) -> None:
    text = OPERATOR.format("aten", "_not_seen_in_any_release")
    found = first_of(ask("a100", error=text, packages={"torch": "2.1.0", "bitsandbytes": None}))
    assert found.rule == NAME
    assert found.title.endswith("the operator torch.ops.aten._not_seen_in_any_release")
    assert (found.fixes[0].package, found.fixes[0].spec) == ("torch", ">2.1.0")


def test_an_operator_of_another_namespace_is_not_torchs(ask: Ask) -> None:
    text = OPERATOR.format("xformers", "efficient_attention_forward_cutlass")
    assert NAME not in ask("h100", error=text)


@pytest.mark.parametrize(
    ("text", "torch", "spec"),
    [
        (
            "scaled_dot_product_attention() got an unexpected keyword argument 'enable_gqa'",
            "2.4.1",
            ">=2.5.0",
        ),
        (
            "Module.load_state_dict() got an unexpected keyword argument 'assign'",
            "2.0.1",
            ">=2.1.0",
        ),
        ("load_state_dict() got an unexpected keyword argument 'assign'", "2.0.1", ">=2.1.0"),
    ],
)
def test_a_keyword_that_torch_does_not_take_yet(text: str, torch: str, spec: str) -> None:
    found = diagnose(Facts(packages={"torch": torch}), error=f"TypeError: {text}")[1][0]
    assert (found.rule, found.undecided) == (NAME, None)
    assert (found.fixes[0].action, found.fixes[0].package) == ("upgrade", "torch")
    assert found.fixes[0].spec == spec


def test_a_bare_function_of_an_unknown_torch_may_be_anybodys() -> None:
    text = "TypeError: load_state_dict() got an unexpected keyword argument 'assign'"
    assert NAME not in [one.rule for one in diagnose(Facts(), error=text)[1]]
    facts = Facts(packages={"torch": "2.6.0"})
    assert NAME not in [one.rule for one in diagnose(facts, error=text)[1]]


def test_a_kernel_that_a_build_leaves_out_is_in_newer_ones() -> None:
    text = "RuntimeError: _int_mm_out_cuda not compiled for this platform."
    found = diagnose(Facts(packages={"torch": "2.2.0"}), error=text)[1][0]
    assert (found.rule, found.fixes[0].action) == (NAME, "upgrade")


def test_windows_compiles_from_torch_2_3_on() -> None:
    text = "RuntimeError: Windows not yet supported for torch.compile"
    found = diagnose(Facts(), error=text)[1][0]
    assert found.rule == NAME
    assert [(fix.action, fix.spec) for fix in found.fixes] == [
        ("disable", None),
        ("upgrade", ">=2.3"),
    ]


def test_an_operator_that_torchao_defines_only_later_asks_for_that_torch_first() -> None:
    text = "RuntimeError: operator torchao::quantize_affine_float8 does not exist"
    found = diagnose(Facts(packages={"torchao": "0.12.0", "torch": "2.4.1"}), error=text)[1][0]
    assert (found.rule, found.explains_error) == (NAME, True)
    offered = [(one.action, one.package) for one in found.fixes]
    assert offered == [("upgrade", "torch"), ("downgrade", "torchao")]


def test_an_operation_of_deepspeed_that_no_torch_of_today_has_asks_for_no_newer_one() -> None:
    text = (
        "[WARNING]  sparse_attn requires a torch version >= 1.5 and < 2.0 but detected 2.2\n"
        "[WARNING]  using untested triton version (2.1.0), only 1.0.0 is known to be compatible"
    )
    assert diagnose(Facts(), error=text)[1][0].rule == "harmless-warning"
