"""transformers and PEFT with every backend that works on the GPU here; test_transformers has CPUs'.

benchmarks/adapters.py runs and judges them, a process for each.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

NEEDED = ("transformers", "peft", "accelerate")


@pytest.mark.gpu
@pytest.mark.timeout(600)
def test_every_backend_loads_generates_trains_and_merges(checkout: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)}: not installed beside the tests")
    kept = tmp_path / "kept.json"
    command = [sys.executable, str(checkout / "benchmarks" / "adapters.py"), "--json", str(kept)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(kept.read_text(encoding="utf-8"))
    assert told["half"]["done"]
    assert any("done" in one for name, one in told.items() if name != "half")
