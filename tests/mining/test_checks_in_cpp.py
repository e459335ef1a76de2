"""Which texts of C++ checks are kept, and how."""

from __future__ import annotations

import pytest

from qdoctor.mining.checks_in_cpp import shapes_in


@pytest.mark.parametrize(
    ("source", "shape"),
    [
        (
            'TORCH_CHECK(a.size(0) == f("of the condition"), "rank ", a.dim(), " is not two");',
            "runtimeerror rank * is not two",
        ),
        (
            'TORCH_CHECK(t == kInt, "the weight is of " "another type");',
            "runtimeerror the weight is of another type",
        ),
        ('TORCH_CHECK(ok, #x " has odd size, not ", n)', "runtimeerror * has odd size not *"),
    ],
)
def test_a_check_is_kept_with_stars(source: str, shape: str) -> None:
    assert list(shapes_in(source)) == [shape]


def test_hardware_and_checks_without_a_text_are_left_out() -> None:
    assert not list(shapes_in('TORCH_CHECK(sm, "this kernel needs a newer GPU than that");'))
    assert not list(shapes_in("TORCH_CHECK(ok);"))
    assert not list(shapes_in('printf("not a check of anything at all");'))
