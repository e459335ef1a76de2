"""``select_backend`` on a real GPU, nothing pretended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.gpu

_ASK = """
import json, os, sys, qdoctor
backend = qdoctor.select_backend("latency", shapes=[(4096, 4096, 4096)], budget=2)
open_files = [os.path.realpath(f"/proc/self/fd/{one}") for one in os.listdir("/proc/self/fd")]
print(json.dumps({
    "name": backend.name,
    "torch": "torch" in sys.modules,
    "worked": "qdoctor.doctor" in sys.modules,
    "devices": [path for path in open_files if path.startswith("/dev/nvidia")],
    "selection": backend.selection,
}))
"""
_FORK = """
import json, os, sys, torch, qdoctor
x = torch.ones(8, device="cuda")
read, write = os.pipe()
if os.fork() == 0:
    backend = qdoctor.select_backend("latency", shapes=[(4096, 4096, 4096)], budget=2)
    os.write(write, json.dumps([backend.name, torch.cuda.is_initialized()]).encode())
    os._exit(0)
os.wait()
backend = qdoctor.select_backend("latency", shapes=[(4096, 4096, 4096)], budget=2)
layer = backend.linear(4096, 4096, device="cuda", dtype=torch.bfloat16)
out = layer(torch.ones(16, 4096, device="cuda", dtype=torch.bfloat16))
print(json.dumps({"forked": json.loads(os.read(read, 999)), "name": backend.name,
                  "shape": list(out.shape), "sum": (x + 1).sum().item()}))
"""


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    if not Path("/proc/driver/nvidia/gpus").is_dir():
        pytest.skip("needs an NVIDIA GPU")
    cache = tmp_path_factory.mktemp("asked") / "cache"
    return {**os.environ, "QDOCTOR_CACHE_DIR": str(cache)}


def ask(code: str, environ: dict[str, str]) -> dict[str, Any]:
    words = [sys.executable, "-c", code]
    done = subprocess.run(
        words, env=environ, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_it_is_measured_once_without_a_context_of_ones_own(environ: dict[str, str]) -> None:
    first, second = ask(_ASK, environ), ask(_ASK, environ)
    assert first["worked"]
    assert not second["worked"]
    assert first["selection"] == second["selection"]
    assert first["selection"]["measured"]
    for told in (first, second):
        assert not told["torch"]
        assert told["devices"] == []
    chosen = next(
        one for one in first["selection"]["candidates"] if one["backend"] == first["name"]
    )
    assert chosen["speedup_vs_half"] >= 1 - chosen["spread"]


def test_a_process_that_has_started_cuda_may_ask_and_fork(environ: dict[str, str]) -> None:
    told = ask(_FORK, environ)
    assert told["forked"] == [told["name"], False]
    assert told["shape"] == [16, 4096]
    assert told["sum"] == 16
