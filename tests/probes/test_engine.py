"""How the engine orders, bounds and repeats what it runs."""

from __future__ import annotations

import errno
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from qdoctor import process
from qdoctor.model import Observation
from qdoctor.probes import catalog, engine
from qdoctor.probes.engine import Interrupted, carry_out
from qdoctor.probes.plan import Step
from qdoctor.probes.room import Room
from qdoctor.probes.runner import Patient

if TYPE_CHECKING:
    from pathlib import Path

linux = pytest.mark.skipif(sys.platform != "linux", reason="side by side on Linux only")

KERNEL = """
PROBE = {{"name": {name!r}, "title": {name!r}, "needs": [], "modes": ["run"], "seconds": 20,
         "memory_mib": 512, "quick": True, "variants": ["only"]}}

def run(request):
    import json, os, sys, time
    def passed(**fields):
        return dict({{"outcome": "passed", "variant": "only"}}, **fields)
    here = os.path.dirname(os.path.dirname(os.environ["TMPDIR"]))
    {body}
"""

Run = Callable[..., list[Observation]]


@pytest.fixture
def run(
    tmp_path_factory: pytest.TempPathFactory, clean_world: str, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Run kernels with these bodies for real, as many at once as ``cores`` allow."""
    folder = tmp_path_factory.mktemp("kernels")

    def run(
        bodies: dict[str, str],
        cores: int = 4,
        budget: float | None = None,
        exclusive: tuple[bool, ...] = (),
    ) -> list[Observation]:
        room = Room(cores, side_by_side=cores > 1)
        monkeypatch.setattr("qdoctor.probes.room.here", lambda: room)
        for name, body in bodies.items():
            (folder / f"{name}.py").write_text(KERNEL.format(name=name, body=body))
        steps = [Step(kernel, "run", device=0) for kernel in catalog.read(folder)]
        environ = {**os.environ, "QDOCTOR_TEST_MARK": clean_world}
        patient = Patient(sys.executable, environ, exclusive=exclusive)
        return carry_out(steps, patient, lambda _: None, budget)

    return run


MEETS = """
    open(os.path.join(here, {mine!r}), "w").close()
    until = time.monotonic() + 15
    while not os.path.exists(os.path.join(here, {other!r})) and time.monotonic() < until:
        time.sleep(0.01)
    yield passed(detail=str(time.monotonic() < until))
"""


@linux
def test_probes_run_side_by_side_and_answer_in_their_order(run: Run) -> None:
    bodies = {
        "a": MEETS.format(mine="a.here", other="b.here"),
        "b": MEETS.format(mine="b.here", other="a.here"),
        "c": "yield passed()",
    }
    seen = run(bodies)
    assert [one.probe for one in seen] == ["a", "b", "c"]
    assert [one.detail for one in seen[:2]] == ["True", "True"]


def test_with_one_core_they_run_one_after_another(run: Run) -> None:
    body = "began = time.time(); time.sleep(0.1); yield passed(path_taken=json.dumps(began))"
    began = [json.loads(one.path_taken or "") for one in run(dict.fromkeys("abc", body), cores=1)]
    assert all(second - first >= 0.1 for first, second in itertools.pairwise(began))


@linux
def test_a_budget_ends_what_runs_and_names_what_was_left_out(run: Run) -> None:
    bodies = {"a": "yield passed()", "b": "time.sleep(60)", "c": "yield passed()"}
    began = time.monotonic()
    seen = run(bodies, cores=1, budget=2.0)
    assert time.monotonic() - began < 20
    assert [(one.outcome, one.code) for one in seen] == [
        ("passed", None),
        ("skipped", "budget"),
        ("skipped", "budget"),
    ]
    assert "within the budget of 2 s" in seen[1].detail


@linux
def test_a_budget_that_suffices_changes_nothing(run: Run) -> None:
    assert [one.outcome for one in run({"a": "yield passed()"}, budget=60)] == ["passed"]


MEMORY_IS_SHORT = """
    first = os.path.join(here, "tried")
    if not os.path.exists(first):
        open(first, "w").close()
        until = time.monotonic() + 15
        while not os.path.exists(os.path.join(here, "beside")) and time.monotonic() < until:
            time.sleep(0.01)
        raise MemoryError
    yield passed()
"""
BESIDE = 'open(os.path.join(here, "beside"), "w").close(); time.sleep(0.5); yield passed()'


@linux
def test_what_ran_out_of_memory_beside_others_is_asked_again_alone(run: Run) -> None:
    a, b = run({"a": MEMORY_IS_SHORT, "b": BESIDE})
    assert (a.outcome, b.outcome) == ("passed", "passed")
    assert a.evidence == ["ran out of memory beside others: this is alone"]


def test_what_runs_out_of_memory_alone_is_asked_once(run: Run) -> None:
    (a,) = run({"a": "raise MemoryError"})
    assert (a.outcome, a.code, a.evidence) == ("skipped", "out-of-memory", [])


NO_ROOM = """
    with open({starts!r}, "a") as file:
        file.write({mine!r})
    open(os.path.join(here, {mine!r}), "w").close()
    until = time.monotonic() + 15
    while not os.path.exists(os.path.join(here, {other!r})) and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.5)
    raise MemoryError
