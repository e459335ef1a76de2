from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qdoctor.layers.wheel_file import file_fits
from tests.layers.test_wheel import machine

if TYPE_CHECKING:
    from qdoctor.machine import Machine


@pytest.mark.parametrize(
    ("tags", "here", "answer"),
    [
        (["cp311-cp311-linux_x86_64"], machine(), "yes"),
        (["cp310-cp310-linux_x86_64"], machine(), "no"),
        (["cp39-abi3-manylinux_2_28_x86_64"], machine(), "yes"),
        (["cp39-abi3-manylinux_2_28_x86_64"], machine(libc="glibc 2.27"), "no"),
        (["cp312-abi3-manylinux_2_28_x86_64"], machine(), "no"),
        (["py2-none-any", "py3-none-any"], machine(os="windows"), "yes"),
        (["py2-none-any"], machine(), "no"),
        (["py310-none-win_amd64"], machine(os="windows"), "yes"),
        (["py3-none-win_amd64"], machine(), "no"),
        (["pp311-pypy311_pp73-linux_x86_64"], machine(), "no"),
        (["cp313-cp313t-linux_x86_64"], machine("3.13.1"), "unknown"),
        (["cp311-cp311-linux_x86_64"], machine(python=None), "unknown"),
        (["cp311-cp311-linux_x86_64"], machine(os=None, arch=None), "unknown"),
        (["cp311-cp311-macosx_11_0_universal2"], machine(os="macos", arch="arm64"), "yes"),
    ],
)
def test_a_file_fits_by_the_tags_of_its_name(tags: list[str], here: Machine, answer: str) -> None:
    assert file_fits(here, "the wheel", tags).value == answer
