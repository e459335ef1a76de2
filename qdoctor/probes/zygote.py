"""Talks to the zygote: the examined interpreter that imports once and forks a child per probe.

What it is told and answers stands in ``kernels/_zygote.py``. Each of its processes, a link, has
imported one package on top of the link before it. Whatever happens to a link (an exception, a
crash, a hang, CUDA started by an import) is why the probes that wanted it run elsewhere.
"""

from __future__ import annotations

import array
import contextlib
import io
import json
import os
import signal
import socket
import sys
import time
from typing import IO, TYPE_CHECKING, Any

from qdoctor import process
from qdoctor.probes.ending import decisive
from qdoctor.probes.links import Link, failing, tree
from qdoctor.probes.patient import FOLDER_MIB, Patient, child_environ
from qdoctor.shipped import kernels_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from qdoctor.probes.plan import Step

_IMPORT_SECONDS = 60.0
_FORK_SECONDS = 10.0
_MEMORY_MIB = 12288
_PACKET = 1 << 16
_PARTING_SECONDS = 0.3
_NEWS_SECONDS = 2.0  # within which the end of a link is told by the one before it


def available() -> str:
    """Why no zygote can be had on this platform; ``""``: it can."""
    if sys.platform != "linux" or not process.HAS_PROC:
        return "processes are not forked on this platform"
    return ""


