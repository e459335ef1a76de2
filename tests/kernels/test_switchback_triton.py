"""How Triton's product is cut and launched; what it computes is in test_switchback_forward.py."""

# ruff: noqa: ANN401 - modules loaded by path have no types

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

Load = Callable[[str], Any]


@pytest.fixture
def triton(load: Load) -> Any:
    return load("_switchback_triton")


@pytest.mark.parametrize(
    ("rows", "limit", "tiles"),
    [
        (4096, 232448, (128, 128, 128, 8, 3)),
        (4096, 65536, (128, 128, 64, 8, 3)),
        (4096, 48 * 1024, (128, 128, 64, 8, 3)),
        (4096, 40000, (64, 128, 64, 4, 2)),
        (64, 99 * 1024, (64, 128, 128, 4, 3)),
        (64, 64 * 1024, (128, 128, 64, 8, 3)),
        (1, 1024, (64, 128, 64, 4, 2)),
    ],
)
def test_safe_tiles_fit_the_shared_memory(
    triton: Any, rows: int, limit: int, tiles: tuple[int, ...]
) -> None:
    assert triton.fitting(rows, limit) == tiles


@pytest.mark.parametrize(
    ("depth", "tiles", "overlap", "even", "foreseen"),
    [
        (1024, (64, 64, 128, 4, 6), True, True, 6),
        (1000, (64, 64, 128, 4, 6), True, False, 6),
        (256, (64, 64, 128, 4, 6), True, True, 2),
        (8192, (128, 256, 512, 8, 2), True, True, 1),
        (1024, (64, 64, 128, 4, 6), False, True, 0),
        (1024, (64, 64, 64, 4, 6), True, True, 0),  # half a line
    ],
)
def test_the_start_of_the_weight_is_brought_near_where_launches_overlap(  # noqa: PLR0913
    triton: Any, depth: int, tiles: tuple[int, ...], foreseen: int, *, overlap: bool, even: bool
) -> None:
    known = triton.constants(depth, triton.Tiles(*tiles), overlap=overlap, few=True)
    assert (known["EVEN"], known["OVERLAP"], known["FORESEEN"]) == (even, overlap, foreseen)
    known = triton.constants(depth, triton.Tiles(*tiles), overlap=overlap)
    assert (known["OVERLAP"], known["FORESEEN"]) == (overlap, 0)


class Launcher:
    """What _launched makes of a kernel: notes launches."""

    def __init__(self) -> None:
        self.launches: list[Any] = []
        self.kernel = self

    def __call__(self, key: Any, arguments: tuple[Any, ...], plan: Callable[[], Any]) -> None:
        self.launches.append((key, arguments, plan()))

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        return lambda *given, **options: self.launches.append((grid, given, options))


@pytest.fixture
def launcher(triton: Any, load: Load, monkeypatch: pytest.MonkeyPatch) -> Launcher:
    made = Launcher()
    monkeypatch.setattr(triton, "_made", lambda: {"int8_product": made})
    plan = load("_launched").Plan
    monkeypatch.setattr(triton, "_beside", lambda _: SimpleNamespace(Plan=plan))
    return made


ARGUMENTS = ("a", "b", "c", "sa", "sb", None, 100, 65, 1024, 1)


def test_only_a_kernel_that_waits_is_launched_early(triton: Any, launcher: Launcher) -> None:
    tiles = triton.Tiles(64, 64, 64, 4, 6)
    for early in (False, True):
        triton.launch((0, "kind"), ARGUMENTS, tiles, overlap=early)
        key, given, plan = launcher.launches.pop()
        assert (key, given) == ((0, "kind"), ("a", "b", "c", "sa", "sb", "a", 100, 65, 1024, 1))
        assert (plan.programs, plan.warps) == (4, 4)
        assert (("launch_pdl", True) in plan.options) is early
        known = dict(zip(triton.constants(1024, tiles), plan.constants, strict=True))
        assert known["OVERLAP"] is early


def test_what_is_not_aligned_is_looked_up_anew(triton: Any, launcher: Launcher) -> None:
    tiles = triton.Tiles(64, 64, 128, 4, 6)
    triton.launch(None, ARGUMENTS, tiles, overlap=False)
    grid, given, options = launcher.launches.pop()
    assert grid == (4,)
    assert given[10:] == tuple(triton.constants(1024, tiles).values())
    assert options == {"num_warps": 4, "num_stages": 6}
