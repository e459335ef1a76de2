"""Environments with the packages that people load models with, around the tests' own torch."""

# ruff: noqa: ANN401 - what a script writes is any JSON

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from pathlib import Path

OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "TQDM_DISABLE")


class Ask(Protocol):
    """Runs a script of this folder beside packages: ``ask("x.py", "transformers==5.17.0")``."""

    def __call__(self, script: str, *requirements: str, arguments: tuple[str, ...] = ()) -> Any: ...


@pytest.fixture(scope="session")
def ask(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Ask:
    """Run a script in an environment that has the requirements; return the JSON it wrote.

    The same requirements give the same environment. torch, bitsandbytes and all else that the
    tests' interpreter has is shared by a path, so that pip finds it there and fetches the rest.
    """
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed beside the tests")
    built: dict[tuple[str, ...], Path] = {}

    def asked(script: str, *requirements: str, arguments: tuple[str, ...] = ()) -> Any:
        if requirements not in built:
            built[requirements] = _environment(tmp_path_factory.mktemp("beside"), requirements)
        answer = tmp_path_factory.mktemp("answer") / "answer.json"
        path = checkout / "tests" / "integration" / script
        offline = {
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        done = subprocess.run(
            [str(built[requirements]), str(path), str(checkout), str(answer), *arguments],
            env={**os.environ, **offline}, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return json.loads(answer.read_text(encoding="utf-8"))

    return asked


def _environment(folder: Path, requirements: tuple[str, ...]) -> Path:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    where = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = subprocess.run(where, check=True, capture_output=True, text=True).stdout.strip()
    shared = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (folder / site / "beside.pth").write_text("\n".join(shared) + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*pip, "--only-binary", ":all:", *requirements], check=True)
    return python
