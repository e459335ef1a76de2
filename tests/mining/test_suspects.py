"""What a wheel's tag promises, and which wheels were withdrawn."""

from __future__ import annotations

import pytest
from packaging.version import Version

from qdoctor.mining.index import WheelFile
from qdoctor.mining.suspects import floor_of, withdrawn


@pytest.mark.parametrize(
    ("wheel", "glibc"),
    [
        ("a-1-py3-none-manylinux_2_24_x86_64.whl", "2.24"),
        ("a-1-cp311-cp311-manylinux1_x86_64.whl", "2.5"),
        ("a-1-cp311-cp311-manylinux_2_28_x86_64.manylinux2014_x86_64.whl", "2.17"),
        ("a-1-1-cp311-cp311-manylinux_2_27_x86_64.whl", "2.27"),
        ("a-1-py3-none-any.whl", None),
        ("a-1-py3-none-win_amd64.whl", None),
        ("a-1-cp311-cp311-linux_x86_64.whl", None),
    ],
)
def test_the_oldest_glibc_of_a_tag(wheel: str, glibc: str | None) -> None:
    assert floor_of(wheel) == (Version(glibc) if glibc else None)


def test_withdrawn_wheels_are_told_with_their_reason() -> None:
    def file(version: str, why: str, *, yanked: bool) -> WheelFile:
        name = f"open_clip-{version}-py3-none-any.whl"
        return WheelFile(
            name, "", "", Version(version), (), frozenset(), "", yanked=yanked, why_yanked=why
        )

    files = [
        file("1.0", "broken", yanked=True),
        file("1.1", "", yanked=True),
        file("1.2", "", yanked=False),
        file("1.3rc1", "x", yanked=True),
    ]
    assert [str(one) for one in withdrawn(files)] == [
        "open-clip 1.0: open_clip-1.0-py3-none-any.whl: withdrawn: broken",
        "open-clip 1.1: open_clip-1.1-py3-none-any.whl: withdrawn: no reason given",
    ]