"""


@linux
def test_once_one_finds_no_room_alone_the_others_first_answers_count(
    run: Run, tmp_path: Path
) -> None:
    starts = tmp_path / "starts"
    beside = {"a": "b", "b": "c", "c": "a"}
    bodies = {
        mine: NO_ROOM.format(starts=str(starts), mine=mine, other=other)
        for mine, other in beside.items()
    }
    seen = run(bodies)
    assert [(one.outcome, one.code) for one in seen] == [("skipped", "out-of-memory")] * 3
    assert len(starts.read_text()) == 4
    starts.unlink()  # the world outside is to look as before
    asked_alone = [one for one in seen if one.evidence]
    assert len(asked_alone) == 1


ONE_AT_A_TIME = """
    taken = {place!r} or os.path.join(here, "taken")
    with open({starts!r}, "a") as file:
        file.write("x")
    try:
        os.mkdir(taken)
    except FileExistsError:
        raise RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable")
    time.sleep(0.7)
    os.rmdir(taken)
    yield passed()
"""
"""A GPU in EXCLUSIVE_PROCESS mode: a process that finds it taken is refused."""


def busy(tmp_path: Path, place: str = "") -> dict[str, str]:
    body = ONE_AT_A_TIME.format(place=place, starts=str(tmp_path / "starts"))
    return dict.fromkeys("abcd", body)


@linux
def test_on_a_gpu_that_is_exclusive_probes_do_not_refuse_each_other(
    run: Run, tmp_path: Path
) -> None:
    """What its mode is may not be known: then those that were refused are asked again alone."""
    seen = run(busy(tmp_path))
    assert [one.outcome for one in seen] == ["passed"] * 4
    again = ["found the GPU taken while others of these ran: this is alone"]
    assert [one.evidence for one in seen].count(again) >= 1
    starts = tmp_path / "starts"
    assert len(starts.read_text()) == 4 + [one.evidence for one in seen].count(again)
    starts.unlink()
    seen = run(busy(tmp_path), exclusive=(True,))
    assert [(one.outcome, one.evidence) for one in seen] == [("passed", [])] * 4
    assert len(starts.read_text()) == 4
    starts.unlink()


@linux
def test_on_a_gpu_that_another_program_has_to_itself_one_is_asked_again(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    seen = run(busy(tmp_path, str(tmp_path / "elsewhere")))
    assert [(one.outcome, one.code) for one in seen] == [("skipped", "gpu-busy")] * 4
    starts = tmp_path / "starts"
    assert 4 <= len(starts.read_text()) <= 5  # none where no two ran side by side
    starts.unlink()
    (tmp_path / "elsewhere").rmdir()


TIMED = """
    alone = sys.modules["qdoctor_kernel__alone"]
    with alone.alone():
        began = time.time()
        time.sleep(0.3)
        ended = time.time()
    yield passed(path_taken=json.dumps([began, ended]), numbers={"milliseconds": 1.0})
"""
TICKING = """
    open(os.path.join(here, "ticks"), "w").close()
    gaps, last = [], time.time()
    until = time.monotonic() + 2
    while time.monotonic() < until:
        time.sleep(0.001)
        now = time.time()
        gaps.append([last, now])
        last = now
    longest = max(gaps, key=lambda gap: gap[1] - gap[0])
    yield passed(path_taken=json.dumps(longest))
"""
WAITS = """
    while not os.path.exists(os.path.join(here, "ticks")):
        time.sleep(0.01)
