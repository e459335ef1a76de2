from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import pytest

from qdoctor.probes import catalog
from qdoctor.shipped import kernels_folder

if TYPE_CHECKING:
    from pathlib import Path

HEADER: dict[str, Any] = {
    "name": "tiny",
    "title": "A tiny kernel",
    "needs": ["torch", "gpu"],
    "modes": ["run", "compile"],
    "seconds": 5,
    "memory_mib": 100,
    "quick": True,
    "variants": ["only"],
    "sms": ["7.0", "12.0"],
}


def write(folder: Path, header: object, name: str = "tiny") -> Path:
    path = folder / f"{name}.py"
    path.write_text(f"import a_module_that_nobody_has\nPROBE = {header!r}\n")
    return path


def test_a_header_is_read_without_importing_the_kernel(tmp_path: Path) -> None:
    header = catalog.read_header(write(tmp_path, HEADER))
    assert header.needs == ("torch", "gpu")
    assert header.sms == ("7.0", "12.0")
    assert (header.seconds, header.memory_mib, header.quick) == (5, 100, True)
    assert (header.imports, header.gpu_mib, header.cores) == ((), 64, 1)


def test_kernels_come_by_name_and_parts_of_kernels_are_none(tmp_path: Path) -> None:
    for name in ("b", "a", "_part"):
        write(tmp_path, {**HEADER, "name": name}, name)
    assert [kernel.name for kernel in catalog.read(tmp_path)] == ["a", "b"]


BAD = {
    "no name": {**HEADER, "name": ""},
    "another name": {**HEADER, "name": "other"},
    "an unknown mode": {**HEADER, "modes": ["guess"]},
    "no mode": {**HEADER, "modes": []},
    "no time": {**HEADER, "seconds": 0},
    "memory in words": {**HEADER, "memory_mib": "much"},
    "no variant": {**HEADER, "variants": []},
    "an SM without a dot": {**HEADER, "sms": ["70"]},
    "nothing to compile for": {**HEADER, "sms": []},
    "an import that is not shared": {**HEADER, "imports": ["numpy"]},
    "less than no GPU memory": {**HEADER, "gpu_mib": -1},
    "no core": {**HEADER, "cores": 0},
    "a missing key": {key: HEADER[key] for key in HEADER if key != "needs"},
    "not a dict": ["tiny"],
}


@pytest.mark.parametrize("header", BAD.values(), ids=BAD)
def test_a_bad_header_is_refused_and_its_file_named(tmp_path: Path, header: object) -> None:
    path = write(tmp_path, header)
    with pytest.raises(catalog.BadHeader, match="PROBE") as raised:
        catalog.read(tmp_path)
    assert str(path) in str(raised.value)


SOURCES = {
    "no header": "x = 1\n",
    "two headers": "PROBE = {}\nPROBE = {}\n",
    "not a literal": "PROBE = dict(name='tiny')\n",
    "a syntax error": "PROBE = {\n",
    "a null byte": "PROBE = {}\0\n",
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_a_file_without_a_literal_header_is_refused(tmp_path: Path, source: str) -> None:
    path = tmp_path / "tiny.py"
    path.write_text(source)
    with pytest.raises(catalog.BadHeader) as raised:
        catalog.read_header(path)
    assert str(path) in str(raised.value)


def test_the_shipped_kernels_have_good_headers() -> None:
    kernels = catalog.read()
    assert kernels
    assert catalog.names() == tuple(kernel.name for kernel in kernels)
    assert len(set(catalog.names())) == len(kernels)


@pytest.mark.parametrize("path", sorted(kernels_folder().glob("[!_]*.py")), ids=lambda p: p.stem)
def test_a_shipped_kernel_has_the_function_that_the_harness_calls(path: Path) -> None:
    tree = ast.parse(path.read_bytes(), feature_version=(3, 8))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert "run" in functions
