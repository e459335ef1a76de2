"""What a compiler says, cut down to the reason; nothing in it differs from run to run."""

from __future__ import annotations

import pytest

from qdoctor.mining.message import shortened

PTXAS = """PTXASError: PTXAS error: Internal Triton PTX codegen error `ptxas` stderr:
ptxas /tmp/tmpejk4165f.ptx, line 76; error   : Feature 'cvt' requires .target sm_80 or higher
ptxas fatal   : Ptx assembly aborted due to errors
Repro command: /opt/ptxas -v /tmp/tmpejk4165f.ptx"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (PTXAS, "Feature 'cvt' requires .target sm_80 or higher"),
        (" ".join(PTXAS.split()), "Feature 'cvt' requires .target sm_80 or higher"),
        (
            "ptxas-blackwell fatal   : Value 'sm_88' is not defined\nx",
            "Value 'sm_88' is not defined",
        ),
        ("a\n/x/y.py:40:18: error: 'arith.extf' is wrong\n  code", "'arith.extf' is wrong"),
        (
            "Fatal\nLLVM ERROR: Cannot select: 0x55aa11223344\n#0 x",
            "LLVM ERROR: Cannot select: 0x...",
        ),
        (
            "python: /build/x.cpp:1: f(): Assertion `v == 1' failed.\nAborted",
            "Assertion `v == 1' failed",
        ),
        ("ValueError: no fp8 in /home/me/k.py", "ValueError: no fp8 in k.py"),
        ("cannot open tmpab12cd34", "cannot open tmp..."),
        ("", "it says nothing"),
    ],
)
def test_the_reason_is_found(text: str, reason: str) -> None:
    assert shortened(text) == reason


def test_a_long_reason_is_cut() -> None:
    cut = shortened("error: " + "word " * 100)
    assert len(cut) == 160
    assert cut.startswith("word word")
    assert cut.endswith("...")
