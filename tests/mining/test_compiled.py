"""Compiling tiny kernels with a triton: a pretended one that aborts, and the one installed here."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from qdoctor.mining import compiled
from qdoctor.mining.compiled import Bench
from qdoctor.mining.errors import UnreadableRelease
from qdoctor.mining.index import by_release, wheels

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdoctor.mining.http import Transport
    from tests.mining.conftest import Index

COMPILE = """
import os, sys
from . import language
class Kernel:
    def __init__(self, fn):
        self.arg_names = list(fn.__code__.co_varnames[:fn.__code__.co_argcount])
jit = Kernel
class Made:
    asm = {"cubin": b"x", "ptx": "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32"}
def compile(source, target, options):
    if target.arch == 80:
        sys.stderr.write("LLVM ERROR: cannot\\n"); sys.stderr.flush(); os.abort()
    if target.arch == 86:
        sys.stderr.write("LLVM ERROR: will not\\n"); sys.stderr.flush(); os._exit(1)
    if target.arch == 90:
        raise RuntimeError("x.py:1:2: error: not here")
    return Made
"""
PRETENDED = {
    "triton/__init__.py": COMPILE,
    "triton/language/__init__.py": "class constexpr: pass\ndef dot(a, b): ...\nfloat8e5 = 1\n",
    "triton/compiler.py": (
        "class ASTSource:\n    def __init__(self, fn, constexprs=None, signature=None): pass\n"
    ),
    "triton/backends/__init__.py": "",
    "triton/backends/compiler.py": (
        "class GPUTarget:\n    def __init__(self, kind, arch, warp): self.arch = arch\n"
    ),
}
WHEEL = ("triton-3.4.0-py3-none-any.whl",)
INSTALLABLE = {
    "triton-3.4.0.dist-info/WHEEL": (
        "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    ),
    "triton-3.4.0.dist-info/RECORD": "",
}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    sms = ("7.5", "8.0", "8.6", "9.0", "10.0")
    return Bench(tmp_path / "matrix", tmp_path / "cache", None, sms)


def place(folder: Path, members: dict[str, str]) -> Path:
    for name, text in members.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def test_compilers_that_end_cost_only_their_sm(bench: Bench, tmp_path: Path) -> None:
    found = compiled._answers(place(tmp_path / "t", PRETENDED), bench, "int8_dot")
    assert found.said == {
        "7.5": "yes",
        "8.0": "the compiler aborts: LLVM ERROR: cannot",
        "8.6": "the compiler aborts: LLVM ERROR: will not",
        "9.0": "not here",
        "10.0": "yes",
    }
    assert found.name == "triton.language.dot"


def test_a_product_without_its_instruction_is_not_one(bench: Bench, tmp_path: Path) -> None:
    found = compiled._answers(place(tmp_path / "t", PRETENDED), bench, "bf16_dot")
    assert found.said["7.5"] == "compiled, but without the matrix instruction"


def test_a_name_that_is_not_there_is_an_answer(bench: Bench, tmp_path: Path) -> None:
    folder = place(tmp_path / "t", PRETENDED)
    found = compiled._answers(folder, bench, "fp8_e4m3_cast")
    assert set(found.said.values()) == {"triton.language has no float8e4nv or float8e4"}
    assert found.name == ""


def test_what_cannot_be_imported_here_is_no_answer(bench: Bench, tmp_path: Path) -> None:
    folder = place(tmp_path / "t", {**PRETENDED, "triton/__init__.py": "import not_there\n"})
    with pytest.raises(UnreadableRelease, match="No module named 'not_there'"):
        compiled._answers(folder, bench, "int8_dot")


@pytest.mark.usefixtures("_pip")
def test_a_release_is_installed_compiled_and_written(
    index: Index,
    transport: Transport,
    make_wheel: Callable[..., bytes],
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wheel = make_wheel("triton", "3.4.0", {**PRETENDED, **INSTALLABLE}, "")
    index.add("triton", dict.fromkeys(WHEEL, wheel))
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    path = bench.matrix / "releases" / "triton" / "3.4.0.json"
    shard: dict[str, Any] = {"package": "triton", "version": "3.4.0", "facts": {}, "evidence": {}}
    place(path.parent, {path.name: json.dumps(shard)})
    releases = by_release(wheels(index.url, "triton", transport))
    written, failed = compiled.compile_all(releases, bench, lambda *_: True, lambda _: None)
    assert (written, failed) == (["triton==3.4.0"], {})
    read = json.loads(path.read_text(encoding="utf-8"))
    assert set(read["facts"]["compiles"]) == set(compiled.KERNELS)
    assert read["facts"]["compiles"]["int8_dot"]["7.5"] == "yes"
    assert read["facts"]["compiles"]["libdevice_call"]["7.5"].startswith("module")
    assert {one["strength"] for one in read["evidence"]["compiles"]} == {"observed"}
    assert {one["wheel"] for one in read["evidence"]["compiles"]} == set(WHEEL)
    again, _failed = compiled.compile_all(releases, bench, lambda *_: True, lambda _: None)
    assert again == []


def test_the_installed_triton_compiles_as_its_shard_says(
    bench: Bench, tmp_path: Path, checkout: Path
) -> None:
    spec = importlib.util.find_spec("triton")
    if spec is None or spec.origin is None:
        pytest.skip("triton is not installed")
    version = importlib.metadata.version("triton")
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "triton").symlink_to(Path(spec.origin).parent)
    metadata = importlib.metadata.distribution("triton")._path  # type: ignore[attr-defined]
    (tmp_path / "t" / metadata.name).symlink_to(metadata)
    shard = checkout / "matrix" / "releases" / "triton" / f"{version}.json"
    stated = json.loads(shard.read_text(encoding="utf-8"))["facts"]["compiles"]
    for kernel in ("int8_dot", "fp8_e4m3_cast"):
        found = compiled._answers(tmp_path / "t", bench, kernel)
        assert found.said == {sm: stated[kernel][sm] for sm in bench.sms}
