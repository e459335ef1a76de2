"""A stated driver or build for CUDA speaks against a machine without a GPU, whatever the text."""

from __future__ import annotations

import pytest

from qdoctor.diagnosis import diagnose
from qdoctor.matrix import shipped
from qdoctor.model import Driver, Facts, Finding, Gpu

NO_GPU = "no-cuda-gpu"
ROWS = [
    row
    for row in shipped().table("signatures")["rows"]
    if NO_GPU in row["rules"] and len(row["rules"]) > 1 and NO_GPU not in row.get("confirmed", ())
]
BUILD = {"torch": "2.6.0+cu126"}


def explaining(text: str, facts: Facts) -> list[Finding]:
    return [one for one in diagnose(facts, error=text)[1] if one.explains_error]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_beside_a_stated_build_for_cuda_the_other_causes_lead(row: dict[str, list[str]]) -> None:
    for text in row["examples"]:
        found = explaining(text, Facts(packages=BUILD))
        assert found
        assert found[0].rule != NO_GPU or all(one.rule == NO_GPU for one in found)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_a_driver_that_answers_has_a_gpu(row: dict[str, list[str]]) -> None:
    for text in row["examples"]:
        found = explaining(text, Facts(driver=Driver(cuda="12.4")))
        accusing = [one for one in found if one.rule == NO_GPU and "no CUDA GPU" in one.title]
        assert not accusing


def test_where_nothing_is_stated_the_table_s_order_holds() -> None:
    text = "RuntimeError: 0 active drivers ([]). There should only be one."
    assert NO_GPU in {one.rule for one in explaining(text, Facts())}


def test_a_machine_without_a_gpu_stays_one() -> None:
    text = "bitsandbytes/libbitsandbytes_cpu.so: undefined symbol: cget_col_row_stats"
    found = explaining(text, Facts(gpus=[], packages=BUILD))
    assert found[0].rule == NO_GPU


def test_a_default_build_says_nothing_of_the_gpu() -> None:
    text = "bitsandbytes/libbitsandbytes_cpu.so: undefined symbol: cget_col_row_stats"
    found = explaining(text, Facts(packages={"torch": "2.6.0"}, gpus=None))
    assert NO_GPU in {one.rule for one in found}


@pytest.mark.parametrize(
    "text",
    [
        "WARNING: No libcudart.so found! Install CUDA or the cudatoolkit package (anaconda)!",
        "CUDA SETUP: Required library version not found: libbitsandbytes_cuda117.so.",
    ],
)
def test_an_amd_machine_lacks_its_own_library_first(text: str) -> None:
    radeon = [Gpu(index=0, name="AMD Radeon RX 6800", vendor="amd")]
    found = explaining(text, Facts(gpus=radeon))
    assert found[0].rule == "bnb-platform-unsupported"
    assert found[0].undecided is None
