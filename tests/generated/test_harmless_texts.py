"""A sound machine that prints a notice is accused of nothing; no AMD machine is offered CUDA."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

import qdoctor
from qdoctor.matrix import shipped
from qdoctor.model import Facts, Gpu
from tests.generated.machines import healthy

ROWS: list[dict[str, Any]] = shipped().table("signatures")["rows"]
HARMLESS = {"harmless-warning", "expected-slowdown", "version-misreading", "not-environment"}
NOTICES = [
    (row["id"], text)
    for row in ROWS
    if row.get("role") == "notice" and set(row["rules"]) <= HARMLESS
    for text in row["examples"]
]
FAILURES = [(row["id"], row["examples"][0]) for row in ROWS if row.get("role") != "notice"]
SOUND = healthy(12, 11)
PROSE = (
    "which version should I use?",
    "it works, thank you",
    "the loss goes down and the answers are good",
    "GPU utilization is 40 % while training",
)
RADEON = Gpu(index=0, name="AMD Radeon RX 7900 XTX", arch="gfx1100", vendor="amd")


@pytest.mark.parametrize(("row", "text"), NOTICES, ids=[row for row, _ in NOTICES])
def test_a_notice_accuses_no_sound_machine(row: str, text: str) -> None:
    for facts in SOUND[:4]:
        found = qdoctor.diagnose(facts, text).findings
        loud = [one.rule for one in found if one.severity != "note"]
        blamed = {one.rule for one in found if one.explains_error} - HARMLESS
        assert (loud, blamed) == ([], set()), row


@pytest.mark.parametrize("text", PROSE)
def test_words_of_no_program_accuse_no_sound_machine(text: str) -> None:
    for facts in SOUND:
        found = qdoctor.diagnose(facts, text).findings
        assert not [one.rule for one in found if one.severity != "note"]
        assert not {one.rule for one in found if one.explains_error} - HARMLESS


@pytest.mark.parametrize(("row", "text"), FAILURES, ids=[row for row, _ in FAILURES])
def test_an_amd_machine_is_offered_no_build_with_cuda(row: str, text: str) -> None:
    facts = Facts(packages={"torch": "2.8.0+rocm6.4"}, gpus=[RADEON])
    offered = [fix for one in qdoctor.diagnose(facts, text).findings for fix in one.fixes]
    assert [fix for fix in offered if (fix.index or "").startswith("cu")] == [], row


@pytest.mark.parametrize(("row", "text"), FAILURES, ids=[row for row, _ in FAILURES])
def test_a_gpu_that_is_known_is_not_to_be_bought_for_its_driver(row: str, text: str) -> None:
    """What the driver's tools say of a machine with a GPU asks for no other GPU first."""
    facts = msgspec.structs.replace(SOUND[0], driver=None)
    for one in qdoctor.diagnose(facts, text).findings:
        if one.explains_error and one.rule in {"driver-cannot-start", "driver-too-old"}:
            assert one.fixes[0].action != "change-hardware", row
