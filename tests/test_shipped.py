"""The travelling folders are found, whether qdoctor is installed or lies in a checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qdoctor import shipped


def test_a_checkout_has_them_at_the_top(checkout: Path) -> None:
    assert shipped.matrix_folder() == checkout / "matrix"
    assert shipped.kernels_folder() == checkout / "kernels"


@pytest.mark.parametrize("name", ["kernels", "matrix"])
def test_a_wheel_has_them_inside_the_package(tmp_path: Path, name: str) -> None:
    package = tmp_path / "qdoctor"
    (package / f"_{name}").mkdir(parents=True)
    (package / "__init__.py").touch()
    shutil.copy(shipped.__file__, package / "shipped.py")
    program = f"from qdoctor import shipped; print(shipped.{name}_folder())"
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert Path(ran.stdout.strip()) == package.resolve() / f"_{name}"
