"""Options and seams that every test may use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENVIRONMENTS = "--environments"

# How long one example takes is the machine's affair: a slow one fails no property.
settings.register_profile("any-machine", settings.default, deadline=None)
settings.load_profile("any-machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        ENVIRONMENTS,
        action="store_true",
        help="also build real virtual environments around one shared torch and examine them",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption(ENVIRONMENTS):
        return
    skip = pytest.mark.skip(reason=f"builds real environments: turned on by {ENVIRONMENTS}")
    for item in items:
        if "environments" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def _no_data_of_ones_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what the developer mined for themselves out of every answer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QDOCTOR_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder that holds qdoctor, kernels and matrix as they are developed."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def machines() -> Path:
    """Recorded real machines: whole reports, replayed by the tests."""
    return Path(__file__).resolve().parent / "machines"


_LOOP = """
import torch, triton, triton.language as tl

@triton.jit
def copy(x, y, n, BLOCK: tl.constexpr):
    for start in range(0, n, BLOCK):
        at = start + tl.arange(0, BLOCK)
        tl.store(y + at, tl.load(x + at, mask=at < n), mask=at < n)

x, y = torch.arange(100.0), torch.zeros(100)
copy[(1,)](x, y, 100, BLOCK=64)
assert (x == y).all()
"""


@pytest.fixture(scope="session")
def interpret(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """``interpret(code, *arguments)`` -> stdout, by Triton's interpreter on the CPU.

    Skips where that is broken: some of its releases cannot run any loop over an argument beside a
    NumPy that refuses to turn arrays of one element into numbers.
    """
    loop = tmp_path_factory.mktemp("interpreted") / "loop.py"  # it reads the source from a file
    loop.write_text(_LOOP)

    def run(code: str, *arguments: object) -> str:
        words = [sys.executable, "-c", code, *map(str, arguments)]
        env = os.environ | {"TRITON_INTERPRET": "1"}
        done = subprocess.run(
            words, env=env, capture_output=True, text=True, timeout=250, check=False
        )
        if done.returncode:
            known = subprocess.run(
                [sys.executable, loop], env=env, capture_output=True, text=True, timeout=100,
                check=False,
            )  # fmt: skip
            if known.returncode:
                said = known.stderr.strip().splitlines()[-1]
                pytest.skip(f"triton's interpreter cannot run a loop over an argument here: {said}")
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the cache of whoever runs the tests out of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QDOCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("cache") / "qdoctor"))
        yield
