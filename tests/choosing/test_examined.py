"""What probes told is kept for the next question: when it serves, and when it does not."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import qdoctor
from qdoctor import doctor
from qdoctor.choosing import answering, examined, from_scratch
from qdoctor.choosing.measured import Measured
from qdoctor.model import NO_FOLDER, Facts, Report, SelectedFor, Target
from qdoctor.question import Question
from tests.choosing.conftest import BYTES, ERRORS, timed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from qdoctor.choosing.measuring import Wish
    from tests.choosing.pretended import Here

TIMES = {"half": 1.0, "bnb-int8": 1.5, "qdoctor-switchback": 0.6, "torch-fp8": 0.5}
NOTE = "the probes ran for an earlier question, "


class Machine:
    """A recorded H100 that is examined and measured on demand; both are counted."""

    def __init__(self, report: Report) -> None:
        self.report, self.examinations, self.measurements = report, 0, 0
        self.lost = ""  # why half cannot be measured

    def examine(self, *_: object, **__: object) -> Report:
        self.examinations += 1
        return self.report

    def measure(self, wish: Wish, _: str, __: Mapping[str, str], ___: object) -> Measured | None:
        self.measurements += 1
        if self.lost:
            return Measured(wish.shapes, {}, {"half": self.lost}, seconds=1.0)
        cells = {
            name: [
                timed(
                    TIMES.get(name, 2.0),
                    error=ERRORS.get(name, 0.04),
                    size=BYTES.get(name, 1.0),
                    shape=shape,
                )
                for shape in wish.shapes
            ]
            for name in wish.backends
        }
        return Measured(wish.shapes, cells, {}, wish.counts, SelectedFor("a GPU", "9.0"), 4.5)


@pytest.fixture
def machine(here: Here, machines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    file = str(machines / "h100-every-probe.json")
    told = doctor.examine(Question(facts_file=file), environ={}, stdin=io.BytesIO())
    target = Target(kind="interpreter", chosen_by="--python", python="/usr/bin/python3")
    made = Machine(msgspec.structs.replace(told, target=target))
    versions = made.report.facts.packages or {}
    here.has(packages={name: f"{version} stamp" for name, version in versions.items()})
    monkeypatch.setenv("QDOCTOR_CACHE_DIR", str(tmp_path / "kept"))
    monkeypatch.setattr(doctor, "examine", made.examine)
    monkeypatch.setattr(from_scratch, "measure", made.measure)
    return made


def notes(**asked: Any) -> list[str]:  # noqa: ANN401 - as select_backend takes it
    """Ask as another process would, and return what is said about the probes."""
    answering.forget()
    told = qdoctor.select_backend(**asked).selection["notes"]
    return [one for one in told if one.startswith(NOTE)]


def test_another_question_runs_no_probe_again_and_says_so(machine: Machine) -> None:
    assert notes(objective="latency") == []
    (said,) = notes(objective="accuracy")
    assert "less than a minute ago; refresh=True runs them again" in said
    assert notes(objective="latency", shapes=[(1, 64, 64)])
    assert (machine.examinations, machine.measurements) == (1, 3)


def test_the_answer_is_that_of_a_new_examination(machine: Machine) -> None:
    qdoctor.select_backend("latency")
    by_kept = qdoctor.select_backend("accuracy").selection
    anew = qdoctor.select_backend("accuracy", refresh=True).selection
    assert machine.examinations == 2
    assert {**by_kept, "notes": None} == {**anew, "notes": None}


def test_to_refresh_runs_them_again_and_keeps_what_they_tell(machine: Machine) -> None:
    notes(objective="latency")
    assert notes(objective="latency", refresh=True) == []
    assert machine.examinations == 2
    assert notes(objective="memory")
    assert machine.examinations == 2


def test_something_installed_calls_for_probes(machine: Machine, here: Here) -> None:
    notes(objective="latency")
    here.has(packages={**here.packages, "torch": f"{here.packages['torch']} of another build"})
    assert notes(objective="memory") == []
    assert machine.examinations == 2


@pytest.mark.parametrize("variable", ["CUDA_VISIBLE_DEVICES", "BNB_CUDA_VERSION"])
def test_what_probes_would_see_otherwise_calls_for_them(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    notes(objective="latency")
    monkeypatch.setenv(variable, "0")
    assert notes(objective="memory") == []
    assert machine.examinations == 2


def test_the_cpu_has_its_own(machine: Machine) -> None:
    notes(objective="latency")
    assert notes(objective="latency", device="cpu") == []
    assert machine.examinations == 2


def test_a_machine_in_trouble_is_examined_anew(machine: Machine) -> None:
    machine.lost = "out-of-memory: another program has it"
    notes(objective="latency")
    machine.lost = ""
    assert notes(objective="memory") == []
    assert machine.examinations == 2


def silenced(machine: Machine, code: str) -> None:
    """Let one of its probes have told nothing."""
    first, *others = machine.report.observations
    silent = msgspec.structs.replace(first, outcome="failed", code=code)
    machine.report = msgspec.structs.replace(machine.report, observations=[silent, *others])


def test_who_interrupts_the_probes_interrupts_the_program(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is known by then is no answer, least of all one to keep."""

    def interrupted(*_: object, **__: object) -> Report:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "examine", interrupted)
    with pytest.raises(KeyboardInterrupt):
        notes(objective="latency")
    assert machine.measurements == 0
    assert list((tmp_path / "kept" / "selections").iterdir()) == []


def test_a_full_temporary_folder_leaves_half_and_is_said_for_what_it_is(machine: Machine) -> None:
    facts = Facts(unread={NO_FOLDER: "no temporary folder: No space left on device"})
    machine.report = msgspec.structs.replace(machine.report, facts=facts, observations=[])
    with pytest.warns(qdoctor.SelectionWarning, match="No space left on device"):
        backend = qdoctor.select_backend("latency")
    assert backend.name == "half"
    assert notes(objective="memory") == []


@pytest.mark.parametrize("code", ["not-started", "no-control-folder", "gpu-busy"])
def test_what_a_probe_had_no_chance_to_tell_is_asked_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    silenced(machine, code)
    notes(objective="latency")
    assert notes(objective="memory") == []
    notes(objective="latency")
    assert machine.examinations == 2
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 25 * 3600)
    notes(objective="latency")
    assert machine.examinations == 3


def test_after_a_day_they_run_again(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    notes(objective="latency")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 5 * 3600)
    (said,) = notes(objective="memory")
    assert "5 hours ago" in said
    monkeypatch.setattr(time, "time", lambda: now + 25 * 3600)
    assert notes(objective="accuracy") == []
    assert machine.examinations == 2


@pytest.mark.parametrize("body", [b"{}", b"not JSON"])
def test_what_cannot_be_read_is_made_anew(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    with monkeypatch.context() as other:
        other.setattr(msgspec.json, "encode", _instead_of_reports(body))
        notes(objective="latency")
    assert notes(objective="memory") == []
    assert machine.examinations == 2
    assert notes(objective="accuracy")


def test_what_is_too_large_is_not_kept(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examined, "_LARGEST", 1000)
    notes(objective="latency")
    assert notes(objective="memory") == []
    assert machine.examinations == 2


def _instead_of_reports(body: bytes) -> Any:  # noqa: ANN401 - a function as msgspec's
    encode = msgspec.json.encode
    return lambda what, **more: body if isinstance(what, Report) else encode(what, **more)
