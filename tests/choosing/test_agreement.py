"""Ranks of real gloo groups: four processes, pretended devices, deaths in the middle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="agreeing needs torch.distributed")
if sys.platform == "win32":
    pytest.skip("ranks are killed by signals here", allow_module_level=True)

RANK = Path(__file__).with_name("rank_that_agrees.py")
HOME = Path(__file__).resolve().parent.parent.parent
SIZE = 4


def agree(folder: Path, **plan: Any) -> list[dict[str, Any] | None]:  # noqa: ANN401
    """Run four ranks; what each of them got, None for one that was killed."""
    words = [sys.executable, str(RANK)]
    ranks = [
        subprocess.Popen(
            [*words, str(rank), str(SIZE), folder / "store", folder / f"{rank}", json.dumps(plan)],
            env={"PYTHONPATH": str(HOME), "PATH": "", "QDOCTOR_CACHE_DIR": str(folder / "cache")},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(SIZE)
    ]
    said = [rank.communicate(timeout=200)[1] for rank in ranks]
    last = plan.get("rounds", 1) - 1
    files = [folder / f"{rank}.{last}" for rank in range(SIZE)]
    dead = {plan.get("dies"), plan.get("absent")}
    assert all(file.exists() or rank in dead for rank, file in enumerate(files)), said
    return [json.loads(file.read_text()) if file.exists() else None for file in files]


def found(folder: Path) -> list[int]:
    """Name the ranks that worked an answer out."""
    return [rank for rank in range(SIZE) if (folder / f"{rank}.found").exists()]


@pytest.mark.parametrize("old", [False, True], ids=["store", "old-store"])
def test_one_rank_of_each_kind_measures_and_all_agree(tmp_path: Path, old: bool) -> None:  # noqa: FBT001
    told = agree(
        tmp_path,
        old=old,
        kinds=["fast", "fast", "slow", "slow"],
        found={"fast": [3.0, "yes"], "slow": [1.5, "yes"]},
    )
    assert found(tmp_path) == [0, 2]
    assert [one and one["selected"] for one in told] == ["bnb-int8"] * SIZE
    bodies = [one["body"] for one in told if one]
    assert all(body == bodies[0] for body in bodies)
    assert "1.50 times" in bodies[0]["reason"]  # as on the device where it does worst
    assert bodies[0]["device"]["name"] == "fast and slow"


def test_a_backend_that_loses_on_one_kind_is_not_taken_for_all(tmp_path: Path) -> None:
    told = agree(tmp_path, kinds=["a", "a", "b", "b"], found={"a": [2.0, "yes"], "b": [0.5, "yes"]})
    assert [one and one["selected"] for one in told] == ["half"] * SIZE


def test_a_rank_whose_carried_decision_is_a_pipe_says_so_and_does_not_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    code = (
        "import os; from qdoctor.choosing import agreement; "
        "from qdoctor.choosing.request import Request; agreement.kind_of(Request(), os.environ)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(HOME), "PATH": "", "QDOCTOR_SELECTION": str(tmp_path / "pipe")},
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert "pipe): no regular file" in done.stderr


def test_groups_agree_again_and_again(tmp_path: Path) -> None:
    told = agree(tmp_path, kinds=["a"] * SIZE, rounds=3, found={"a": [2.0, "no"]})
    assert found(tmp_path) == [0]
    assert [one and one["selected"] for one in told] == ["bnb-int8"] * SIZE


@pytest.mark.parametrize(
    ("plan", "error", "text"),
    [
        ({"raises": 2}, "NoAgreement", "rank 2: OSError: the disk is on fire"),
        ({"confused": 3}, "BadInput", "rank 3: no objective is called 'latancy'"),
        ({"dies": 2, "takes": 1}, "NoAgreement", "rank 2 ended"),
        ({"dies": 0}, "NoAgreement", "rank 0 ended"),
        ({"absent": 1, "timeout": 5}, "NoAgreement", "rank 1 gave no answer within"),
        ({"objectives": ["latency", "memory"] * 2}, "BadInput", "rank 1 asks another question"),
        (
            {"found": {"b": [2.0, "no"]}, "require": "bnb-nf4"},
            "BackendUnavailable",
            "bnb-nf4 is required, but cannot be used on a and b: on b: ",
        ),
    ],
    ids=["raises", "confused", "dies", "first-dies", "absent", "differ", "required"],
)
def test_all_ranks_get_the_same_error(
    tmp_path: Path, plan: dict[str, Any], error: str, text: str
) -> None:
    told = agree(tmp_path, kinds=["a", "a", "b", "b"], **plan)
    dead = {plan.get("dies"), plan.get("absent")}
    got = [one for rank, one in enumerate(told) if rank not in dead]
    assert {(one and one["error"], one and one["text"]) for one in got} == {
        (got[0] and got[0]["error"], got[0] and got[0]["text"])
    }
    assert got[0] is not None
    assert got[0]["error"] == error
    assert text in got[0]["text"]


def test_a_rank_that_fails_and_ends_takes_no_store_away_from_the_others(tmp_path: Path) -> None:
    """The first rank hosts the store; an error that nobody catches ends it at once."""
    told = agree(tmp_path, kinds=["a"] * SIZE, confused=0, hosted=True)
    assert [one and one["error"] for one in told] == ["BadInput"] * SIZE
    assert len({one["text"] for one in told if one}) == 1


def test_a_rank_that_has_its_answer_and_ends_takes_no_store_away_from_the_others(
    tmp_path: Path,
) -> None:
    told = agree(tmp_path, kinds=["a"] * SIZE, hosted=True)
    assert [one and one.get("selected", one) for one in told] == ["bnb-int8"] * SIZE


def test_nobody_waits_for_a_rank_that_is_known_to_be_silent(tmp_path: Path) -> None:
    told = agree(tmp_path, kinds=["a"] * SIZE, dies=0, farewell=150.0)
    assert told[0] is None
    assert all(one["seconds"] < 100.0 for one in told if one)
