from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import qdoctor

HEAVY = ("torch", "triton", "bitsandbytes", "pynvml", "msgspec", "rich", "click", "typing")


def test_importing_loads_nothing_heavy() -> None:
    code = f"import sys, qdoctor; print([name for name in {HEAVY!r} if name in sys.modules])"
    home = str(Path(qdoctor.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],  # -S: what site's .pth files load is not ours
        env={**os.environ, "PYTHONPATH": home},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", [name for name in qdoctor.__all__ if name != "__version__"])
def test_every_public_name_can_be_had(name: str) -> None:
    assert getattr(qdoctor, name) is not None
    assert name in dir(qdoctor)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="quantize_"):
        qdoctor.quantize_  # noqa: B018
