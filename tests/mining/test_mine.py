"""From an index with handmade wheels to shards: the whole of mining, twice."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from packaging.version import Version

from qdoctor.mining import __main__ as program
from qdoctor.mining import bitsandbytes_release, dependents
from qdoctor.mining.index import WheelFile
from qdoctor.mining.mine import Mined, Wanted, mine
from qdoctor.mining.shard import Shard
from qdoctor.sources.modules import Sources

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from qdoctor.mining.http import Transport
    from tests.mining.conftest import Index

PTXAS = b"\0Cuda compilation tools, release 12.8, V12.8.93\nBuild\0"
AUTOTUNER = """
class Autotuner:
    def __init__(self, fn):
        self.later = lambda: driver.active.get_benchmarker()
        {0}
def autotune(configs):
    def decorator(fn):
        return Autotuner(fn)
    return decorator
"""
TRITON = {
    "triton/__init__.py": "from .runtime.autotuner import autotune\n",
    "triton/language/__init__.py": "from . import math, extra\n",
    "triton/language/math.py": "def exp(x): ...\n",
    "triton/language/extra/__init__.py": "from . import cuda, hip\n",
    "triton/language/extra/libdevice.py": "def llrint(x): ...\n",
    "triton/language/extra/cuda/__init__.py": "from . import libdevice\n",
    "triton/language/extra/cuda/libdevice.py": "\ndef llrint(x): ...\n",
    "triton/language/extra/hip/__init__.py": "",
    "triton/language/extra/hip/libdevice.py": "def llrint(x): ...\n",
    "triton/runtime/__init__.py": "",
    "triton/backends/nvidia/bin/ptxas": PTXAS,
}
BITSANDBYTES = {
    "bitsandbytes/__init__.py": "from . import nn, functional\n",
    "bitsandbytes/nn/__init__.py": "from .triton_based_modules import SwitchBackLinear\n",
    "bitsandbytes/nn/triton_based_modules.py": (
        "from bitsandbytes.kernels import quantize\n"
        "class SwitchBackLinear:\n    def forward(self, x): return quantize(x)\n"
    ),
    "bitsandbytes/kernels.py": (
        "import importlib\n"
        "def is_triton_available():\n    return importlib.util.find_spec('triton') is not None\n"
        "if is_triton_available():\n    import triton\n    import triton.language as tl\n"
        "    @triton.jit\n    def _kernel(x): return tl.libdevice.llrint(x)\n"
        "    def quantize(x): return _kernel(x)\n"
    ),
    "bitsandbytes/functional.py": "def igemmlt(f):\n    return f == 'col_turing'\n",
}


@pytest.fixture
def served(index: Index, make_wheel: Callable[..., bytes]) -> Index:
    linux = "manylinux_2_28_x86_64"
    wheels = {}
    for version, run in (("3.2.0", "driver.active.get_benchmarker()"), ("3.4.0", "pass")):
        text = AUTOTUNER.format(run)
        members = {**TRITON, "triton/runtime/autotuner.py": text}
        body = make_wheel("triton", version, members, "Requires-Python: >=3.9")
        wheels[f"triton-{version}-cp311-cp311-{linux}.whl"] = body
    wheels[f"triton-1.0.0-cp38-cp38-{linux}.whl"] = b"too old to be read"
    wheels[f"triton-9.0.0rc1-cp38-cp38-{linux}.whl"] = b"not released"
    index.add("triton", wheels)
    bnb = make_wheel("bitsandbytes", "0.42.0", BITSANDBYTES, "Requires-Dist: scipy")
    index.add("bitsandbytes", {"bitsandbytes-0.42.0-py3-none-any.whl": bnb})
    for package in ("torchao", *dependents.PACKAGES):
        index.add(package, {})
    index.add("torch", {f"torch-2.6.0-cp311-cp311-{linux}.whl": b"no archive"})
    return index


@pytest.fixture
def run(
    served: Index, transport: Transport, tmp_path: Path
) -> Callable[..., tuple[Mined, list[str]]]:
    def once(wanted: Wanted, folder: str = "out") -> tuple[Mined, list[str]]:
        said: list[str] = []
        return mine(tmp_path / folder, served.url, transport, wanted, said.append), said

    return once


def shard_of(folder: Path, package: str, version: str) -> dict[str, Any]:
    path = folder / "out" / "releases" / package / f"{version}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_triton_is_read(run: Callable[..., Any], tmp_path: Path) -> None:
    mined, _said = run(Wanted(package="triton"))
    assert sorted(mined.written) == ["triton==3.2.0", "triton==3.4.0"]
    facts = shard_of(tmp_path, "triton", "3.2.0")["facts"]
    assert facts["libdevice_paths"] == [
        "triton.language.extra.libdevice.llrint",
        "triton.language.extra.cuda.libdevice.llrint",
    ]
    assert facts["ptxas"] == ["12.8.93"]
    assert facts["requires_python"] == ">=3.9"
    assert facts["ops"] == []
    assert facts["pythons"] == ["cp311"]
    assert "triton.language.math.exp" in facts["names"]
    assert "triton.language.math.llrint" not in facts["names"]
    assert facts["decorators_need_driver"] is True
    assert shard_of(tmp_path, "triton", "3.4.0")["facts"]["decorators_need_driver"] is False
    (place,) = shard_of(tmp_path, "triton", "3.2.0")["evidence"]["decorators_need_driver"]
    assert (place["member"], place["line"]) == ("triton/runtime/autotuner.py", 5)


def test_bitsandbytes_is_read(run: Callable[..., Any], tmp_path: Path) -> None:
    run(Wanted(package="bitsandbytes"))
    facts = shard_of(tmp_path, "bitsandbytes", "0.42.0")["facts"]
    assert facts["switchback"] is True
    assert "triton.language.libdevice.llrint" in facts["switchback_names_used"]
    assert "triton.jit" in facts["import_needs"]
    assert "triton.language.libdevice.llrint" not in facts["import_needs"]
    assert facts["import_needs_always"] == []
    assert facts["decorates_at_import"] == ["triton.jit"]
    assert facts["triton_guard"] == "installed"
    assert (facts["int8_path"], facts["int8_layouts"]) == ("legacy-layouts", ["col_turing"])
    assert facts["requires_dist"] == ["scipy"]
    assert "native" not in facts


def test_a_guard_that_asks_torch_wants_a_device() -> None:
    guard = "def is_triton_available():\n    return has_triton_package() and has_triton()\n"
    file = WheelFile("x.whl", "", "0" * 64, Version("1"), (), frozenset(), "", yanked=False)
    shard = Shard("bitsandbytes", "0.48.0")
    members = {**BITSANDBYTES, "bitsandbytes/triton_utils.py": guard}
    del members["bitsandbytes/kernels.py"]
    bitsandbytes_release.say_sources(shard, file, Sources("bitsandbytes", members))
    assert shard.facts["triton_guard"] == "device"


def test_every_fact_has_evidence(run: Callable[..., Any], tmp_path: Path) -> None:
    run(Wanted())
    for path in (tmp_path / "out" / "releases").rglob("*.json"):
        read = json.loads(path.read_text(encoding="utf-8"))
        assert read["facts"].keys() == read["evidence"].keys()
        assert all(place["sha256"] for places in read["evidence"].values() for place in places)
        assert "127.0.0.1" not in path.read_text(encoding="utf-8")


def test_a_release_that_cannot_be_read_costs_only_itself(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    mined, said = run(Wanted())
    assert list(mined.failed) == ["torch==2.6.0"]
    assert any("not a sound ZIP archive" in line for line in said)
    assert not (tmp_path / "out" / "releases" / "torch").exists()
    assert len(mined.written) == 3


def test_mining_twice_gives_the_same_bytes(run: Callable[..., Any], tmp_path: Path) -> None:
    run(Wanted(), "out")
    run(Wanted(), "again")
    first = {
        p.relative_to(tmp_path / "out"): p.read_bytes() for p in (tmp_path / "out").rglob("*.json")
    }
    for path, body in first.items():
        assert (tmp_path / "again" / path).read_bytes() == body
    assert len(first) == 4


def test_what_has_a_shard_is_read_again_only_when_asked(
    run: Callable[..., Any], tmp_path: Path, served: Index
) -> None:
    run(Wanted(package="triton"))
    served.asked.clear()
    assert run(Wanted(package="triton"))[0].written == []
    assert served.asked == ["/wheels/triton/"]
    index = tmp_path / "out" / "index.json"
    old = {"version": "2020.01.01", "packages": {"triton": ["3.2.0", "3.4.0"]}}
    index.write_text(json.dumps(old), encoding="utf-8")
    mined, _said = run(Wanted(package="triton", refresh=True))
    assert len(mined.unchanged) == 2
    assert json.loads(index.read_text(encoding="utf-8"))["version"] == "2020.01.01"


def test_what_was_observed_outlives_reading_the_wheel_again(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    run(Wanted(package="triton"))
    path = tmp_path / "out" / "releases" / "triton" / "3.4.0.json"
    shard = json.loads(path.read_text(encoding="utf-8"))
    shard["facts"]["compiles"] = {"int8_dot": {"8.0": "yes"}}
    shard["evidence"]["compiles"] = [{"source": "a run", "strength": "observed"}]
    path.write_text(json.dumps(shard), encoding="utf-8")
    run(Wanted(package="triton", refresh=True))
    again = shard_of(tmp_path, "triton", "3.4.0")
    assert again["facts"]["compiles"] == {"int8_dot": {"8.0": "yes"}}
    assert again["facts"].keys() == again["evidence"].keys()


def test_one_release_alone(run: Callable[..., Any], tmp_path: Path) -> None:
    mined, _said = run(Wanted(package="triton", version="3.4.0"))
    assert mined.written == ["triton==3.4.0"]
    read = json.loads((tmp_path / "out" / "index.json").read_text(encoding="utf-8"))
    assert read["packages"] == {"triton": ["3.4.0"]}


@pytest.mark.usefixtures("_pip")
def test_the_program(
    served: Index,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", served.url)
    monkeypatch.setattr(sys, "argv", ["mining", "--only", "triton==3.4.0", "--out", str(tmp_path)])
    assert program.main() == 0
    captured = capsys.readouterr()
    assert "1 written, 0 unchanged, 0 not read" in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("only", ["numpy==1.0", "triton", "triton==x", "==1.0"])
def test_the_program_refuses_what_it_cannot_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, only: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["mining", "--only", only, "--out", str(tmp_path / "new")])
    with pytest.raises(SystemExit, match="2"):
        program.main()
    assert not (tmp_path / "new").exists()


def test_compiling_wants_a_place_for_the_releases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["mining", "--compile"])
    with pytest.raises(SystemExit, match="2"):
        program.main()
