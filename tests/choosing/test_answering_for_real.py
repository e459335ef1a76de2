"""Nothing pretended: several processes ask at once, one of them probes and measures."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.choosing.asking import HOME, posix_only

if TYPE_CHECKING:
    from tests.choosing.asking import Rig

_REAL = """
import json, sys, qdoctor
backend = qdoctor.select_backend(device="cpu", shapes=[(8, 64, 64)], budget=1)
assert qdoctor.__file__.startswith(sys.argv[1]), qdoctor.__file__
told = [backend.name, "qdoctor.doctor" in sys.modules, "torch" in sys.modules]
print(json.dumps([*told, backend.selection["seconds"], backend.selection["candidates"][0]]))
"""
_LEFT_OUT = ("bitsandbytes", "triton", "torchao", "transformers", "__editable__", "qdoctor")


def torch_alone(folder: Path) -> str:
    """Return an interpreter with torch and what qdoctor needs: the tests' own has more to probe.

    Its packages are links to those beside the tests.
    """
    pytest.importorskip("torch")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    where = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = subprocess.run(where, check=True, capture_output=True, text=True).stdout.strip()
    for name in dict.fromkeys(sysconfig.get_path(one) for one in ("purelib", "platlib")):
        for package in Path(name).iterdir():
            if not package.name.startswith(_LEFT_OUT) and package.suffix != ".pth":
                Path(site, package.name).symlink_to(package)
    return str(python)


@posix_only
def test_for_real_one_process_measures_and_the_others_are_told(rig: Rig, tmp_path: Path) -> None:
    """Nothing is pretended here: probes run, the CPU is measured; it takes some ten seconds."""
    tree = tmp_path / "tree"  # a copy: while somebody works on the sources their stamps change
    for name in ("qdoctor", "kernels", "matrix"):
        shutil.copytree(HOME / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    rig.environ |= {"PYTHONPATH": str(tree), "HOME": str(tmp_path)}
    words = [torch_alone(tmp_path / "alone"), "-c", _REAL, str(tree)]
    askers = [  # elsewhere than in the checkout, which would come before the copy
        subprocess.Popen(words, cwd=tmp_path, env=rig.environ, stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    told = [json.loads(asker.communicate(timeout=280)[0].splitlines()[-1]) for asker in askers]
    assert [one[1] for one in told].count(True) == 1
    assert not any(one[2] for one in told)
    assert all(one[3:] == told[0][3:] and one[0] == told[0][0] for one in told)
    assert told[0][4]["backend"] == "half"
    assert told[0][4]["shapes"][0]["milliseconds"] > 0
