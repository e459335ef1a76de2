"""Grids say what the layers and the releases say, once for each statement."""

from __future__ import annotations

from functools import cache

import pytest

from qdoctor import grids
from qdoctor.layers import bnb_imports
from qdoctor.machine import complete
from qdoctor.matrix import shipped
from qdoctor.model import BadInput, Facts, Host
from qdoctor.report.grid import render
from qdoctor.report.paper import Paper


@cache
def built(name: str, *, evidence: bool) -> grids.Grid:
    return grids.build(name, shipped(), evidence=evidence)


def told(name: str, **where: str) -> list[grids.Row]:
    """The rows of a grid at one place."""
    rows = built(name, evidence=True).rows
    return [row for row in rows if all(row[key] == value for key, value in where.items())]


def test_switchback_finds_its_names_beside_triton_2_0_alone() -> None:
    rows = told("switchback", bitsandbytes="0.42.0")
    assert [row["triton"] for row in rows if row["answer"] == "yes"] == ["2.0.0"]
    (moved,) = (row for row in rows if row["triton"] == "2.1.0")
    assert (moved["answer"], moved["rule"]) == ("no", "triton-libdevice-removed")
    assert any("triton/__init__.py" in one["source"] for one in moved["evidence"])


def test_every_pair_is_told_once() -> None:
    rows = built("switchback", evidence=False).rows
    pairs = [(row["bitsandbytes"], row["triton"]) for row in rows]
    known = shipped()
    assert len(set(pairs)) == len(pairs)
    assert len(pairs) == len(known.versions("bitsandbytes")) * len(known.versions("triton"))
    assert "evidence" not in rows[0]


@pytest.mark.parametrize("triton", ["2.1.0", "3.2.0", "3.4.0"])
def test_the_grid_and_a_check_agree_about_importing(triton: str) -> None:
    packages = {"bitsandbytes": "0.43.0", "triton": triton}
    facts = Facts(host=Host(os="linux", machine="x86_64"), packages=packages, gpus=[])
    answer = bnb_imports(complete(facts, shipped()), shipped())
    (row,) = told("import", **packages)
    assert (row["answer"], row["rule"]) == (answer.value, answer.rule)


def test_libraries_keep_their_own_evidence() -> None:
    (row,) = (
        row for row in told("bitsandbytes", bitsandbytes="0.41.1", cuda="12.1") if row["cublaslt"]
    )
    assert "sm_90" in row["sm"]
    assert [one["member"] for one in row["evidence"]] == ["bitsandbytes/libbitsandbytes_cuda121.so"]


def test_torch_has_other_builds_as_documented() -> None:
    default, *others = told("torch", torch="2.7.1")
    assert (default["build"], default["strength"], default["triton"]) == (
        "cu126",
        "mined",
        "==3.3.1",
    )
    assert {row["strength"] for row in others} == {"documented"}
    assert others[0]["evidence"][0]["source"]


def test_an_unknown_grid_is_bad_input() -> None:
    with pytest.raises(BadInput, match="switchback, import, bitsandbytes, torch"):
        grids.build("cuda", shipped())


@pytest.mark.parametrize("evidence", [False, True])
@pytest.mark.parametrize("name", grids.NAMES)
def test_a_grid_reads_well_at_80_columns(name: str, *, evidence: bool) -> None:
    paper = Paper(color=False, width=80)
    render(paper, built(name, evidence=evidence), with_evidence=evidence)
    text = paper.written()
    assert max(map(len, text.splitlines())) <= 80
    words = " ".join(text.split())
    assert ("sha256" in words or "[mined: " in words) is evidence


def test_neighbours_that_say_the_same_are_one_line() -> None:
    paper = Paper(color=False, width=80)
    render(paper, built("switchback", evidence=False), with_evidence=False)
    lines = paper.written().splitlines()
    assert len(lines) < 20
    (line,) = (line for line in lines if line.startswith("  0.38.1 to "))
    assert line.split()[3:] == ["yes", "no", "b", "no", "c"]
