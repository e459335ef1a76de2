from __future__ import annotations

import pytest

from qdoctor.layers.wheel import build_of, has_wheel
from qdoctor.machine import Machine, complete
from qdoctor.matrix import shipped
from qdoctor.model import Facts, Host, Python


def machine(
    python: str | None = "3.11.7",
    os: str | None = "linux",
    arch: str | None = "x86_64",
    libc: str | None = "glibc 2.35",
) -> Machine:
    host = Host(os=os, machine=arch, libc=libc)
    return complete(Facts(host=host, python=Python(version=python)), shipped())


@pytest.mark.parametrize(
    ("package", "version", "here", "answer"),
    [
        ("torch", "2.9.1", machine(), "yes"),
        ("torch", "2.9.1", machine("3.9.18"), "no"),
        ("torch", "2.9.1", machine(libc="glibc 2.27"), "no"),
        ("torch", "2.9.1", machine(libc=None), "yes"),
        ("torch", "2.9.1", machine(libc="musl 1.2"), "no"),
        ("torch", "2.9.1", machine(arch="ppc64le"), "no"),
        ("torch", "2.9.1", machine(os="windows", libc=""), "yes"),
        ("torch", "2.9.1", machine(os="macos", arch="arm64", libc=""), "yes"),
        ("torch", "2.9.1", machine(os="macos", arch="x86_64", libc=""), "no"),
        ("torch", "2.9.1", machine(python=None), "unknown"),
        ("torch", "2.9.1", machine(os=None, arch=None, libc=None), "unknown"),
        ("torch", "99", machine(), "unknown"),
        ("triton", "3.5.1", machine(arch="aarch64"), "yes"),
        ("triton", "3.5.1", machine(os="windows", libc=""), "no"),
        ("triton", "3.5.1", machine(os="windows", arch=None, libc=""), "no"),
        ("triton", "3.5.1", machine(arch=None), "unknown"),
        # From 0.50.0 on there are wheels for Windows on Arm, beside those for x86_64.
        ("bitsandbytes", "0.50.2", machine(os="windows", arch="arm64", libc=""), "yes"),
        ("bitsandbytes", "0.49.2", machine(os="windows", arch="arm64", libc=""), "no"),
        # One py3-none-any wheel, whatever it holds.
        ("bitsandbytes", "0.42.0", machine(os="macos", arch="arm64", libc=""), "yes"),
        # triton 3.9.0 has a wheel cp312-abi3, which is for every Python from 3.12 on.
        ("triton", "3.9.0", machine("3.13.1"), "yes"),
        ("triton", "3.9.0", machine("3.15.0"), "yes"),
        ("triton", "3.9.0", machine("3.10.1"), "no"),
    ],
)
def test_wheels_are_found_by_python_platform_and_libc(
    package: str, version: str, here: Machine, answer: str
) -> None:
    assert has_wheel(here, shipped(), package, version).value == answer


@pytest.mark.parametrize(
    ("tag", "here", "answer"),
    [
        ("cu128", machine(), "yes"),
        ("cu126", machine(), "yes"),
        ("cu126", machine(arch="aarch64"), "no"),
        ("cu126", machine(os=None, libc=None), "unknown"),
        ("cu118", machine(), "unknown"),
    ],
)
def test_builds_of_torch(tag: str, here: Machine, answer: str) -> None:
    """torch 2.9.1: cu128 by default, cu126 and cu130 beside it, for x86_64."""
    assert build_of(here, shipped(), "2.9.1", tag).value == answer


@pytest.mark.parametrize(
    ("version", "here", "answer"),
    [
        ("2.5.1", machine(), "yes"),
        ("2.13.0", machine(), "yes"),
        ("2.12.0", machine(), "unknown"),
        ("2.5.1", machine(arch="aarch64"), "unknown"),
        ("2.5.1", machine(os=None, libc=None), "unknown"),
    ],
)
def test_the_build_of_torch_without_cuda(version: str, here: Machine, answer: str) -> None:
    assert build_of(here, shipped(), version, "cpu").value == answer
