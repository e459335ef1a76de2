"""What people write around a text names their GPU and system; what they compare with does not."""

from __future__ import annotations

import re

import pytest

from qdoctor.diagnosis import diagnose
from qdoctor.implied_prose import gpu_in, system_in
from qdoctor.matrix import shipped
from qdoctor.model import Facts, Gpu, Host

ROWS = shipped().table("prose")["rows"]
NO_IMAGE = "RuntimeError: CUDA error: no kernel image is available for execution on the device"


@pytest.mark.parametrize("row", ROWS)
def test_a_pattern_fits_its_examples(row: dict[str, str]) -> None:
    for text in row["examples"]:
        assert re.search(row["pattern"], text)


@pytest.mark.parametrize(
    ("text", "sm"),
    [
        (f"{NO_IMAGE} on my RTX 5090", "12.0"),
        ("bitsandbytes not working on RTX 5060 Ti 16GB", "12.0"),
        ("It fails on a Tesla P40 in Ubuntu 22.04", "6.1"),
        ("Jetson Orin Nano: CUDA Setup failed", "8.7"),
        ("Colab T4 GPU", "7.5"),
        ("requires 8.0 (e.g. A100), but mine is Tesla T4", "7.5"),
        ("two cards: RTX 3090 and RTX A6000", "8.6"),
    ],
)
def test_the_gpu_that_is_named_is_read(text: str, sm: str) -> None:
    found = gpu_in(text, shipped())
    assert found is not None
    assert found[0].sm == sm


@pytest.mark.parametrize(
    "text",
    [
        "works on my RTX 3090, fails elsewhere",
        "FlashAttention only supports Ampere GPUs (A100, RTX 3090) or newer",
        "I run it on an A100 and on a V100",
        "tested on RTX 3090",
        'File "/home/u/A100/run.py", line 4',
        "llama-L4-T4, layer P4 of the model",
        "RTX 5000",
        "my RTX 5090\n" + "line\n" * 2000,
        NO_IMAGE,
    ],
)
def test_what_is_not_surely_the_machines_own_is_not_read(text: str) -> None:
    assert gpu_in(text, shipped()) is None


@pytest.mark.parametrize(
    ("text", "system"),
    [
        ("Windows 11, Python 3.10", "windows"),
        ("triton is not available on Windows", "windows"),
        ("on my MacBook Pro M1", "macos"),
        ("WSL2 with an RTX 3090", "linux"),
        ("fails on Windows 11, not tested on Ubuntu 22.04", "windows"),
        ("on Windows 11 and Ubuntu 22.04", None),
        ("only for Linux", None),
        ("Windows Subsystem for Linux", None),
    ],
)
def test_the_system_that_is_named_is_read(text: str, system: str | None) -> None:
    found = system_in(text, shipped())
    assert (found[0] if found else None) == system


def test_what_is_stated_outranks_what_a_text_names() -> None:
    text = f"{NO_IMAGE} on my RTX 5090, Windows 11"
    told = diagnose(Facts(), error=text)[0]
    assert (told.sm.value, told.os.value) == ("12.0", "windows")
    stated = Facts(gpus=[Gpu(index=0, name="Tesla P40")], host=Host(os="linux"))
    kept = diagnose(stated, error=text)[0]
    assert (kept.sm.value, kept.os.value) == ("6.1", "linux")


def test_a_texts_sm_completes_a_gpu_whose_name_tells_none() -> None:
    text = "Found GPU0 Some Card which is of cuda capability 2.1."
    told = diagnose(Facts(gpus=[Gpu(index=0, name="Some Card")]), error=text)[0]
    assert told.sm.value == "2.1"
