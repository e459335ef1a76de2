"""bitsandbytes' old name for the layers, with bitsandbytes there, broken and absent."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("torch")

from qdoctor import nn
from qdoctor.nn import compat

if TYPE_CHECKING:
    from pathlib import Path

OLD_CODE = """
import sys
import qdoctor.nn.compat
assert "bitsandbytes" not in sys.modules
qdoctor.nn.compat.install()
from bitsandbytes.nn.triton_based_modules import SwitchBackLinear, SwitchBackLinearVectorwise
from bitsandbytes.nn.triton_based_modules import StandardLinear
print(SwitchBackLinear(8, 4))
"""
NEW_PACKAGE = """
import bitsandbytes as bnb
import torch
layer = getattr(bnb.nn, "SwitchBackLinearGlobalMemEfficient")(8, 4)
assert layer(torch.ones(2, 8)).shape == (2, 4)
assert bnb.nn.triton_based_modules.SwitchBackLinear is SwitchBackLinear
print(bnb.nn.Linear8bitLt.__module__)
"""


def run(code: str, *folders: Path) -> subprocess.CompletedProcess[str]:
    there = filter(None, [os.environ.get("PYTHONPATH")])  # bitsandbytes may lie on it
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, folders), *there])}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=env, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip


def test_beside_a_bitsandbytes_without_the_layer(checkout: Path) -> None:
    pytest.importorskip("bitsandbytes")
    done = run(OLD_CODE + NEW_PACKAGE, checkout)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("qdoctor.nn.SwitchBackLinear(in_features=8")
    assert done.stdout.splitlines()[-1] == "bitsandbytes.nn.modules"


def test_who_looks_for_the_module_finds_it_and_errors_say_whose_it_is(checkout: Path) -> None:
    code = """
import importlib.util
print(importlib.util.find_spec("bitsandbytes.nn.triton_based_modules").origin)
try:
    from bitsandbytes.nn.triton_based_modules import quantize_rowwise
except ImportError as error:
    print(error)
"""
    done = run(OLD_CODE + code, checkout)
    assert done.returncode == 0, done.stderr
    origin, error = done.stdout.splitlines()[-2:]
    assert origin.endswith("compat.py")
    assert error.endswith(f"({origin})")


def test_beside_a_bitsandbytes_that_cannot_be_imported(checkout: Path, tmp_path: Path) -> None:
    broken = tmp_path / "bitsandbytes"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise RuntimeError('CUDA Setup failed')\n")
    done = run(OLD_CODE, tmp_path, checkout)
    assert done.stdout.startswith("qdoctor.nn.SwitchBackLinear(")
    assert "bitsandbytes itself cannot be imported (RuntimeError: CUDA Setup failed)" in done.stderr


def test_before_a_bitsandbytes_that_has_the_layer_and_cannot_load_it(
    checkout: Path, tmp_path: Path
) -> None:
    old = tmp_path / "bitsandbytes" / "nn"
    old.mkdir(parents=True)
    (old.parent / "__init__.py").write_text("from . import nn\n")
    (old / "__init__.py").write_text("from .triton_based_modules import SwitchBackLinear\n")
    (old / "triton_based_modules.py").write_text("import triton.ops\n")
    done = run(OLD_CODE + "import bitsandbytes as b; print(b.nn.SwitchBackLinear(2, 2))", tmp_path,
               checkout)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("qdoctor.nn.SwitchBackLinear(") == 2


def test_without_bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "bitsandbytes"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(compat, "_installed", lambda _name: False)
    monkeypatch.setitem(sys.modules, compat._WHERE, compat._module())  # to be put back
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compat.install()
    assert sys.modules[compat._WHERE].SwitchBackLinear is nn.SwitchBackLinear
    assert "bitsandbytes" not in sys.modules


def test_a_second_call_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat, "_installed", lambda _name: False)
    monkeypatch.setitem(sys.modules, compat._WHERE, compat._module())  # to be put back
    module = sys.modules[compat._WHERE]
    module.__dict__["patched"] = True
    compat.install()
    assert sys.modules[compat._WHERE] is module


HIDDEN = "import sys, warnings; warnings.simplefilter('error'); sys.modules['bitsandbytes'] = None"
BLOCKED = """
import sys, warnings
warnings.simplefilter("error")
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "bitsandbytes":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Block())
"""


@pytest.mark.parametrize("hide", [HIDDEN, BLOCKED], ids=["None", "blocked"])
def test_a_bitsandbytes_that_is_hidden_is_none(hide: str, checkout: Path) -> None:
    """Test suites hide packages so."""
    done = run(f"{hide}\nimport qdoctor.nn.compat as c; c.install(); print(c._WHERE)", checkout)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [compat._WHERE]