class Zygote:
    """The running zygote. Nothing that happens to it raises; ``link.why`` tells."""

    def __init__(self, patient: Patient, wanted: Iterable[Sequence[str]], folder: Path) -> None:
        """Start it in the empty ``folder``; it imports what is ``wanted``. Raises ``OSError``."""
        self.links: list[Link] = []
        self._child: process.Child | None = None
        self._patient = patient
        try:
            for package, after in tree(wanted):
                self.links.append(Link(package, after))
            self._write_plan(folder)
            self._child = self._started(folder)
        except BaseException:
            self._lose_all("it could not be started")
            raise

    def _write_plan(self, folder: Path) -> None:
        plan = {
            "links": [
                {"import": link.package, "after": link.after, "fd": link.theirs.fileno()}
                for link in self.links
            ],
            "capabilities": self._patient.capabilities,
        }
        (folder / "tmp").mkdir()
        (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")

    def _started(self, folder: Path) -> process.Child | None:
        environ = child_environ(self._patient.environ, folder)
        environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # torch asks NVML, which starts no CUDA
        script = kernels_folder() / "_zygote.py"
        started = process.start(
            [self._patient.python, "-B", str(script), str(folder / "plan.json")],
            process.Bounds(float("inf"), _MEMORY_MIB, folder, FOLDER_MIB),
            env=environ,
            pass_fds=[link.theirs.fileno() for link in self.links],
        )
        for link in self.links:
            link.theirs.close()
            link.socket.setblocking(False)  # noqa: FBT003 - its only argument
        if isinstance(started, process.Child):
            for link in self.links:
                link.session = started.pid
            return started
        self._lose_all(f"it could not be started: {started.start_error}")
        return None

    @property
    def child(self) -> process.Child | None:
        """The process itself, while it lives."""
        return self._child

    def descriptors(self) -> list[int]:
        """What becomes readable when a link says something."""
        return [link.socket.fileno() for link in self.links if link.open]

    def importing(self) -> int:
        """How many links are busy importing."""
        begun = [link for link in self.links if link.pid is not None]
        return sum(not link.ready and not link.why for link in begun)

    def poll(self) -> None:
        """Hear what the links say, and give up those that died or take too long."""
        for link in self.links:
            self.listen(link)
        now = time.monotonic()
        for link in self.links:
            late = now - link.since > _IMPORT_SECONDS and not link.ready
            if late and not link.why and (link.pid is not None or link.after is None):
                link.lose(failing(link, f"took more than {_IMPORT_SECONDS:.0f} s"))
            if link.silent_since is not None and now - link.silent_since > _NEWS_SECONDS:
                link.lose(failing(link, "ended the process"))
        self._watch_process()
        for link in self.links:
            before = self.links[link.after] if link.after is not None else None
            if before is not None and before.why and link.pid is None:
                link.lose(before.why)

    def _watch_process(self) -> None:
        ended = self._child.poll() if self._child is not None else None
        if ended is None:
            return
        self._child = None
        how = f"ended in signal {ended.signal}" if ended.signal else "ended the process"
        if ended.signal is not None:
            with contextlib.suppress(ValueError):
                how = f"ended in {signal.Signals(ended.signal).name}"
        if ended.over_memory:
            how = "took too much memory"
        said = decisive(ended.stderr.decode(errors="replace").splitlines())
        for link in self.links:
            self.listen(link)
            link.pid = None  # all of it was collected: the number may be somebody else's by now
            link.lose(failing(link, how + (f": {said}" if said else "")))

    def listen(self, link: Link) -> None:
        """Take all that a link has said."""
        while link.open:
            try:
                data = link.socket.recv(_PACKET)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                link.fall_silent()
                return
            with contextlib.suppress(ValueError, TypeError, KeyError):
                self._hear(link, json.loads(data))

    def _hear(self, link: Link, said: dict[str, Any]) -> None:
        if "pid" in said:
            link.pid, link.since = int(said["pid"]), time.monotonic()
        elif "state" in said:
            link.seconds = float(said["seconds"])
            link.ready = said["state"] == "ready"
            if said["state"] == "failed":
                link.lose(failing(link, f"failed: {said['why']}"))
            elif said["state"] == "unfit":
                link.lose(str(said["why"]))
        elif "forked" in said:
            link.forked[str(said["folder"])] = int(said["forked"])
        elif "ended" in said:
            number = said["signal"]
            code = said["status"] if number is None else -int(number)
            link.ended[int(said["ended"])] = None if code is None else int(code)
        elif "lost" in said:
            self._lost(int(said["lost"]), said["signal"])

    def _lost(self, pid: int, number: int | None) -> None:
        how = "ended the process"
        if number is not None:
            with contextlib.suppress(ValueError):
                how = f"ended in {signal.Signals(number).name}"
        for link in self.links:
            if link.pid == pid:
                self.listen(link)  # its own last words say more
                link.pid = None  # collected, as above
                link.lose(failing(link, how))

    def fork(
        self, link: Link, control: Path, step: Step, bounds: process.Bounds
    ) -> process.Child | None:
        """Fork a child of a ready link for what lies in ``control``; None: the link is lost."""
        made = process.before_fork()
        start = {
            "kernel": str(step.kernel.path),
            "harness": str(self._patient.harness_path),
            "mark": made.mark,
            "file_bytes": bounds.file_bytes,
            "environ": {
                **child_environ(self._patient.environ, control),
                process.mark_name(made.mark): "1",
            },
        }
        pipes: list[IO[bytes]] = []
        pid = None
        try:
            (control / "start.json").write_text(json.dumps(start), encoding="utf-8")
            self._order(link, control, pipes)
            pid = self._awaited(link, control)
        finally:
            if pid is None:  # whatever the reason: it may have been forked all the same
                process.call_off(made)
                for pipe in pipes:
                    pipe.close()
        if pid is None:
            return None
        return process.adopt(_Forked(self, link, pid), made, bounds, (pipes[0], pipes[1]))

    @staticmethod
    def _order(link: Link, control: Path, ours: list[IO[bytes]]) -> None:
        """Ask for the fork; ``ours`` get our ends of the child's pipes. Raises ``OSError``."""
        theirs: list[int] = []
        try:
            for _ in ("stdout", "stderr"):
                reading, writing = os.pipe()
                ours.append(io.FileIO(reading, "r"))
                theirs.append(writing)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", theirs))]
            try:
                link.socket.sendmsg([json.dumps({"fork": str(control)}).encode()], rights)
            except OSError as error:
                link.lose(f"it does not listen any more: {error.strerror}")
        finally:
            for number in theirs:
                os.close(number)

    def _awaited(self, link: Link, control: Path) -> int | None:
        until = time.monotonic() + _FORK_SECONDS
        while str(control) not in link.forked:
            if time.monotonic() > until:
                link.lose(f"it did not fork within {_FORK_SECONDS:.0f} s")
            if not link.open:
                return None
            process.wait([], [link.socket.fileno()], 0.05)
            self.listen(link)
        return link.forked.pop(str(control))

    def close(self) -> None:
        """End it: the links go when their sockets do, what stays is killed."""
        self._lose_all("it is not needed any more")
        if self._child is None:
            return
        until = time.monotonic() + _PARTING_SECONDS
        while time.monotonic() < until:
            if self._child.poll() is not None:
                return
            self._child.wait()
        self._child.kill()
        self._child = None

    def _lose_all(self, why: str) -> None:
        for link in self.links:
            link.why, link.ready = link.why or why, False
            link.socket.close()
            link.theirs.close()


class _Forked:
    """A child that a link forked: the link tells its end, and collects it."""

    def __init__(self, zygote: Zygote, link: Link, pid: int) -> None:
        self._zygote, self._link, self.pid = zygote, link, pid

    def has_ended(self) -> bool:
        self._zygote.listen(self._link)
        if self.pid in self._link.ended:
            return True
        return not self._link.open and not process.is_running(self.pid)

    def collect(self) -> int | None:
        code = self._link.ended.pop(self.pid, None)
        if self._link.open:
            with contextlib.suppress(OSError):
                self._link.socket.send(json.dumps({"collect": self.pid}).encode())
        return code
