"""A place read again tells a statement that still holds from one that does not."""

from __future__ import annotations

import _ctypes
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.version import Version

from qdoctor.binaries import read_library
from qdoctor.mining.errors import UnreadableRelease
from qdoctor.mining.index import WheelFile
from qdoctor.mining.reread import difference
from qdoctor.mining.wheel import Wheel

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE = "import triton\n\n\ndef llrint(x):\n    return triton.language.exp(\n        x)\n"
MEMBERS = {
    "pkg/__init__.py": SOURCE,
    "pkg/bin/ptxas": b"\0" * (2**20 - 3) + b"V12.8.93" + b"\0" * 100,
    "pkg/lib.so": b"no library",
}
METADATA = "pkg-1.0.dist-info/METADATA"
REQUIRES = 'triton==3.1.0; platform_system == "Linux"'


@pytest.fixture
def wheel(make_wheel: Callable[..., bytes]) -> Wheel:
    body = make_wheel("pkg", "1.0", MEMBERS, "Requires-Python: >=3.9", f"Requires-Dist: {REQUIRES}")
    file = WheelFile("pkg-1.0.whl", "", "", Version("1.0"), (), frozenset(), "", yanked=False)
    return Wheel(file, io.BytesIO(body))


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("names", ["pkg", "pkg.llrint"], {"member": "pkg/__init__.py"}),
        ("used", [], {"member": "pkg/__init__.py", "line": 4, "symbol": "llrint"}),
        ("used", [], {"member": "pkg/__init__.py", "line": 5, "symbol": "triton.language.exp"}),
        ("ptxas", ["12.8.93"], {"member": "pkg/bin/ptxas", "symbol": "V12.8.93"}),
        ("requires_python", ">=3.9", {"member": METADATA}),
        ("requires_dist", [REQUIRES], {"member": METADATA}),
        ("triton_pin", "==3.1.0", {"member": METADATA, "symbol": REQUIRES.replace('"', "'")}),
        ("triton_pin", "", {"member": METADATA}),
        ("requires_in_matrix", [REQUIRES], {"member": METADATA}),
    ],
)
def test_what_is_still_said_holds(
    wheel: Wheel, key: str, value: object, place: dict[str, Any]
) -> None:
    assert difference(wheel, key, value, place) == ""


@pytest.mark.parametrize(
    ("key", "value", "place", "said"),
    [
        ("names", ["pkg"], {"member": "pkg/__init__.py"}, "entries of names"),
        ("used", [], {"member": "pkg/__init__.py", "line": 1, "symbol": "llround"}, "line 1"),
        ("used", [], {"member": "pkg/__init__.py", "symbol": "llround"}, "does not say llround"),
        ("ptxas", ["12.9"], {"member": "pkg/bin/ptxas", "symbol": "V12.9"}, "does not hold"),
        ("requires_python", ">=3.8", {"member": METADATA}, ">=3.9"),
        ("requires_dist", [], {"member": METADATA}, "triton"),
        ("requires_in_matrix", [REQUIRES, "torch"], {"member": METADATA}, "not require torch"),
        ("triton_pin", "==3.2.0", {"member": METADATA, "symbol": "triton==3.2.0"}, "not require"),
    ],
)
def test_what_is_not_said_any_more_does_not(
    wheel: Wheel, key: str, value: object, place: dict[str, Any], said: str
) -> None:
    assert said in difference(wheel, key, value, place)


def test_a_library_is_compared_with_its_entries(make_wheel: Callable[..., bytes]) -> None:
    # Some real library of this system.
    real = Path(_ctypes.__file__)
    found = read_library(real)
    body = make_wheel("pkg", "1.0", {"pkg/libx.so": real.read_bytes()})
    file = WheelFile("pkg-1.0.whl", "", "", Version("1.0"), (), frozenset(), "", yanked=False)
    wheel, place = Wheel(file, io.BytesIO(body)), {"member": "pkg/libx.so"}
    entry = {
        "file": "libx.so",
        "sm": list(found.sm),
        "ptx": list(found.ptx),
        "glibc": found.glibc,
        "needs": list(found.needs),
    }
    assert difference(wheel, "native", [entry], place) == ""
    other = {**entry, "sm": ["sm_70"]}
    assert "libx.so holds sm []" in difference(wheel, "native", [other], place)
    symbol = {**place, "symbol": f"GLIBC_{found.glibc}"}
    assert difference(wheel, "glibc", found.glibc, symbol) == ""
    assert "not GLIBC_9.9" in difference(wheel, "glibc", "9.9", {**place, "symbol": "GLIBC_9.9"})


def test_what_cannot_be_read_is_told_apart(wheel: Wheel) -> None:
    with pytest.raises(UnreadableRelease, match=r"pkg/lib\.so"):
        difference(wheel, "native", [], {"member": "pkg/lib.so"})
