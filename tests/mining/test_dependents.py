"""Releases that require the matrix's packages: what is kept of them, and the file they share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from qdoctor import matrix
from qdoctor.mining import dependents
from qdoctor.mining.mine import Wanted, mine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from qdoctor.mining.http import Transport
    from tests.mining.conftest import Index

HEADERS = (
    "Requires-Python: >=3.9\n"
    "Requires-Dist: torch>=2.4\n"
    "Requires-Dist: numpy>=1.17\n"
    'Requires-Dist: BitsAndBytes>0.46; extra == "test"'
)
TORCHAO = {
    "torchao/__init__.py": "from . import quantization\n",
    "torchao/quantization/__init__.py": (
        "from .quant_api import Int8DynamicActivationInt8WeightConfig, quantize_\n"
        "from torchao.dtypes import Unseen\n"
    ),
    "torchao/quantization/quant_api.py": (
        "class Int8DynamicActivationInt8WeightConfig: ...\ndef quantize_(m, c): ...\n"
    ),
}


@pytest.fixture
def served(index: Index, make_wheel: Callable[..., bytes]) -> Index:
    wheels = {
        f"peft-{version}-py3-none-any.whl": make_wheel(
            "peft", version, {"peft/__init__.py": ""}, HEADERS
        )
        for version in ("0.9.0", "0.10.0")
    }
    index.add("peft", wheels)
    windows = make_wheel("triton-windows", "3.2.0", {"triton/__init__.py": ""}, "")
    index.add("triton-windows", {"triton_windows-3.2.0-cp311-cp311-win_amd64.whl": windows})
    torchao = make_wheel("torchao", "0.9.0", TORCHAO, "Requires-Dist: torch==2.5.1")
    index.add("torchao", {"torchao-0.9.0-py3-none-any.whl": torchao})
    for package in ("triton", "bitsandbytes", "torch"):
        index.add(package, {})
    return index


def test_releases_of_one_package_share_a_file(
    served: Index, transport: Transport, tmp_path: Path
) -> None:
    (tmp_path / "releases").mkdir()
    mine(tmp_path, served.url, transport, Wanted("peft"), lambda _: None)
    content = json.loads((tmp_path / "dependents" / "peft.json").read_text(encoding="utf-8"))
    assert list(content["releases"]) == ["0.9.0", "0.10.0"]
    facts = content["releases"]["0.10.0"]["facts"]
    assert facts["requires_in_matrix"] == ["torch>=2.4", 'BitsAndBytes>0.46; extra == "test"']
    assert facts["requires_python"] == ">=3.9"
    assert "requires_dist" not in facts
    read = matrix.load(tmp_path)
    assert [str(version) for version in read.versions("peft")] == ["0.9.0", "0.10.0"]
    found = read.release("PEFT", "0.9.0")
    assert found is not None
    assert (found.package, found.version) == ("peft", "0.9.0")
    assert read.because("peft", "0.9.0", "requires_in_matrix").strength == "mined"
    assert read.release("peft", "0.11.0") is None


def test_a_second_run_reads_nothing_and_changes_nothing(
    served: Index, transport: Transport, tmp_path: Path
) -> None:
    mine(tmp_path, served.url, transport, Wanted("peft"), lambda _: None)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    served.asked.clear()
    mined = mine(tmp_path, served.url, transport, Wanted("peft"), lambda _: None)
    assert (mined.written, served.asked) == ([], ["/wheels/peft/"])
    mined = mine(tmp_path, served.url, transport, Wanted("peft", refresh=True), lambda _: None)
    assert len(mined.unchanged) == 2
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.json")} == before


def test_beside_the_shipped_data_each_release_has_a_file(
    served: Index, transport: Transport, tmp_path: Path
) -> None:
    known = frozenset({("peft", "0.9.0")})
    mine(tmp_path, served.url, transport, Wanted("peft", known=known), lambda _: None)
    assert [p.name for p in (tmp_path / "releases" / "peft").iterdir()] == ["0.10.0.json"]
    assert not (tmp_path / "dependents").exists()


def test_an_index_without_a_dependent_costs_only_that_one(
    served: Index, transport: Transport, tmp_path: Path
) -> None:
    mined = mine(tmp_path, served.url, transport, Wanted(), lambda _: None)
    assert "vllm" in mined.failed
    assert "peft==0.9.0" in mined.written
    index: dict[str, Any] = json.loads((tmp_path / "index.json").read_text(encoding="utf-8"))
    assert index["together"] == ["peft", "triton-windows"]
    assert index["packages"]["torchao"] == ["0.9.0"]


def test_torchao_says_what_users_quantize_by(
    served: Index, transport: Transport, tmp_path: Path
) -> None:
    mine(tmp_path, served.url, transport, Wanted("torchao"), lambda _: None)
    path = tmp_path / "releases" / "torchao" / "0.9.0.json"
    facts = json.loads(path.read_text(encoding="utf-8"))["facts"]
    name = "torchao.quantization.Int8DynamicActivationInt8WeightConfig"
    assert name in facts["quantization_names"]
    assert facts["quantization_names_complete"] is True
    assert facts["requires_dist"] == ["torch==2.5.1"]


def test_what_follows_torch_is_read_from_the_first_torch_on() -> None:
    assert dependents.since("torchvision") < dependents.since("xformers") == dependents.SINCE
