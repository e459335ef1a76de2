"""Options and seams that every test may use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ENVIRONMENTS = "--environments"


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


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the cache of whoever runs the tests out of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QDOCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("cache") / "qdoctor"))
        yield
