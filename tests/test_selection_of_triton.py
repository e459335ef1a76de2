"""What Triton's probes show of the layers under the backends that are written in Triton."""

from __future__ import annotations

from typing import Any

import pytest

from qdoctor.machine import complete
from qdoctor.matrix import shipped
from qdoctor.model import Observation, Verdict
from qdoctor.rules import RULES
from qdoctor.selection import judge
from tests.layers.conftest import facts_with

MACHINE: dict[str, Any] = {
    "packages": {"torch": "2.11.0", "triton": "3.6.0", "bitsandbytes": "0.50.2"},
    "torch_cuda": "13.0",
    "driver": {"version": "580.95.05", "cuda": "13.0"},
    "gpus": [{"index": 0, "name": "NVIDIA H200", "sm": "9.0"}],
}


def ours(*observations: Observation, **changes: Any) -> Verdict:  # noqa: ANN401
    machine = complete(facts_with(**{**MACHINE, **changes}), shipped())
    found = judge(machine, observations, (), shipped())
    return next(one for one in found if one.backend == "qdoctor-switchback")


def tried(variant: str, outcome: Any, code: str | None = None) -> Observation:  # noqa: ANN401
    return Observation(
        probe="triton_toolchain", variant=variant, outcome=outcome, code=code, device="cuda:0"
    )


@pytest.mark.parametrize(
    ("variant", "rule"), [("compiler", "no-c-compiler"), ("headers", "python-headers-missing")]
)
def test_a_part_that_does_not_work_takes_triton_away_by_its_own_rule(
    variant: str, rule: str
) -> None:
    found = ours(tried(variant, "failed", rule))
    assert (found.usable, found.rule) == ("no", rule)
    assert ours().usable == "yes"


def test_an_extension_that_was_built_refutes_what_was_read() -> None:
    bare = {"python": {"version": "3.11.7", "headers": False}}
    assert ours(**bare).rule == "python-headers-missing"
    assert ours(tried("headers", "passed"), **bare).usable == "yes"
    assert ours(tried("headers", "skipped", "no-c-compiler"), **bare).usable == "no"


def test_an_int8_product_that_ran_shows_what_a_triton_that_is_not_known_can_do() -> None:
    new = {"packages": {**MACHINE["packages"], "triton": "9.9.9"}}
    seen = Observation(
        probe="triton_int8_dot", variant="k-major", outcome="passed", device="cuda:0"
    )
    assert ours(**new).usable == "unknown"
    assert ours(seen, **new).usable == "yes"


def test_the_codes_that_name_rules_do() -> None:
    named = {one for row in shipped().table("backends")["proofs"] for one in row.get("rules", ())}
    assert named
    assert named <= {rule.name for rule in RULES}
