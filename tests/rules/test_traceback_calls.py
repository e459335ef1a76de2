"""The modules that a traceback names, the last call first."""

from __future__ import annotations

from qdoctor.rules.traceback_calls import callers, raising

FIRST = (
    "Traceback (most recent call last):\n"
    '  File "/x/lib/python3.11/site-packages/numpy/__init__.py", line 1\n'
    "ImportError: other\n"
)
SECOND = (
    "Traceback (most recent call last):\n"
    '  File "/home/u/train.py", line 3, in <module>\n'
    '  File "C:\\\\x\\\\Lib\\\\site-packages\\\\vllm\\\\__init__.py", line 2\n'
    '  File "/x/dist-packages/mamba_ssm/ops.py", line 2\n'
    '  File "/x/dist-packages/vllm/last.py", line 2\n'
    "ImportError: this"
)


def test_the_last_call_comes_first_and_each_module_once() -> None:
    assert callers(SECOND, len(SECOND)) == ("vllm", "mamba_ssm")


def test_an_earlier_traceback_does_not_count() -> None:
    text = FIRST + SECOND
    assert callers(text, len(text)) == ("vllm", "mamba_ssm")


def test_what_comes_after_the_text_does_not_count() -> None:
    assert callers(FIRST + SECOND, len(FIRST)) == ("numpy",)


def test_a_script_is_no_package() -> None:
    assert callers('  File "/home/u/train.py", line 3\nImportError', 40) == ()


def test_calls_that_are_quoted_below_the_exception_count_where_none_is_above() -> None:
    text = (
        "AttributeError: module 'triton.language' has no attribute 'x'\n"
        '  File "/x/site-packages/triton_kernels/flexpoint.py", line 55, in <module>\n'
    )
    assert callers(text, text.index("\n")) == ("triton_kernels",)
    assert callers(text + FIRST, text.index("\n")) == ("triton_kernels",)
    assert callers("ImportError: this\n" + FIRST, 17) == ()


def test_the_module_whose_code_raised_is_that_of_the_last_call() -> None:
    first = FIRST.replace("line 1\n", "line 1, in f\n")
    assert raising(first, len(first)) == "numpy"
    calls = SECOND.replace("line 2\n", "line 2, in f\n")
    assert raising(calls, len(calls)) == "vllm"


def test_a_script_or_remote_code_that_calls_last_is_no_installed_module() -> None:
    remote = '  File "/x/site-packages/transformers/a.py", line 1, in f\n'
    remote += '  File "/home/u/.cache/transformers_modules/m.py", line 2, in g\nImportError: this'
    assert (raising(remote, len(remote)), raising("ImportError: this", 17)) == ("", "")