"""


@linux
def test_what_is_timed_runs_alone_and_the_others_go_on_afterwards(run: Run) -> None:
    ticking, timed = run({"ticking": TICKING, "timed": WAITS + TIMED})
    began, ended = json.loads(timed.path_taken or "")
    stopped, went_on = json.loads(ticking.path_taken or "")
    assert stopped <= began
    assert ended <= went_on
    assert timed.evidence == []


@linux
def test_silence_that_is_not_given_back_ends_by_itself(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qdoctor.probes.quiet._LONGEST", 0.5)
    keeps = """
    alone = sys.modules["qdoctor_kernel__alone"]
    with alone.alone():
        time.sleep(2)
    yield passed(numbers={"milliseconds": 1.0})
"""
    ticking, keeping = run({"a": TICKING, "b": WAITS + keeps})
    stopped, went_on = json.loads(ticking.path_taken or "")
    assert went_on - stopped < 1.9
    assert keeping.evidence == ["timed while other probes may have been running"]


@linux
def test_noise_on_the_bell_is_not_heard(run: Run) -> None:
    rings = """
    bell = os.open(os.path.join(here, "gate", "bell"), os.O_WRONLY)
    for noise in (b"begin nobody\\n", b"\\xff\\xfe begin\\n", b"end\\n" * 5000, b"begin\\n"):
        os.write(bell, noise)
    yield passed()
"""
    assert [one.outcome for one in run({"a": rings, "b": "yield passed()"})] == ["passed"] * 2


def refusing(number: int) -> Callable[..., None]:
    """Stand in for a call that the system refuses."""

    def call(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


@linux
def test_a_file_system_without_fifos_lets_probes_run_one_at_a_time(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "mkfifo", refusing(errno.EPERM))
    body = "began = time.time(); time.sleep(0.1); yield passed(path_taken=json.dumps(began))"
    seen = run(dict.fromkeys("abc", body))
    assert [one.outcome for one in seen] == ["passed"] * 3
    began = [json.loads(one.path_taken or "") for one in seen]
    assert all(second - first >= 0.1 for first, second in itertools.pairwise(began))


@linux
@pytest.mark.parametrize(
    ("number", "code", "advice"),
    [
        (errno.EMFILE, "not-started", "ulimit -n"),
        (errno.ENOSPC, "no-control-folder", "set TMPDIR to a folder with room"),
        (errno.EROFS, "no-control-folder", "set TMPDIR to a writable folder"),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
def test_what_the_system_refuses_is_said_and_is_no_interrupt(
    run: Run, monkeypatch: pytest.MonkeyPatch, number: int, code: str, advice: str
) -> None:
    monkeypatch.setattr("qdoctor.probes.engine.prepare", refusing(number))
    for one in run(dict.fromkeys("ab", "yield passed()")):
        assert (one.outcome, one.code) == ("failed", code)
        assert os.strerror(number) in one.detail
        assert advice in one.detail


@linux
def test_trouble_of_the_loop_itself_is_no_interrupt(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "wait", refusing(errno.EMFILE))
    for one in run(dict.fromkeys("ab", "time.sleep(60)")):
        assert (one.outcome, one.code) == ("failed", "not-started")
        assert "Too many open files" in one.detail


@linux
def test_a_second_interrupt_leaves_nothing_behind(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, count = process.kill, itertools.count()

    def kill(children: Sequence[process.Child]) -> None:
        if next(count) == 0:
            raise KeyboardInterrupt
        real(children)

    def wait(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(process, "kill", kill)
    monkeypatch.setattr(process, "wait", wait)
    with pytest.raises(Interrupted) as ended:
        run(dict.fromkeys("ab", "time.sleep(60)"))
    seen = [(one.outcome, one.code) for one in ended.value.seen]
    assert seen == [("skipped", "interrupted")] * 2


@linux
@pytest.mark.parametrize(
    ("name", "outcome"), [("again", "skipped"), ("process.kill", "passed")], ids=str
)
def test_an_interrupt_at_the_very_end_loses_neither_itself_nor_a_probe(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, outcome: str
) -> None:
    """While the last answer is read, and while what has ended is put away."""
    module = process if name == "process.kill" else engine
    attribute = name.rpartition(".")[2]
    real, count = getattr(module, attribute), itertools.count()

    def interrupted(*args: Any, **more: Any) -> Any:  # noqa: ANN401
        if next(count) == 0:
            raise KeyboardInterrupt
        return real(*args, **more)

    monkeypatch.setattr(module, attribute, interrupted)
    with pytest.raises(Interrupted) as ended:
        run({"a": "yield passed()"})
    assert [one.outcome for one in ended.value.seen] == [outcome]
