"""What an error text says of its machine is taken where the facts leave it open, and only there."""

from __future__ import annotations

import re

import pytest

from qdoctor.diagnosis import diagnose
from qdoctor.implied_text import possible, wordings
from qdoctor.matrix import shipped
from qdoctor.model import Driver, Facts, Gpu, Host
from qdoctor.rules.signatures import recognize

MATRIX = shipped()
SYSTEMS = MATRIX.table("signatures")["systems"]
MISSING = "CUDA SETUP: Required library version not found: libbitsandbytes_cuda122.so."


@pytest.mark.parametrize("row", SYSTEMS, ids=[row["os"] for row in SYSTEMS])
def test_a_path_gives_its_system_away_and_no_other(row: dict[str, str]) -> None:
    for text in row["examples"]:
        assert [one["os"] for one in SYSTEMS if re.search(one["pattern"], text)] == [row["os"]]


@pytest.mark.parametrize(
    "text",
    ["RuntimeError: a: b", "https://example.org/home", "ratio 3:\\n next", "docs:/home", "x:/y"],
)
def test_what_is_no_path_gives_nothing_away(text: str) -> None:
    assert not [one["os"] for one in SYSTEMS if re.search(one["pattern"], text)]


def test_a_stated_system_outranks_a_path() -> None:
    machine, _ = diagnose(Facts(host=Host(os="linux")), error="C:\\Users\\x\\a.py: error")
    assert machine.os.value == "linux"


def test_the_cuda_version_of_a_library_is_torchs() -> None:
    machine, _ = diagnose(Facts(), error=MISSING)
    assert machine.torch_cuda.value == "12.2"
    assert machine.torch_cuda.because is not None
    assert "the error text says" in machine.torch_cuda.because.text
    assert machine.torch_cuda.because.strength == "observed"


def test_a_library_named_by_the_override_says_nothing_of_torch() -> None:
    machine, _ = diagnose(Facts(env={"BNB_CUDA_VERSION": "122"}), error=MISSING)
    assert machine.torch_cuda.value is None


def test_a_stated_cuda_version_outranks_the_text() -> None:
    machine, _ = diagnose(Facts(torch_cuda="11.8"), error=MISSING)
    assert machine.torch_cuda.value == "11.8"


def test_the_drivers_cuda_version_is_read_from_torchs_message() -> None:
    text = "The NVIDIA driver on your system is too old (found version 11070)."
    machine, found = diagnose(Facts(driver=Driver("515.65.01")), error=text)
    assert machine.driver_cuda.value == "11.7"
    assert found[0].rule == "driver-too-old"
    machine, _ = diagnose(Facts(), error=text)
    assert machine.driver_cuda.value == "11.7"


def test_the_sm_is_read_from_torchs_warning_unless_there_are_several_gpus() -> None:
    text = "with CUDA capability sm_120 is not compatible with the current PyTorch installation"
    assert diagnose(Facts(), error=text)[0].sm.value == "12.0"
    two = Facts(gpus=[Gpu(index=0, sm="8.6"), Gpu(index=1, sm="7.5")])
    assert diagnose(two, error=text)[0].sm.value == "8.6"


def test_a_wording_dates_the_release() -> None:
    found = wordings(recognize(MISSING, MATRIX))
    releases = possible("bitsandbytes", found, MATRIX)
    assert "0.43.0" in releases
    assert "0.43.1" not in releases


def test_what_every_possible_release_shares_is_known() -> None:
    """No release that prints this text has a DLL for CUDA but 0.43.0."""
    text = "argument of type 'WindowsPath' is not iterable"
    _, found = diagnose(Facts(host=Host(os="windows")), error=text)
    assert found[0].rule == "bnb-windows-unsupported"
    assert found[0].explains_error
    assert found[0].undecided is None
