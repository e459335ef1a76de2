"""The abilities in the table ``sm`` are those for which a released assembler makes machine code."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from qdoctor.matrix import shipped

MMA = "{d0,d1,d2,d3},{a0,a1,a2,a3},{b0,b1},{d0,d1,d2,d3}"
EIGHT = "{d0,d1,d2,d3,d4,d5,d6,d7}"
FLOATS = ".reg .b32 a<8>, b<2>; .reg .f32 d<8>;"
BODIES = {
    "fp16": ".reg .b16 a; mov.b16 a, 0; fma.rn.f16 a, a, a, a;",
    "dp4a": ".reg .b32 a; mov.u32 a, 1; dp4a.s32.s32 a, a, a, a;",
    "tensor_cores": f"{FLOATS} wmma.mma.sync.aligned.row.col.m16n16k16.f32.f32 {EIGHT},"
    f"{EIGHT.replace('d', 'a')},{EIGHT.replace('d', 'a')},{EIGHT};",
    "int8_mma": ".reg .b32 a<2>, d<8>; wmma.mma.sync.aligned.row.col.m16n16k16.s32.s8.s8.s32 "
    f"{EIGHT},{{a0,a1}},{{a0,a1}},{EIGHT};",
    "bf16": f"{FLOATS} mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {MMA};",
    "fp8_e4m3": f"{FLOATS} mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {MMA};",
}


# ptxas release -> the newest PTX version that it reads (PTX ISA, release notes).
READS = {"12.8": "8.7", "12.9": "8.8", "13.0": "9.0", "13.1": "9.1"}


@pytest.fixture(scope="module")
def assemblers() -> dict[Path, str]:
    """Return each ptxas of the installed triton -> the PTX version to feed it; imports nothing."""
    found = importlib.util.find_spec("triton")
    folder = Path((found and found.origin) or "nowhere").parent / "backends" / "nvidia" / "bin"
    programs = {path: READS.get(_release(path), "") for path in sorted(folder.glob("ptxas*"))}
    usable = {path: ptx for path, ptx in programs.items() if ptx}
    if not usable:
        pytest.skip("no triton with a known assembler is installed")
    return usable


def _run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def _release(program: Path) -> str:
    found = re.search(r"release (\d+\.\d+)", _run(program, "--version").stdout)
    return found[1] if found else ""


def _known(program: Path) -> set[str]:
    listed = _run(program, "--list-arch")
    if listed.returncode == 0:
        return set(re.findall(r"\d{2,3}", listed.stdout))
    return set(re.findall(r"'sm_(\d{2,3})'", _run(program, "--help").stdout))


def _assembles(program: Path, ptx: str, arch: str, body: str, folder: Path) -> bool:
    source = folder / "probe.ptx"
    source.write_text(
        f".version {ptx}\n.target {arch}\n.address_size 64\n.visible .entry k() {{ {body} ret; }}",
        encoding="utf-8",
    )
    ran = _run(program, f"-arch={arch}", source, "-o", folder / "probe.cubin")
    refused = re.search(r"requires .target|not supported on .target", ran.stdout + ran.stderr)
    assert ran.returncode == 0 or refused, ran.stderr
    return ran.returncode == 0


@pytest.mark.parametrize("ability", BODIES)
def test_an_ability_is_what_can_be_assembled(
    ability: str, assemblers: dict[Path, str], tmp_path: Path
) -> None:
    rows: dict[str, Any] = shipped().table("sm")["rows"]
    stated: dict[str, bool] = {}
    found: dict[str, bool] = {}
    for program, ptx in assemblers.items():
        for sm in {one.replace(".", ""): one for one in rows}.keys() & _known(program):
            key = f"{sm[:-1]}.{sm[-1]}"
            stated[key] = rows[key][ability]
            found[key] = _assembles(program, ptx, f"sm_{sm}", BODIES[ability], tmp_path)
    assert stated == found
    assert {"7.0", "8.0"} <= set(found)
