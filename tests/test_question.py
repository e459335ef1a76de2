from __future__ import annotations

from typing import Any

import pytest

from qdoctor import matrix
from qdoctor.model import BadInput, Driver
from qdoctor.question import BACKENDS, Question, check_names, known_name, named_driver, named_gpu

RULES = ("no-cuda-gpu", "torch-cpu-only")


def probes() -> tuple[str, ...]:
    return ("half_gemm", "triton_libdevice")


def test_names_that_exist_are_accepted() -> None:
    need = (*BACKENDS, "gpu", *probes())
    check_names(Question(need=need, ignore=RULES), RULES, probes)


def test_backends_do_not_cost_a_look_at_the_kernels() -> None:
    check_names(Question(need=("half", "gpu")), RULES, lambda: pytest.fail("kernels were read"))


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (Question(need=("bnb-int9",)), "did you mean bnb-int8"),
        (Question(need=("half_gem",)), "half_gemm"),
        (Question(need=("BNB-NF4",)), "did you mean bnb-nf4"),
        (Question(ignore=("no-cuda-gpus",)), "did you mean no-cuda-gpu"),
        (Question(ignore=("zzz",)), "known: no-cuda-gpu, torch-cpu-only"),
        (Question(python="/usr/bin/python3", facts_file="-"), "two different machines"),
    ],
)
def test_names_that_do_not_exist_are_refused(question: Question, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        check_names(question, RULES, probes)


@pytest.mark.parametrize("name", [5, None, ["gpu"]])
def test_what_is_no_name_is_refused(name: Any) -> None:  # noqa: ANN401
    with pytest.raises(BadInput, match="no need is called"):
        known_name(name, {"gpu": 1}, "need")


def test_a_known_name_is_returned() -> None:
    assert known_name("a", ["a", "b"], "letter") == "a"


@pytest.mark.parametrize(
    ("text", "sm"),
    [("sm_70", "7.0"), ("8.6", "8.6"), ("A100", "8.0"), ("Tesla V100-SXM2-16GB", "7.0")],
)
def test_a_gpu_can_be_named(text: str, sm: str) -> None:
    gpu = named_gpu(text, matrix.shipped())
    assert (gpu.sm, gpu.index, gpu.vendor) == (sm, 0, "nvidia")


def test_a_gpu_that_is_unknown_or_several_is_refused() -> None:
    with pytest.raises(BadInput, match="sm_80"):
        named_gpu("Voodoo 2", matrix.shipped())
    with pytest.raises(BadInput, match="fits several GPUs"):
        named_gpu("RTX 5000", matrix.shipped())


def test_a_named_gpu_gets_a_new_enough_driver_and_it_is_said() -> None:
    driver, said = named_driver(Question(gpu="sm_70"), matrix.shipped())
    assert driver is not None
    assert driver.version is None
    newest = max(
        matrix.shipped().table("cuda")["rows"], key=lambda row: tuple(map(int, row.split(".")))
    )
    assert driver.cuda == newest
    assert "--gpu came without --driver" in said[0]


def test_a_named_driver_is_taken_and_none_stays_none() -> None:
    known = matrix.shipped()
    assert named_driver(Question(gpu="sm_70", driver="535.104.05"), known) == (
        Driver(version="535.104.05"),
        [],
    )
    assert named_driver(Question(), known) == (None, [])


@pytest.mark.parametrize(("text", "said"), [("12.4", "came with driver 550.54.14"), ("0", "346")])
def test_a_driver_older_than_any_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadInput, match="no driver that the matrix knows") as refused:
        named_driver(Question(driver=text), matrix.shipped())
    assert said in str(refused.value)


def test_a_driver_newer_than_any_is_taken_for_the_newest_and_it_is_said() -> None:
    driver, said = named_driver(Question(driver="999.99"), matrix.shipped())
    assert driver == Driver(version="999.99")
    assert "newer than any that the matrix knows" in said[0]


@pytest.mark.parametrize("text", ["", "new", "535.", "535.1.2.3.4", "-1", "535.104.05\n", "１２３"])  # noqa: RUF001
def test_a_driver_that_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="no driver version"):
        named_driver(Question(driver=text), matrix.shipped())
