"""Which questions have one answer, which are asked anew, and for how long an answer holds."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import qdoctor
from qdoctor.choosing import answering, devices
from qdoctor.model import Selection, Timed
from tests.choosing.pretended import H100, candidate, found

if TYPE_CHECKING:
    from pathlib import Path

    from qdoctor.model import Asked
    from tests.choosing.pretended import Chooser, Here

T4 = devices.Device("Tesla T4", "Tesla T4 [10de 1eb8]", "GPU-2")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401 - its ``now`` is a number
    """A clock that stands still unless its ``now`` is set."""
    made = SimpleNamespace(now=time.time())
    monkeypatch.setattr(time, "time", lambda: made.now)
    return made


def test_equal_questions_are_one(chooser: Chooser) -> None:
    qdoctor.select_backend(allow=["bnb-nf4", "bnb-int8"], deny=("half",))
    qdoctor.select_backend(allow=("bnb-int8", "bnb-nf4", "bnb-nf4"), deny=["half"], budget=20)
    qdoctor.select_backend(allow=["bnb-nf4", "bnb-int8"], deny=["half"], measure="cached")
    assert len(chooser.asked) == 1


def test_gpus_of_one_kind_share_an_answer_others_do_not(
    chooser: Chooser, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.has(H100, devices.Device(H100.name, H100.kind, "GPU-9"))
    qdoctor.select_backend(device=0)
    qdoctor.select_backend(device=1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    qdoctor.select_backend()
    assert len(chooser.asked) == 1
    here.has(T4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    qdoctor.select_backend()
    assert len(chooser.asked) == 2
    qdoctor.select_backend(device="cpu")
    assert len(chooser.asked) == 3


def test_a_changed_package_is_seen_at_once(chooser: Chooser, here: Here, tmp_path: Path) -> None:
    file = tmp_path / "__init__.py"
    file.write_text("one")
    here.has(packages={"torch": "2.11.0 one"}, watched=str(file))
    qdoctor.select_backend()
    qdoctor.select_backend()
    assert len(chooser.asked) == 1
    file.write_text("another")
    here.packages = {"torch": "2.11.0 another"}
    qdoctor.select_backend()
    assert len(chooser.asked) == 2


def test_a_candidate_without_its_figures_is_measured_again_with_more_time(chooser: Chooser) -> None:
    def short(question: Asked) -> Selection:
        made = found(question)
        cell = Timed(1, 64, 64, unknown="the time was over")
        cut = msgspec.structs.replace(made.candidates[2], shapes=[cell])
        return msgspec.structs.replace(made, candidates=[*made.candidates[:2], cut])

    chooser.answer = short
    qdoctor.select_backend(budget=2)
    qdoctor.select_backend(budget=1)
    assert len(chooser.asked) == 1
    qdoctor.select_backend(budget=5)
    assert len(chooser.asked) == 2


@pytest.mark.parametrize(("taken", "spread"), [(True, 0.01), (False, 1.56)])
def test_a_disturbed_measurement_is_believed_for_a_day(
    chooser: Chooser,
    clock: Any,  # noqa: ANN401
    taken: bool,  # noqa: FBT001
    spread: float,
) -> None:
    def disturbed(question: Asked) -> Selection:
        made = found(question)
        cell = Timed(1, 64, 64, milliseconds=1.0, disturbed=taken)
        half = msgspec.structs.replace(made.candidates[0], shapes=[cell], spread=spread)
        return msgspec.structs.replace(made, candidates=[half, *made.candidates[1:]])

    chooser.answer = disturbed
    qdoctor.select_backend()
    clock.now += 80000
    answering.forget()
    qdoctor.select_backend()
    assert len(chooser.asked) == 1
    clock.now += 10000
    qdoctor.select_backend()
    assert len(chooser.asked) == 2


def test_a_busy_gpu_is_asked_again_later_and_half_is_used_meanwhile(
    chooser: Chooser,
    clock: Any,  # noqa: ANN401
) -> None:
    """As with a full GPU or one in EXCLUSIVE_PROCESS mode: no probe can say that half works."""
    chooser.answer = lambda question: Selection(
        asked=question, selected="half", reason="busy", candidates=[candidate("half", "unknown")]
    )
    assert qdoctor.select_backend().name == "half"
    answering.forget()
    assert qdoctor.select_backend().name == "half"
    assert len(chooser.asked) == 1
    clock.now += 601
    qdoctor.select_backend()
    assert len(chooser.asked) == 2


def test_a_cpu_that_stands_in_for_a_broken_gpu_does_so_for_a_while_only(
    chooser: Chooser,
    clock: Any,  # noqa: ANN401
) -> None:
    chooser.answer = lambda question: found(msgspec.structs.replace(question, device="cpu"))
    qdoctor.select_backend()
    qdoctor.select_backend(device="cpu")
    clock.now += 601
    qdoctor.select_backend(device="cpu")
    assert len(chooser.asked) == 2  # the CPU itself was asked for: that holds
    qdoctor.select_backend()
    assert len(chooser.asked) == 3


def test_an_answer_about_other_copies_of_packages_is_said_and_not_kept_for_long(
    chooser: Chooser,
    clock: Any,  # noqa: ANN401
) -> None:
    packages = {"torch": "2.5.1", "triton": "?", "torchao": ""}
    chooser.answer = lambda question: msgspec.structs.replace(
        found(question), key={"packages": packages}
    )
    with pytest.warns(
        qdoctor.SelectionWarning, match=r"made with torch 2\.5\.1, not 2\.11\.0, which"
    ):
        qdoctor.select_backend()
    clock.now += 601
    qdoctor.select_backend()
    assert len(chooser.asked) == 2
