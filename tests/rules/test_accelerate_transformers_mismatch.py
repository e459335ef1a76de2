"""accelerate-transformers-mismatch: where it fires, where not, and with unknown releases."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qdoctor.diagnosis import diagnose
from qdoctor.model import Facts, Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "accelerate-transformers-mismatch"
REFUSED = "ValueError: `.to` is not supported for `4-bit` or `8-bit` bitsandbytes models."
DISPATCHED = (
    '  File "/x/accelerate/big_modeling.py", line 391, in dispatch_model\n'
    f"    model.to(device)\n{REFUSED}"
)
TRAINER = "ImportError: Using the `Trainer` with `PyTorch` requires `accelerate>=0.20.1`"
KEYWORD = "TypeError: dispatch_model() got an unexpected keyword argument 'skip_keys'"


def test_accelerates_own_call_asks_for_a_newer_accelerate(ask: Ask) -> None:
    found = ask("h100", error=DISPATCHED, packages={"accelerate": "0.20.3"})
    assert next(iter(found)) == NAME
    assert (found[NAME].fixes[0].package, found[NAME].fixes[0].spec) == ("accelerate", ">=0.21.0")


def test_a_new_accelerate_asks_for_a_newer_transformers(ask: Ask) -> None:
    found = ask("h100", error=DISPATCHED, packages={"accelerate": "1.10.1"})[NAME]
    assert found.fixes[0].package == "transformers"


def test_an_accelerate_that_moves_unmarked_models_is_told_by_older_words(ask: Ask) -> None:
    found = ask("h100", error=DISPATCHED)[NAME]
    fixes = [(one.action, one.package, one.spec) for one in found.fixes]
    assert fixes == [("upgrade", "transformers", ">=4.45.2"), ("downgrade", "accelerate", "<1.2")]
    older = ask("h100", error=DISPATCHED.replace("bitsandbytes models", "models"))[NAME]
    assert (older.fixes[0].package, older.fixes[0].spec) == ("accelerate", ">=0.21.0")


def test_a_stated_accelerate_and_transformers_that_refuse_each_other_need_no_traceback(
    ask: Ask,
) -> None:
    stated = {"accelerate": "1.3.0", "transformers": "4.40.1"}
    assert next(iter(ask("h100", error=REFUSED, packages=stated))) == NAME
    for apart in ({"accelerate": "1.1.1"}, {"transformers": "4.46.0"}):
        found = ask("h100", error=REFUSED, packages={**stated, **apart})
        assert next(iter(found)) == "quantized-model-moved"


def test_the_programs_own_call_is_another_cause(ask: Ask) -> None:
    found = ask("h100", error=REFUSED)
    assert (next(iter(found)), NAME in found) == ("quantized-model-moved", False)


def test_an_accelerate_below_what_is_asked_is_upgraded(ask: Ask) -> None:
    found = ask("h100", error=TRAINER, packages={"accelerate": "0.19.0"})[NAME]
    assert (found.fixes[0].action, found.fixes[0].spec) == ("upgrade", ">=0.20.1")
    absent = ask("h100", error=TRAINER, packages={"accelerate": ""})[NAME]
    assert (absent.fixes[0].action, absent.undecided) == ("install", None)


def test_an_accelerate_that_is_new_enough_is_not_to_blame(ask: Ask) -> None:
    assert NAME not in ask("h100", error=TRAINER, packages={"accelerate": "1.0.1"})


def test_an_unknown_accelerate_leaves_the_text_open(ask: Ask) -> None:
    assert ask("h100", error=TRAINER)[NAME].explains_error


def test_a_keyword_of_later_releases(ask: Ask) -> None:
    found = ask("h100", error=KEYWORD, packages={"accelerate": "0.18.0"})
    assert next(iter(found)) == NAME
    assert found[NAME].fixes[0].spec == ">=0.20.0"


def test_is_silent_without_a_text(ask: Ask) -> None:
    assert NAME not in ask("h100", packages={"accelerate": "0.18.0"})


def test_a_bitsandbytes_older_than_what_transformers_passes(ask: Ask) -> None:
    text = "TypeError: Params4bit.__new__() got an unexpected keyword argument '_is_hf_initialized'"
    found = ask("h100", error=text, packages={"bitsandbytes": "0.46.0"})
    assert next(iter(found)) == NAME
    assert (found[NAME].fixes[0].package, found[NAME].fixes[0].spec) == ("bitsandbytes", ">=0.50.2")


def test_a_keyword_that_accelerate_dropped_asks_for_a_newer_caller(ask: Ask) -> None:
    text = "TypeError: Accelerator.__init__() got an unexpected keyword argument 'dispatch_batches'"
    found = ask("h100", error=text, packages={"accelerate": "1.1.0"})[NAME]
    assert [(one.action, one.package) for one in found.fixes] == [
        ("upgrade", "transformers"),
        ("change-code", None),
        ("downgrade", "accelerate"),
    ]


def test_a_name_that_no_table_knows_is_of_another_time(ask: Ask) -> None:
    text = "ModuleNotFoundError: No module named 'transformers.modeling_layers'"
    found = ask("h100", error=text)["accelerate-transformers-mismatch"]
    assert (found.fixes[0].action, found.fixes[0].package) == ("upgrade", "transformers")


def test_a_name_that_is_gone_asks_for_a_newer_caller(ask: Ask) -> None:
    text = "ImportError: cannot import name 'cached_download' from 'huggingface_hub'"
    found = ask("h100", error=text)["accelerate-transformers-mismatch"]
    assert (found.fixes[0].action, found.fixes[0].package) == ("upgrade", "diffusers")


def test_a_keyword_that_another_package_passes_is_no_matter_of_the_programs_code() -> None:
    text = "TypeError: Accelerator.__init__() got an unexpected keyword argument '{}'"
    found = diagnose(Facts(), error=text.format("use_seedable_sampler"))[1][0]
    assert [fix.action for fix in found.fixes][:2] == ["upgrade", "upgrade"]
    assert found.fixes[0].package == "accelerate"


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("You need to have `accelerate>=0.30.0` to be able to use LOMO optimizers", ">=0.30.0"),
        ("ParallelismConfig requires accelerate v1.10.1 and above. Please upgrade it", ">=1.10.1"),
        ("an FP8 quantized model requires accelerate > 0.32.1 (`pip install -U`)", ">=0.32.1"),
    ],
)
def test_the_release_of_accelerate_that_a_check_asks_for(text: str, spec: str) -> None:
    found = diagnose(Facts(), error=f"ImportError: {text}")[1][0]
    assert (found.rule, found.fixes[0].action, found.fixes[0].spec) == (NAME, "upgrade", spec)
    newer = diagnose(Facts(packages={"accelerate": "1.15.0"}), error=f"ImportError: {text}")[1][0]
    assert newer.rule == "misleading-import-check"


def test_who_moved_a_quantized_model_may_be_said_after_the_text() -> None:
    text = (
        "ValueError: `.to` is not supported for `4-bit` or `8-bit` bitsandbytes models.\n\n"
        'the traceback says accelerate/big_modeling.py line 496: "model.to(device)"'
    )
    assert diagnose(Facts(), error=text)[1][0].rule == NAME
