"""How an answer is had: once by one process, and kept for all that ask the same."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.choosing.asking import Rig


def test_sixty_four_processes_at_once_work_it_out_once_and_agree(rig: Rig) -> None:
    askers = [rig.start(takes=0.5, start=True) for _ in range(64)]
    until = time.monotonic() + 240
    while len(list(rig.folder.glob("ready.*"))) < len(askers) and time.monotonic() < until:
        time.sleep(0.05)
    (rig.folder / "go").write_text("")
    told = [one[-1] for one in rig.told(*askers, within=240)]
    assert rig.worked() == 1
    assert len({one["reason"] for one in told}) == 1
    assert not any(one["said"] for one in told)
    assert [path.name for path in (rig.cache / "selections").iterdir()] == [rig.kept()[0].name]


_TOLD = """
import sys, qdoctor
from qdoctor.choosing import key
key.installed = lambda: ({"torch": "1.0 stamp"}, [])
before = set(sys.modules)
name = qdoctor.select_backend().name
print(name, sorted(one for one in set(sys.modules) - before if not one.startswith("qdoctor")))
"""


def test_another_process_is_told_without_loading_anything(rig: Rig) -> None:
    rig.ask(selects="bnb-nf4")
    done = subprocess.run(
        [sys.executable, "-S", "-c", _TOLD],
        env=rig.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "bnb-nf4 []"
    assert rig.worked() == 1


@pytest.mark.parametrize(
    "change",
    [
        {"environ": {"BNB_CUDA_VERSION": "118"}},
        {"environ": {"LD_LIBRARY_PATH": "/opt/other"}},
        {"asks": {"objective": "memory"}},
        {"asks": {"training": True}},
        {"asks": {"max_error": 0.01}},
        {"asks": {"shapes": [[1, 64, 64]]}},
        {"asks": {"deny": ["bnb-nf4"]}},
    ],
    ids=lambda change: str(next(iter(change.values()))),
)
def test_another_question_is_worked_out_anew(rig: Rig, change: dict[str, Any]) -> None:
    rig.ask()
    rig.environ.update(change.get("environ", {}))
    rig.ask(asks=change.get("asks", {}))
    assert rig.worked() == 2
    rig.ask(asks=change.get("asks", {}))
    assert rig.worked() == 2


def test_variables_that_do_not_matter_do_not(rig: Rig) -> None:
    rig.ask()
    rig.environ |= {"HOSTNAME": "elsewhere", "RANK": "3", "QDOCTOR_COLOR": "x"}
    rig.ask()
    assert rig.worked() == 1


def test_refresh_works_it_out_anew_and_for_all(rig: Rig) -> None:
    rig.ask(selects="half")
    assert rig.ask(asks={"refresh": True}, selects="bnb-nf4")[0]["name"] == "bnb-nf4"
    assert rig.ask()[0]["name"] == "bnb-nf4"
    assert rig.worked() == 2


def test_a_sick_machine_is_half_and_asked_again_later(rig: Rig) -> None:
    told = rig.ask(sick=True, times=2)
    assert [one["name"] for one in told] == ["half", "half"]
    assert rig.worked() == 1
    assert "no such device" in told[-1]["reason"]
    assert any("no backend could be selected" in text for text in told[-1]["said"])
    path = rig.kept()[0]
    head = path.read_bytes().split(b"\n")[1].split(b" ")
    assert 0 < float(head[0]) - time.time() <= 601
