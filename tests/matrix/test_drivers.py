"""The tables about CUDA and drivers agree with one another."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from packaging.version import Version

from qdoctor.matrix import Matrix, shipped


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    return shipped()


@pytest.fixture(scope="module")
def cuda(matrix: Matrix) -> dict[str, Any]:
    rows: dict[str, Any] = matrix.table("cuda")["rows"]
    return rows


@pytest.mark.parametrize("system", ["linux", "windows"])
def test_a_newer_toolkit_never_needs_an_older_driver(cuda: dict[str, Any], system: str) -> None:
    stated = [row[f"driver_{system}"] for row in cuda.values() if row[f"driver_{system}"]]
    assert all(Version(older) < Version(newer) for older, newer in pairwise(stated))


@pytest.mark.parametrize("system", ["linux", "windows"])
def test_the_minimum_is_never_above_what_serves_everything(
    cuda: dict[str, Any], system: str
) -> None:
    both = [(row[f"minimum_{system}"], row[f"driver_{system}"]) for row in cuda.values()]
    assert all(Version(low) <= Version(full) for low, full in both if low and full)


def test_a_family_shares_one_minimum(cuda: dict[str, Any]) -> None:
    families: dict[str, set[str]] = {}
    for toolkit, row in cuda.items():
        if toolkit != "11.0" and not toolkit.startswith("10."):
            families.setdefault(toolkit.split(".")[0], set()).add(row["minimum_linux"])
    assert all(len(minima) == 1 for minima in families.values())


def test_the_branch_of_a_toolkits_driver_supports_that_toolkit(
    matrix: Matrix, cuda: dict[str, Any]
) -> None:
    branches = matrix.table("drivers")["rows"]
    for toolkit, row in cuda.items():
        assert branches[row["driver_linux"].split(".")[0]]["cuda"] == toolkit


def test_a_newer_branch_supports_a_newer_cuda(matrix: Matrix) -> None:
    supported = [Version(row["cuda"]) for row in matrix.table("drivers")["rows"].values()]
    assert supported == sorted(set(supported))


def test_the_last_branches_and_compat_packages_name_known_things(matrix: Matrix) -> None:
    table, sms = matrix.table("drivers"), matrix.table("sm")["rows"]
    assert set(table["last_branch"]) <= set(sms)
    for toolkit, package in table["forward_compatibility"]["packages"].items():
        assert toolkit in matrix.table("cuda")["rows"]
        named = package["drivers"] + package["not_needed"] + package["not_compatible"]
        assert len(named) == len(set(named))
        assert set(named) <= set(table["rows"])
        assert all(_supports(table, one) < Version(toolkit) for one in package["drivers"])


def _supports(table: dict[str, Any], branch: str) -> Version:
    return Version(table["rows"][branch]["cuda"])
