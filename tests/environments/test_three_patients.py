"""Three real patients on a machine without a GPU, examined from outside.

What qdoctor says of each is held against what importing there really shows.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [
    pytest.mark.environments,
    pytest.mark.skipif(sys.platform != "linux", reason="triton's wheels"),
]


def _import_error(python: Path, environ: dict[str, str]) -> str:
    run = [str(python), "-c", "import bitsandbytes"]
    return subprocess.run(run, env=environ, capture_output=True, text=True, check=False).stderr


def _examine(python: Path, environ: dict[str, str], *options: str) -> tuple[int, dict[str, Any]]:
    check = [sys.executable, "-m", "qdoctor", "check", "--python", str(python), "--format", "json"]
    ended = subprocess.run(
        [*check, *options], env=environ, capture_output=True, text=True, check=False
    )
    return ended.returncode, json.loads(ended.stdout)


def _findings(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {finding["rule"]: finding for finding in report["findings"]}


def test_switchback_of_an_old_bitsandbytes_on_triton_21(
    build: Callable[..., Path], bare_environ: dict[str, str]
) -> None:
    python = build(triton="2.1.0", bitsandbytes="0.42.0")
    code, report = _examine(python, bare_environ, "--need", "bnb-switchback")
    findings = _findings(report)
    assert code == 1
    assert findings["triton-libdevice-removed"]["severity"] == "error"
    assert "no-cuda-gpu" in findings
    compiled = [
        o for o in report["observations"] if o["variant"] == "bitsandbytes" and not o["ran"]
    ]
    assert any("has no attribute 'libdevice'" in observation["detail"] for observation in compiled)


def test_a_bitsandbytes_that_imports_triton_ops(
    build: Callable[..., Path], bare_environ: dict[str, str]
) -> None:
    python = build(triton="3.7.1", bitsandbytes="0.44.1")
    assert "No module named 'triton.ops'" in _import_error(python, bare_environ)
    code, report = _examine(python, bare_environ)
    assert code == 1
    assert report["findings"][0]["rule"] == "triton-ops-removed"


def test_decorators_that_ask_for_a_driver_come_before_triton_ops(
    build: Callable[..., Path], bare_environ: dict[str, str]
) -> None:
    python = build(triton="3.3.0", bitsandbytes="0.44.1")
    assert "0 active drivers" in _import_error(python, bare_environ)
    code, report = _examine(python, bare_environ)
    first = report["findings"][0]
    assert code == 1
    assert first["rule"] == "triton-import-needs-gpu"
    told = " ".join([first["title"], *(because["text"] for because in first["because"])])
    assert "triton-ops-removed" in _findings(report) or "triton.ops" in told
