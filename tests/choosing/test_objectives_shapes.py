"""A decision over several shapes: their mean, their sum, and what is missing at one of them."""

from __future__ import annotations

import msgspec

from tests.choosing.conftest import choose, loser, measured, over, timed


def test_over_several_shapes_the_geometric_mean_decides_and_the_sum_may_not_be_slower() -> None:
    shapes = [(4096, 4096, 4096), (1, 4096, 4096)]
    slow_small = over(shapes, half=[1.0, 0.01], qdoctor_switchback=[0.7, 0.04])
    assert choose("latency", slow_small).selected == "half"
    slow_large = over(shapes, half=[1.0, 0.01], qdoctor_switchback=[1.2, 0.005])
    found = choose("latency", slow_large)
    assert found.selected == "half"
    faster = over(shapes, half=[1.0, 0.01], qdoctor_switchback=[0.7, 0.011])
    assert choose("latency", faster).selected == "qdoctor-switchback"


def test_a_models_layers_count_as_often_as_they_occur() -> None:
    shapes = [(2048, 1024, 4096), (2048, 4096, 1024)]
    found = over(shapes, half=[1.0, 1.0], qdoctor_switchback=[0.8, 1.5])
    often = msgspec.structs.replace(found, counts=[10, 1])
    assert choose("latency", found).selected == "half"
    assert choose("latency", often, counts=[10, 1]).selected == "qdoctor-switchback"


def test_what_lacks_a_shape_that_half_has_is_unknown_not_slow() -> None:
    shapes = [(4096, 1024, 4096), (4096, 4096, 4096)]
    found = choose("latency", over(shapes, half=[1.0, 2.0], qdoctor_switchback=[0.5, None]))
    own = loser(found, "qdoctor-switchback")
    assert (found.selected, own.speedup_vs_half, own.rule) == ("half", None, None)
    assert "4096 rows of 4096 to 4096: out-of-memory: no room" in (own.lost or "")


def test_a_shape_that_half_lacks_is_left_out_for_all() -> None:
    shapes = [(4096, 1024, 4096), (4096, 8192, 8192)]
    found = choose("latency", over(shapes, half=[1.0, None], qdoctor_switchback=[0.5, 9.0]))
    assert found.selected == "qdoctor-switchback"
    assert loser(found, "qdoctor-switchback").milliseconds == 0.5


def test_layers_that_a_backend_leaves_alone_have_the_figures_of_half() -> None:
    found = measured({"half": 1.0})
    own = timed(1.0, error=0.003, size=2.0, left="K is not a multiple of 16")
    found = msgspec.structs.replace(found, timed={**found.timed, "torch-fp8": [own]})
    chosen = choose("balanced", found)
    assert chosen.selected == "half"
    assert "leave every one of these layers" in (loser(chosen, "torch-fp8").lost or "")
