"""What torch's own checks say of what they are given: the texts in its compiled libraries.

torch's C++ holds a check's text in pieces, without what differs and without its exception's name:
``RuntimeError: ... to have dtype ... but got``. A piece of several words that speaks of nothing
installed is kept as a shape that any exception may begin. Texts of torch's inside (its compilers,
its serialization, other libraries in it) are left out: nobody's program brings them about.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qdoctor.mining.program_texts import FEWEST, STAR, speaks_of_what_is_installed, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMBERS = re.compile(r"torch/lib/lib(?:torch_cpu|c10|torch_python)\.so$")
_PIECE = re.compile(rb"[\x20-\x7e\n]{24,600}(?=\x00)")
_MOST = 10
_OWN_NAME = re.compile(r"\btorch\.[\w.]+")
_INSIDE = re.compile(
    r"serializ|ivalue|rref|fuser|mkldnn|onednn|onemkl|intel|bytecode|script|schema|forward ad\b"
    r"|\bnnc\b|\bjit\b|\bnode|vulkan|metal|xnnpack|\bxla\b|lazy|mobile|onnx|protobuf|caffe|please"
    r"|deprecat|warning|\bfile|socket|thread|stream|profil|tensorpipe|observer|\(tensor|=none|\bir\b"
    r"|\bsubgraph|backtrace|\bwill be\b|docs|::|->|\bgradcheck|backend|%|\bconstrain\b|pardiso"
    r"|\bipar\b|_lli\b|helmholtz",
    re.IGNORECASE,
)
_OF_LETTERS = 0.8


def shapes_in(data: bytes) -> Iterator[str]:
    """Yield the shapes of the texts in a library; ``data``: its bytes."""
    for piece in _PIECE.findall(data):
        text = piece.decode("ascii")
        words = words_of(text)
        if len(words) >= FEWEST and _is_a_check(text):
            yield " ".join([STAR, STAR, *words[:_MOST], STAR])


def _is_a_check(text: str) -> bool:
    letters = sum(one.isalpha() or one == " " for one in text)
    if letters < _OF_LETTERS * len(text) or _INSIDE.search(text):
        return False
    return not speaks_of_what_is_installed(_OWN_NAME.sub("", text))
