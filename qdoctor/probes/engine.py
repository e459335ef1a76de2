"""Runs the planned probes side by side, each in a child of its own, and sees every one to an end.

A probe that needs nothing heavy runs in a light interpreter at once. One that does is forked from
the zygote as soon as that has imported what it wants. Where this cannot be, it runs in a fresh
interpreter, and its observations say why. What is asked twice, ``job`` says.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from qdoctor import process
from qdoctor.probes import observing, room, zygote
from qdoctor.probes.ending import refused
from qdoctor.probes.job import Job, again, begin, found_no_room, fresh_because, unseen
from qdoctor.probes.links import Link, link_for
from qdoctor.probes.patient import FOLDER_MIB, Patient, child_environ, prepare
from qdoctor.probes.plan import Skip, Step
from qdoctor.probes.quiet import Quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qdoctor.model import Observation

_FEWEST_TO_FORK = 2  # one alone is as fast in an interpreter of its own


class Interrupted(KeyboardInterrupt):
    """Somebody interrupted: all has ended, and ``seen`` is what is known by then."""

    def __init__(self, seen: list[Observation]) -> None:
        """``seen`` holds an observation of every step, done or not."""
        super().__init__()
        self.seen = seen


class _Running(msgspec.Struct):
    job: Job
    child: process.Child
    control: tempfile.TemporaryDirectory[str]
    beside: bool  # whether another probe ran at any time meanwhile


def carry_out(
    steps: Sequence[Step | Skip],
    patient: Patient,
    progress: Callable[[str], None],
    budget: float | None = None,
) -> list[Observation]:
    """Do the steps; observations come in the steps' order. Never raises for what a probe does.

    ``budget`` bounds the seconds of all probes together: what is not done by then is ``skipped``
    with the code ``budget``. ``progress`` gets a line before each child. An interrupt ends all at
    once and raises ``Interrupted``, in which what was not done has the code ``interrupted``.
    """
    jobs = [step if isinstance(step, Skip) else begin(step) for step in steps]
    engine = Engine([job for job in jobs if isinstance(job, Job)], patient, progress, budget)
    engine.run()
    seen = [
        one
        for job in jobs
        for one in (job.observations() if isinstance(job, Job) else [observing.of_skip(job)])
    ]
    if engine.interrupted:
        raise Interrupted(seen)
    return seen


class Engine:
    """The loop over everything that runs."""

    def __init__(
        self,
        jobs: Sequence[Job],
        patient: Patient,
        progress: Callable[[str], None],
        budget: float | None,
    ) -> None:
        """Nothing starts before ``run``."""
        self.interrupted = False
        self._jobs = list(jobs)
        self._waiting = list(jobs)
        self._running: list[_Running] = []
        self._patient, self._progress = patient, progress
        self._budget = budget
        self._until = None if budget is None else time.monotonic() + budget
        self._room = room.here()
        self._zygote: zygote.Zygote | None = None
        self._quiet: Quiet | None = None
        self._folder: Path | None = None

    def run(self) -> None:
        """Run until all jobs are seen, the budget is spent or somebody interrupts."""
        try:
            with tempfile.TemporaryDirectory(
                prefix="qdoctor-", ignore_cleanup_errors=True
            ) as folder:
                self._folder = Path(folder)
                self._run_in()
        except OSError as error:
            fate = refused(error)
            self._leave_out(lambda step: observing.of_fate(step, fate))

    def _run_in(self) -> None:
        why = ("interrupted", "interrupted")
        try:
            self._quiet = self._open_gate()
            self._start_zygote()
            while self._waiting or self._running:
                if self._until is not None and time.monotonic() >= self._until:
                    why = ("budget", f"not done within the budget of {self._budget:g} s")
                    break
                self._step()
        except KeyboardInterrupt:
            self.interrupted = True
        finally:
            try:
                self._stop()
            except KeyboardInterrupt:  # somebody is impatient: nothing is to be left all the same
                self.interrupted = True
                self._stop()
        self._leave_out(lambda step: observing.of_unfinished(step, *why))

    def _open_gate(self) -> Quiet | None:
        """What lets timed work run alone; not needed where probes run one at a time."""
        if not self._room.side_by_side:
            return None
        (self._path / "gate").mkdir()
        try:
            return Quiet(self._path / "gate")
        except OSError:  # a file system without FIFOs
            self._room = msgspec.structs.replace(self._room, side_by_side=False)
            return None

    @property
    def _path(self) -> Path:
        if self._folder is None:
            raise RuntimeError("the engine does not run")
        return self._folder

    def _step(self) -> None:
        if self._zygote is not None:
            self._zygote.poll()
        for running in list(self._running):
            ended = running.child.poll()
            if ended is not None:
                self._running.remove(running)
                self._conclude(running, ended)
        if self._quiet is not None:
            self._quiet.poll({Path(one.control.name): one.child for one in self._running})
        if self._quiet is None or not self._quiet.now:
            self._start_what_fits()
        if self._running or self._waiting:
            self._sleep()

    def _sleep(self) -> None:
        children = [running.child for running in self._running]
        also: list[int] = []
        seconds = 0.25
        if self._zygote is not None:
            also = self._zygote.descriptors()
            children += [self._zygote.child] if self._zygote.child is not None else []
        if self._quiet is not None:
            also.append(self._quiet.fileno())
            seconds = min(seconds, self._quiet.patience())
        if self._until is not None:
            seconds = min(seconds, self._until - time.monotonic())
        process.wait(children, also, max(0.0, seconds))

    # Starting

    def _start_zygote(self) -> None:
        forked = [job for job in self._waiting if job.route == "forked"]
        why = zygote.available()
        if why or len(forked) < _FEWEST_TO_FORK:
            for job in forked:
                job.route, job.said = "fresh", (fresh_because(why),) if why else ()
            return
        folder = self._path / "zygote"
        wanted = [job.step.kernel.header.imports for job in forked]
        try:
            folder.mkdir()
            self._zygote = zygote.Zygote(self._patient, wanted, folder)
        except OSError as error:
            for job in forked:
                why = f"it could not be started: {error.strerror or error}"
                job.route, job.said = "fresh", (fresh_because(why),)

    def _start_what_fits(self) -> None:
        for job in list(self._waiting):
            link = self._link(job)
            if link is not None and not link.ready:
                continue
            if job.alone and (self._running or any(not one.alone for one in self._waiting)):
                continue
            if any(running.job.alone for running in self._running) or not self._fits(job):
                return
            self._waiting.remove(job)
            self._start(job, link)

    def _link(self, job: Job) -> Link | None:
        """The link to fork from; None for a job that gets an interpreter of its own."""
        if job.route != "forked" or self._zygote is None:
            return None
        link = link_for(self._zygote.links, job.step.kernel.header.imports)
        if not link.why:
            return link
        job.route, job.said = "fresh", (*job.said, fresh_because(link.why))
        return None

    def _fits(self, job: Job) -> bool:
        taken = [(one.job.step.kernel.header, one.child.peak_mib or 0.0) for one in self._running]
        busy = self._zygote.importing() if self._zygote is not None else 0
        return self._gpu_fits(job.step) and self._room.fits(job.step.kernel.header, taken, busy)

    def _gpu_fits(self, step: Step) -> bool:
        """Whether the GPU may take one more context: others may be using it too."""
        if step.device is None:
            return True
        known = dict(enumerate(self._patient.gpu_mib))
        alone = dict(enumerate(self._patient.exclusive)).get(step.device, False)
        beside = [one for one in self._running if one.job.step.device == step.device]
        return len(beside) < (1 if alone else room.contexts(known.get(step.device)))

    def _start(self, job: Job, link: Link | None) -> None:
        self._progress(f"{job.step.kernel.header.title}: {_doing(job.step)}")
        control = None
        try:
            control = tempfile.TemporaryDirectory(
                prefix="probe-", dir=self._path, ignore_cleanup_errors=True
            )
            started = self._child(job, link, Path(control.name))
        except OSError as error:
            if control is not None:
                control.cleanup()
            job.seen = [observing.of_fate(job.step, refused(error))]
            return
        if started is None:  # the link was lost over it: the next round finds another way
            control.cleanup()
            self._waiting.insert(0, job)
        elif isinstance(started, process.Ended):
            job.seen = observing.of_child(job.step, started, Path(control.name), job.said)
            control.cleanup()
        else:
            for other in self._running:
                other.beside = True
            self._running.append(_Running(job, started, control, beside=bool(self._running)))

    def _child(
        self, job: Job, link: Link | None, control: Path
    ) -> process.Child | process.Ended | None:
        header = job.step.kernel.header
        gate = None if self._quiet is None else self._path / "gate"
        prepare(control, job.step, self._patient, gate)
        bounds = process.Bounds(header.seconds, header.memory_mib, control, FOLDER_MIB)
        if link is not None and self._zygote is not None:
            return self._zygote.fork(link, control, job.step, bounds)
        harness = str(self._patient.harness_path)
        return process.start(
            [self._patient.python, "-B", harness, str(job.step.kernel.path), str(control)],
            bounds,
            env=child_environ(self._patient.environ, control),
        )

    # Ending

    def _conclude(self, running: _Running, ended: process.Ended) -> None:
        """Keep what was seen, or ask again where that would prove nothing."""
        job = running.job
        seen = observing.of_child(job.step, ended, Path(running.control.name), job.said)
        running.control.cleanup()
        instead = again(job, seen, ended, beside=running.beside)
        if not instead:
            job.seen = seen
            for other in found_no_room(job, self._waiting):
                self._waiting.remove(other)
                other.seen = other.first
            return
        job.parts = instead
        self._waiting[:0] = instead

    def _stop(self) -> None:
        """Stop whatever still runs; may be called again."""
        process.kill([running.child for running in self._running])
        for running in self._running:
            running.control.cleanup()
        if self._zygote is not None:
            self._zygote.close()
        if self._quiet is not None:
            self._quiet.close()
            self._quiet = None

    def _leave_out(self, said: Callable[[Step], Observation]) -> None:
        """Say of what was not done that it was not."""
        for job in unseen(self._jobs):
            job.seen = [said(job.step)]
        self._running, self._waiting = [], []


def _doing(step: Step) -> str:
    return (
        f"running on {observing.place(step)}"
        if step.mode == "run"
        else f"compiling for SM {', '.join(step.sms)}"
    )
