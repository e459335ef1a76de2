"""Which texts of a compiled library are kept as checks of what it is given."""

from __future__ import annotations

from qdoctor.mining.native_texts import shapes_in


def library(*texts: str) -> bytes:
    return b"\x7fELF\x01\x02" + b"\x00".join(one.encode() for one in texts) + b"\x00"


def test_a_check_is_kept_behind_any_exception() -> None:
    data = library("torch.odd(): expected the input to have two dimensions, but got ", "short")
    shape = "* * torch odd expected the input to have two dimensions but *"
    assert list(shapes_in(data)) == [shape]


def test_what_is_no_check_of_arguments_is_left_out() -> None:
    texts = (
        "odd(Tensor input, Tensor other, *, Tensor out=None)",
        "please install another release of this library first",
        "the fuser met a node that it does not know at all",
        "%s,%d,%s: unsupported number of things in a primitive",
    )
    assert not list(shapes_in(library(*texts)))
