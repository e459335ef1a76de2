"""What ``select_backend()`` says where CUDA shows several GPUs."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from qdoctor.api import Backend
from qdoctor.doctor import examine
from qdoctor.question import Question
from tests.test_several_gpus import A100, CURRENT, V100, numbered


def chosen(*gpus: dict[str, Any]) -> Backend:
    facts = {
        "host": {"os": "linux", "machine": "x86_64", "libc": "glibc 2.35", "c_compiler": True},
        "python": {"version": "3.11.7", "headers": True},
        "packages": CURRENT,
        "driver": {"version": "580.95.05"},
        "gpus": numbered(*gpus),
    }
    stdin = io.BytesIO(json.dumps(facts).encode())
    report = examine(Question(facts_file="-"), stdin=stdin, environ={})
    verdict = next((one for one in report.verdicts if one.backend == report.selected), None)
    return Backend(report.selected, verdict, report)


@pytest.mark.parametrize(
    ("gpus", "name", "every"),
    [
        ((A100, V100), "bnb-int8", "on all 2 GPUs: bnb-nf4"),
        ((V100, A100), "bnb-nf4", "on all 2 GPUs: bnb-nf4"),
        ((A100, A100), "bnb-int8", "on all 2 GPUs: bnb-int8"),
    ],
)
def test_the_first_gpu_decides_and_all_are_told(
    gpus: tuple[dict[str, Any], ...], name: str, every: str
) -> None:
    backend = chosen(*gpus)
    assert backend.name == name
    assert backend.explain().splitlines()[:2] == [f"selected: {name}", every]


def test_of_one_gpu_nothing_more_is_said() -> None:
    assert "GPUs" not in chosen(A100).explain().splitlines()[1]
