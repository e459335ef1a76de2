from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.version import Version

from qdoctor.mining.errors import UnreadableRelease
from qdoctor.mining.mine import Wanted, mine
from qdoctor.mining.shard import Shard
from qdoctor.mining.torch_builds import say_builds

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdoctor.mining.http import Transport
    from tests.mining.conftest import Index

ELF = "libbitsandbytes_cpu.so"
PIN = 'Requires-Dist: triton==3.1.0; platform_system == "Linux" and python_version < "3.13"'


@pytest.fixture
def bindings() -> bytes:
    """Give a small real library: bindings without an SM list."""
    spec = find_spec("bitsandbytes")
    if spec is None or spec.origin is None:
        pytest.skip("bitsandbytes, whose library stands in, is not installed")
    return (Path(spec.origin).parent / ELF).read_bytes()


@pytest.fixture
def mined(
    index: Index, transport: Transport, tmp_path: Path, make_wheel: Callable[..., bytes]
) -> Callable[..., dict[str, Any]]:
    """Give a miner of one torch wheel with these bindings: its facts."""

    def read(bindings: bytes, *metadata: str, version: str = "cuda = '12.4'\n") -> dict[str, Any]:
        members = {"torch/version.py": version, "torch/lib/libtorch_python.so": bindings}
        body = make_wheel("torch", "2.5.1", members, *metadata)
        index.add("torch", {"torch-2.5.1-cp313-cp313-manylinux_2_28_x86_64.whl": body})
        run = mine(tmp_path, index.url, transport, Wanted("torch", "2.5.1"), lambda _line: None)
        assert run.failed == {}
        path = tmp_path / "releases" / "torch" / "2.5.1.json"
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["facts"]
        return facts

    return read


def test_the_sm_list_is_found_even_right_behind_another_text(
    bindings: bytes, mined: Callable[..., dict[str, Any]]
) -> None:
    flags = b"std::string ipc_hsm_70 sm_90a compute_90\0"
    facts = mined(bindings + flags, PIN)
    assert facts["sm"] == ["sm_70", "sm_90a", "compute_90"]
    assert facts["cuda"] == "12.4"
    assert facts["glibc"].startswith("2.")


def test_the_pin_holds_for_any_python(
    bindings: bytes, mined: Callable[..., dict[str, Any]]
) -> None:
    """The wheel read is for Python 3.13, for which this release requires no triton."""
    assert mined(bindings, PIN)["triton_pin"] == "==3.1.0"


def test_an_extra_or_another_system_is_no_pin(
    bindings: bytes, mined: Callable[..., dict[str, Any]]
) -> None:
    lines = (
        'Requires-Dist: triton>=3; extra == "all"',
        'Requires-Dist: triton>=2; platform_machine == "aarch64"',
        "Requires-Dist: triton-windows",
    )
    assert mined(bindings, *lines)["triton_pin"] == ""


def test_a_cpu_build_has_no_cuda_and_its_sm_list_is_unknown(
    bindings: bytes, mined: Callable[..., dict[str, Any]]
) -> None:
    facts = mined(bindings, version="from typing import Optional\ncuda: Optional[str] = None\n")
    assert facts["cuda"] == ""
    assert "sm" not in facts


def test_documented_builds_are_those_beside_the_default(checkout: Path) -> None:
    shard = Shard("torch", "2.5.1", facts={"cuda": "12.4"})
    say_builds(shard, checkout / "matrix")
    assert set(shard.facts["builds"]) == {"cu118", "cu121"}
    assert shard.facts["builds"]["cu121"]["strength"] == "documented"
    assert "sm_90" in shard.facts["builds"]["cu121"]["sm"]
    assert all(place["source"] for place in shard.evidence["builds"])


def test_without_the_table_mining_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnreadableRelease, match="table of torch builds"):
        say_builds(Shard("torch", "2.5.1"), tmp_path)


def test_documented_lists_agree_with_the_wheels_that_were_mined(checkout: Path) -> None:
    """Where a row of the table is about the index's own build, the wheel says the same."""
    rows = json.loads((checkout / "matrix" / "tables" / "torch_builds.json").read_text())["rows"]
    compared = 0
    for path in (checkout / "matrix" / "releases" / "torch").glob("*.json"):
        facts = json.loads(path.read_text(encoding="utf-8"))["facts"]
        for row in rows:
            fits = str(Version(path.stem)).startswith(row["spec"].strip("=*"))
            if fits and row["tag"] == "cu" + facts["cuda"].replace(".", ""):
                assert row["sm"] == facts["sm"], path
                compared += 1
    assert compared >= 25
