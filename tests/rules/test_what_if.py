"""A machine with another release is the machine that the changed facts would make, asked anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from qdoctor.layers import Answer
from qdoctor.machine import complete
from qdoctor.matrix import load, shipped
from qdoctor.model import Driver, Facts, Gpu, Host, NativeLibrary
from qdoctor.rules.what_if import with_package
from qdoctor.shipped import matrix_folder

if TYPE_CHECKING:
    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix

LINUX = Host(os="linux", machine="x86_64", libc="glibc 2.31")
PACKAGES = {"torch": "2.1.2+cu118", "bitsandbytes": "0.41.1", "transformers": "4.40.0"}
GPUS = [Gpu(index=0, name="Tesla V100-SXM2-16GB"), Gpu(index=1, name="NVIDIA A100-SXM4-80GB")]
MACHINES = {
    "plain": Facts(host=LINUX, packages=PACKAGES, gpus=GPUS),
    "nothing-known": Facts(),
    "no-system": Facts(packages=PACKAGES, gpus=GPUS[:1]),
    "system-by-triton": Facts(packages={**PACKAGES, "triton": "2.1.0"}, gpus=GPUS[1:]),
    "contradicting": Facts(
        host=LINUX,
        packages=PACKAGES,
        torch_cuda="12.1",
        torch_arch_list=["sm_50"],
        driver=Driver(version="535.104.05", cuda="11.0"),
        requires={"torch": ["triton==2.0.0"], "bitsandbytes": ["torch<2"]},
        native=[NativeLibrary(package="torch", file="libtorch_cuda.so", sm=["sm_50"])],
    ),
}
OTHERS = [
    ("torch", "2.7.1+cu126"),
    ("torch", "2.1.2"),
    ("triton", "3.3.1"),
    ("bitsandbytes", "0.45.0"),
    ("transformers", "4.46.0"),
]


@pytest.mark.parametrize(("package", "version"), OTHERS)
@pytest.mark.parametrize("name", MACHINES)
def test_it_is_what_the_changed_facts_imply(name: str, package: str, version: str) -> None:
    before = complete(MACHINES[name], shipped())
    after = with_package(before, shipped(), package, version)
    assert (after.facts.packages or {})[package] == version
    anew = complete(after.facts, shipped())
    assert after.os.value == anew.os.value
    assert after == msgspec.structs.replace(anew, os=after.os)  # its evidence may be the old triton
    assert (after.gpu, after.usable_gpus, after.sm) == (anew.gpu, anew.usable_gpus, anew.sm)


@pytest.mark.parametrize(("package", "version"), OTHERS)
def test_the_judged_gpu_stays_the_judged_one(package: str, version: str) -> None:
    before = msgspec.structs.replace(complete(MACHINES["plain"], shipped()), judged=1)
    assert before.sm.value == "8.0"
    assert with_package(before, shipped(), package, version).sm.value == "8.0"


def test_a_question_is_put_once_to_a_machine_and_anew_with_another_matrix() -> None:
    asked: list[tuple[Machine, Matrix]] = []

    def question(machine: Machine, matrix: Matrix) -> Answer:
        asked.append((machine, matrix))
        return Answer("yes", f"asked {len(asked)} times")

    one, other = shipped(), load(matrix_folder())
    machine = complete(MACHINES["plain"], one)
    assert machine.ask(question, one) is machine.ask(question, one)
    assert machine.ask(question, other).reason == "asked 2 times"
    changed = with_package(machine, one, "bitsandbytes", "0.45.0")
    assert changed.ask(question, one).reason == "asked 3 times"
    assert asked == [(machine, one), (machine, other), (changed, one)]


def test_another_matrix_makes_another_machine() -> None:
    one, other = shipped(), load(matrix_folder())
    machine = complete(MACHINES["plain"], one)
    first = with_package(machine, one, "torch", "2.7.1")
    assert with_package(machine, one, "torch", "2.7.1") is first
    assert with_package(machine, other, "torch", "2.7.1") is not first
