from __future__ import annotations

import msgspec
import pytest

from qdoctor import platforms
from qdoctor.model import BadInput, Driver, Facts, Gpu, Host, Python
from qdoctor.question import Question

HERE = Facts(
    host=Host(os="linux", machine="x86_64", libc="glibc 2.35", c_compiler=False),
    python=Python(version="3.11.7", executable="/usr/bin/python3", headers=False),
    packages={"torch": "2.5.1", "numpy": "2.0.0"},
    torch_cuda="12.4",
    driver=Driver(version="560.35.03"),
    gpus=[Gpu(name="Tesla V100", sm="7.0")],
    unread={"torch_arch_list": "x", "driver.cuda": "y"},
)


@pytest.mark.parametrize(
    ("name", "os", "machine", "libc"),
    [
        ("linux_x86_64", "linux", "x86_64", None),
        ("linux-aarch64", "linux", "aarch64", None),
        ("win_amd64", "windows", "x86_64", ""),
        ("macos_arm64", "macos", "arm64", ""),
        ("macosx_14_0_arm64", "macos", "arm64", ""),
        ("manylinux_2_28_x86_64", "linux", "x86_64", "glibc 2.28"),
        ("manylinux2014_aarch64", "linux", "aarch64", "glibc 2.17"),
        ("musllinux_1_2_x86_64", "linux", "x86_64", "musl 1.2"),
    ],
)
def test_platforms_by_the_names_users_know(
    name: str, os: str, machine: str, libc: str | None
) -> None:
    assert platforms.host(name) == Host(os=os, machine=machine, libc=libc)


@pytest.mark.parametrize("name", ["", "linux", "win32", "manylinux_2_28_ppc64le", "\x1b[31m"])
def test_an_unknown_platform_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="no platform that qdoctor knows"):
        platforms.host(name)


@pytest.mark.parametrize("version", ["", "3", "2.7", "three", "3.11rc1"])
def test_an_unreadable_python_version_is_refused(version: str) -> None:
    with pytest.raises(BadInput, match="no Python version"):
        platforms.laid_over(HERE, Question(python_version=version))


def test_without_options_nothing_changes() -> None:
    assert platforms.laid_over(HERE, Question()) == (HERE, [])


def test_bare_forgets_packages_and_keeps_the_machine() -> None:
    facts, said = platforms.laid_over(HERE, Question(bare=True))
    assert set((facts.packages or {}).values()) == {""}
    assert facts.torch_cuda is None
    assert facts.unread == {"driver.cuda": "y"}
    assert (facts.host, facts.python, facts.gpus) == (HERE.host, HERE.python, HERE.gpus)
    assert said == ["nothing is installed (--bare)"]


def test_another_platform_has_nothing_of_this_machine() -> None:
    facts, said = platforms.laid_over(HERE, Question(platform="linux_aarch64"))
    assert (facts.gpus, facts.driver, facts.env) == (None, None, None)
    assert facts.python == Python(version="3.11.7", headers=True)
    assert facts.host == Host(os="linux", machine="aarch64", c_compiler=True)
    assert set((facts.packages or {}).values()) == {""}
    assert any("glibc" in line for line in said)
    assert any("C compiler" in line for line in said)


def test_which_macos_it_is_is_said_to_be_assumed() -> None:
    _, said = platforms.laid_over(HERE, Question(platform="macosx_11_0_arm64"))
    assert any("macOS new enough" in line for line in said)


def test_the_same_platform_with_another_libc_keeps_what_is_installed() -> None:
    facts, _ = platforms.laid_over(HERE, Question(platform="manylinux_2_17_x86_64"))
    assert facts.host is not None
    assert facts.host.libc == "glibc 2.17"
    assert facts.packages == HERE.packages


@pytest.mark.parametrize("described", [None, "machine.json"])
def test_the_same_platform_has_no_toolkit_container_or_compiler_of_this_machine(
    described: str | None,
) -> None:
    host = Host(os="linux", machine="x86_64", container="docker", wsl=True, c_compiler=False)
    here = msgspec.structs.replace(HERE, host=host, toolkit_cuda="13.0")
    question = Question(platform="linux_x86_64", bare=True, facts_file=described)
    facts, _ = platforms.laid_over(here, question)
    if described:
        assert (facts.host, facts.toolkit_cuda) == (host, "13.0")
    else:
        wanted = Host(os="linux", machine="x86_64", c_compiler=True)
        assert (facts.host, facts.toolkit_cuda) == (wanted, None)
    assert facts.gpus == HERE.gpus


def test_another_python_is_a_new_environment_on_this_machine() -> None:
    facts, said = platforms.laid_over(HERE, Question(python_version="3.12"))
    assert facts.gpus == HERE.gpus
    assert set((facts.packages or {}).values()) == {""}
    assert any("another platform or Python" in line for line in said)


def test_the_python_that_is_here_is_no_other_one() -> None:
    facts, _ = platforms.laid_over(HERE, Question(python_version="3.11"))
    assert facts == HERE


def test_a_described_machine_gets_what_it_does_not_state() -> None:
    stated = Facts(gpus=HERE.gpus, packages=HERE.packages)
    question = Question(platform="linux_x86_64", python_version="3.11")
    facts, _ = platforms.laid_over(stated, question)
    assert (facts.gpus, facts.packages) == (HERE.gpus, HERE.packages)
    assert facts.python == Python(version="3.11", headers=True)
