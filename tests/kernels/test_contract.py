"""Every kernel keeps the contract of kernels/README.md."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qdoctor.probes import catalog

KERNELS = Path(__file__).resolve().parents[2] / "kernels"
FILES = sorted(KERNELS.glob("*.py"))
PROBES = [path for path in FILES if not path.stem.startswith("_")]


def header(path: Path) -> dict[str, Any]:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PROBE":
            value: dict[str, Any] = ast.literal_eval(node.value)
            return value
    raise AssertionError(f"{path.name} has no PROBE")


def test_the_four_kernels_are_found_by_the_engine() -> None:
    assert [kernel.name for kernel in catalog.read(KERNELS)] == [path.stem for path in PROBES]
    assert {"cublaslt_igemm", "half_gemm", "switchback_forward", "triton_libdevice"} <= {
        path.stem for path in PROBES
    }


@pytest.mark.parametrize("path", PROBES, ids=lambda path: path.stem)
def test_header_is_a_literal_that_names_the_file_and_states_a_tolerance(path: Path) -> None:
    probe = header(path)
    assert probe["name"] == path.stem
    assert "run" in probe["modes"]
    assert ("compile" in probe["modes"]) == bool(probe.get("sms")) == ("compile_needs" in probe)
    tolerance = probe["tolerance"]
    values = tolerance.values() if isinstance(tolerance, dict) else [tolerance]
    assert all(0 <= value < 0.05 for value in values)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_file_is_python_3_8_with_only_the_standard_library_at_import(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in tree.body
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= sys.stdlib_module_names


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_file_compiles_and_loads_in_a_real_python_3_8(path: Path) -> None:
    old = _python_3_8()
    if old is None:
        pytest.skip("no Python 3.8 on this machine")
    script = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='loaded')"
    subprocess.run([old, "-B", "-c", script, str(path)], check=True, timeout=60)


def _python_3_8() -> str | None:
    pyenv = sorted(Path.home().glob(".pyenv/versions/3.8.*/bin/python"))
    return str(pyenv[-1]) if pyenv else shutil.which("python3.8")


def test_readme_lists_every_kernel_and_every_code_in_use() -> None:
    text = (KERNELS / "README.md").read_text()
    sources = "".join(path.read_text() for path in FILES)
    assert [path.stem for path in PROBES if f"`{path.stem}`" not in text] == []
    codes = {
        node.value.value
        for node in ast.walk(ast.parse(sources.replace("from __future__ import annotations", "")))
        if isinstance(node, ast.keyword)
        and node.arg == "code"
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }
    assert codes
    assert [code for code in codes if f"`{code}`" not in text] == []
