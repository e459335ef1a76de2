"""A GPU is recognised by the words of its name, as drivers and people write it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdoctor.gpu_names import sms
from qdoctor.matrix import shipped
from qdoctor.model import BadInput

SAID = {
    "A100": "8.0",
    "NVIDIA A100-SXM4-80GB MIG 1g.10gb": "8.0",
    "cc 8.0 (A100-class)": "8.0",
    "Tesla V100-SXM2-16GB": "7.0",
    "8x V100 32G": "7.0",
    "V100x8": "7.0",
    "P100 (Kaggle)": "6.0",
    "RTX 3080 (16GB, laptop)": "8.6",
    "RTX 3080 16GB (laptop)": "8.6",
    "RTX 3070 Mobile": "8.6",
    "NVIDIA GeForce RTX 4090": "8.9",
    "RTX3090": "8.6",
    "gtx1080ti": "6.1",
    "3080ti": "8.6",
    "RTX 2080Ti x4": "7.5",
    "Quadro RTX 8000": "7.5",
    "GTX 1650": "7.5",
    "GTX 16xx (TU116/TU117)": "7.5",
    "GeForce RTX 30-series": "8.6",
    "RTX 3000 series": "8.6",
    "RTX 50 series": "12.0",
    "GTX 10 series": "6.1",
    "GTX 900 series": "5.2",
    "DGX Spark (GB10)": "12.1",
    "Jetson Orin": "8.7",
    "Orin": "8.7",
    "8x H100": "9.0",
    "8xH100": "9.0",
    "H100 PCIe": "9.0",
    "NVIDIA H100 80GB HBM3": "9.0",
    "NVIDIA GH200 480GB": "9.0",
    "T4": "7.5",
    "L4": "8.9",
    "RTX 5090 D": "12.0",
    "RTX A6000": "8.6",
    "RTX 6000 Ada": "8.9",
    "NVIDIA RTX 6000 Ada Generation": "8.9",
    "RTX PRO 6000 Blackwell": "12.0",
    "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition": "12.0",
    "B200": "10.0",
    "GeForce GTX TITAN X": "5.2",
    "TITAN X (Pascal)": "6.1",
    "NVIDIA Tegra X1": "5.3",
}
OTHERS = [
    "AMD gfx1101",
    "AMD A10-7850K Radeon R7",
    "AMD Instinct MI300X",
    "Radeon RX 6000",
    "Radeon Pro W6800",
    "Intel Arc A770",
    "Intel(R) Arc(TM) Pro A40",
    "Intel(R) UHD Graphics 630",
    "Apple M4",
    "Apple M2 Ultra",
]


@pytest.mark.parametrize(("name", "sm"), SAID.items(), ids=SAID)
def test_a_name_implies_its_sm(name: str, sm: str) -> None:
    assert sms(shipped().gpus_named(name)) == [sm]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("RTX 6000", {"7.5", "8.9"}),
        ("RTX 3000", {"7.5", "8.9"}),
        ("TITAN X", {"5.2", "6.1"}),
        ("GeForce GTX 860M", {"3.0", "5.0"}),
        ("V100 / P100 / P40", {"7.0", "6.0", "6.1"}),
        ("GTX 1650 + P40", {"7.5", "6.1"}),
    ],
)
def test_a_name_that_fits_several_gives_them_all(name: str, expected: set[str]) -> None:
    assert set(sms(shipped().gpus_named(name))) == expected


@pytest.mark.parametrize("name", OTHERS)
def test_another_vendors_card_is_never_one_of_nvidia(name: str) -> None:
    assert shipped().gpus_named(name) == []


@pytest.mark.parametrize("name", ["", "Quadro (Pascal)", "cc 8.6", "RTX", "GeForce", "Hopper"])
def test_what_names_no_model_fits_none(name: str) -> None:
    assert shipped().gpus_named(name) == []


def test_more_words_hide_the_model_with_fewer() -> None:
    assert [row.name for row in shipped().gpus_named("RTX 3080 Ti")] == ["GeForce RTX 3080 Ti"]
    assert [row.name for row in shipped().gpus_named("RTX 3080")] == ["GeForce RTX 3080"]


@pytest.mark.parametrize("name", ["GTX 1650", "GTX 1660 Ti", "GeForce MX450", "T1000"])
def test_turing_without_tensor_cores_is_told_apart(name: str) -> None:
    assert [row.tensor_cores for row in shipped().gpus_named(name)] == [False]


@pytest.mark.parametrize("text", ["sm_70", "SM70", "7.0", "compute_70", " sm_70 "])
def test_an_sm_is_read_in_each_spelling(text: str) -> None:
    (gpu,) = shipped().parse_gpu(text)
    assert (gpu.sm, gpu.name) == ("7.0", None)


@pytest.mark.parametrize(("text", "sm"), [("sm_90a", "9.0"), ("sm_120", "12.0"), ("12.1", "12.1")])
def test_suffixes_and_two_digit_majors(text: str, sm: str) -> None:
    assert [gpu.sm for gpu in shipped().parse_gpu(text)] == [sm]


def test_a_name_gives_its_candidates_with_their_memory() -> None:
    (gpu,) = shipped().parse_gpu("RTX 4090")
    assert (gpu.name, gpu.sm, gpu.memory_mib) == ("GeForce RTX 4090", "8.9", 24 * 1024)
    assert {gpu.sm for gpu in shipped().parse_gpu("RTX 6000")} == {"7.5", "8.9"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sm_99", "known are"),
        ("８.０", "no NVIDIA GPU named"),  # noqa: RUF001
        ("RTX 5900", "did you mean .*GeForce RTX 5090"),
        ("toaster", "sm_80"),
        ("MI300X", "another maker's: only NVIDIA's .*sm_80"),
        ("Apple M2", "another maker's"),
    ],
)
def test_an_unknown_gpu_is_refused_with_what_is_near(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        shipped().parse_gpu(text)


@given(st.text(max_size=60))
def test_no_name_breaks_the_search(name: str) -> None:
    for row in shipped().gpus_named(name):
        assert row.sm in shipped().table("sm")["rows"]
