"""Import the heavy packages once, then fork a child per probe before CUDA starts.

``python -B _zygote.py PLAN.json`` is started in the examined interpreter by the engine. The plan
names *links*: each is a process that imports one package on top of what its parent link has
imported, and has a socket (SEQPACKET, one JSON object a packet) to the engine:

- it says ``{"state": "ready" | "unfit" | "failed", "why": ..., "seconds": ...}`` once;
- it takes ``{"fork": CONTROL_DIR}`` with two descriptors (the child's stdout and stderr), and
  answers ``{"forked": PID, "folder": CONTROL_DIR}``, then ``{"ended": PID, "status", "signal"}``;
- it keeps an ended child uncollected, so that its number names its group, until
  ``{"collect": PID}``.

A link that crashes or hangs takes only itself and those after it away. Nothing is said on standard
output: that belongs to whatever is imported. What an import asks of the GPU is answered by
``_foretold``; what a forked child becomes stands in ``_forked``.

Python 3.8 syntax, standard library only.
"""

# ruff: noqa: ANN401 - modules and any JSON value

from __future__ import annotations

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - before any import
if sys.path and os.path.abspath(sys.path[0] or ".") == _HERE:  # noqa: PTH100
    del sys.path[0]  # a file of ours must never shadow a module of theirs

import array  # noqa: E402 - the path comes first
import contextlib  # noqa: E402
import gc  # noqa: E402
import importlib  # noqa: E402
import importlib.util  # noqa: E402
import json  # noqa: E402
import select  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
import warnings  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any, Dict, List, Optional, Tuple  # noqa: E402

_POLL_SECONDS = 0.01
_IDLE_SECONDS = 0.05
_PARTING_SECONDS = 1.0
_PACKET = 1 << 16


class Link:
    """One process of the chain: what it has imported, whom it has forked."""

    def __init__(self, plan: Dict[str, Any], number: int, foretold: Any) -> None:
        self.plan, self.number, self.foretold = plan, number, foretold
        self.spec = plan["links"][number]
        self.socket = socket.socket(fileno=self.spec["fd"])
        self.children = {}  # type: Dict[int, bool]  # True: its end was told
        self.links = []  # type: List[int]

    def live(self) -> None:
        """Import, fork the links after this one, say how it went, then serve."""
        self.say(pid=os.getpid())
        began = time.perf_counter()
        if self.spec["after"] is None:  # while it imports, it does not hear of the engine's end
            _beside("_orphan").end_with_parent()
        why = self._import()
        _beside("_orphan").outlive_parent()  # what it forked is ended first
        state = "failed" if why else "ready"
        if not why:
            why = unfit_to_fork()
            state = "unfit" if why else state
        if not why:
            gc.freeze()  # a collection in a child would copy the memory it shares
            self._fork_links()
        self.say(state=state, why=why, seconds=round(time.perf_counter() - began, 3))
        if not why:
            self.serve()

    def _import(self) -> str:
        try:
            importlib.import_module(self.spec["import"])
        except BaseException as error:  # noqa: BLE001 - SystemExit too: an import may do anything
            return "{}: {}".format(type(error).__name__, " ".join(str(error).split())[:300])
        if self.spec["import"] == "torch":
            self.foretold.begin(sys.modules["torch"])
        return ""

    def _fork_links(self) -> None:
        for number, spec in enumerate(self.plan["links"]):
            if spec["after"] != self.number:
                continue
            pid = fork()
            if not pid:
                self.socket.detach()  # closed with the others, not a second time by its object
                self._close_all_but(number)
                Link(self.plan, number, self.foretold).live()
                os._exit(0)
            self.links.append(pid)
        self._close_all_but(self.number)  # the end of a link must be seen as soon as it ends

    def _close_all_but(self, number: int) -> None:
        """Let go of the other links' sockets, except those of links that come after ``number``."""
        kept = {number}
        for at, spec in enumerate(self.plan["links"]):  # a link stands after the one it follows
            if spec["after"] in kept and number != self.number:
                kept.add(at)
            if at not in kept and spec["fd"] in self.plan["open"]:
                # Once only: afterwards the number may mean a file that an import has opened.
                self.plan["open"].remove(spec["fd"])
                os.close(spec["fd"])

    def say(self, **message: Any) -> None:
        """Send one packet; without an engine there is nothing left to do."""
        try:
            self.socket.sendall(json.dumps(message).encode())
        except OSError:
            self._die()

    def serve(self) -> None:
        """Fork what is asked for until the engine goes away."""
        asked = select.poll()  # select(2) refuses numbers from 1024 on, as a large server has
        asked.register(self.socket, select.POLLIN)
        while True:
            if asked.poll(self._patience()):
                data, descriptors = self._receive()
                if not data:
                    self._die()
                self._obey(json.loads(data.decode()), descriptors)
            self._tell_ends()

    def _patience(self) -> Optional[float]:
        """Milliseconds until somebody's end may have to be told."""
        if not all(self.children.values()):
            return 1000 * _POLL_SECONDS
        return 1000 * _IDLE_SECONDS if self.links else None

    def _receive(self) -> Tuple[bytes, List[int]]:
        found = array.array("i")
        room = socket.CMSG_LEN(2 * found.itemsize)
        try:
            data, ancillary, _, _ = self.socket.recvmsg(_PACKET, room)
        except OSError:  # the engine ended before it had heard all: that resets the connection
            return b"", []
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                found.frombytes(payload[: len(payload) - len(payload) % found.itemsize])
        return data, list(found)

    def _obey(self, message: Dict[str, Any], descriptors: List[int]) -> None:
        if "collect" in message:
            self._collect(message["collect"])
            return
        pid = fork()
        if not pid:
            self.socket.close()
            _beside("_forked").become_probe(Path(message["fork"]), descriptors, self.foretold)
        for descriptor in descriptors:
            os.close(descriptor)
        self.children[pid] = False
        self.say(forked=pid, folder=message["fork"])

    def _collect(self, pid: int) -> None:
        self.children.pop(pid, None)
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG) == (0, 0):
                self.links.append(pid)  # it has not quite ended: later, like a link

    def _tell_ends(self) -> None:
        for pid in [pid for pid, told in self.children.items() if not told]:
            try:
                how = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:  # SIGCHLD is ignored: the kernel collected it
                del self.children[pid]
                self.say(ended=pid, status=None, signal=None)
                continue
            if how is not None:
                self.children[pid] = True
                exited = how.si_code == os.CLD_EXITED
                self.say(
                    ended=pid,
                    status=how.si_status if exited else None,
                    signal=None if exited else how.si_status,
                )
        for pid in list(self.links):
            try:
                found, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                found, status = pid, 0
            if found:
                self.links.remove(pid)
                self.say(lost=pid, signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else None)

    def _die(self) -> None:
        """End what was forked, collect it, and go."""
        for pid in self.children:
            end(os.killpg, pid)
            end(os.kill, pid)  # it may lead no group yet
        self._await_links()
        for pid in [*self.links, *self.children]:
            if pid in self.links:
                end(os.kill, pid)
            with contextlib.suppress(OSError):
                os.waitpid(pid, 0)
        os._exit(0)

    def _await_links(self) -> None:
        """Let the links after this one do likewise: what they forked, nobody else would end."""
        until = time.monotonic() + _PARTING_SECONDS
        while self.links and time.monotonic() < until:
            for pid in list(self.links):
                with contextlib.suppress(ChildProcessError):
                    if os.waitpid(pid, os.WNOHANG) == (0, 0):
                        continue
                self.links.remove(pid)
            time.sleep(_POLL_SECONDS)


def fork() -> int:
    """Fork without a warning about threads: those of native libraries are no Python's business."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return os.fork()


def end(kill: Any, pid: int) -> None:
    """Kill a process or a group that may be gone."""
    with contextlib.suppress(OSError):
        kill(pid, signal.SIGKILL)


def unfit_to_fork() -> str:
    """Why a child of this process would not be like a fresh interpreter; ``""``: it would be."""
    others = [
        thread.name for thread in threading.enumerate() if thread is not threading.main_thread()
    ]
    if others:
        return "an import started threads ({})".format(", ".join(sorted(others)[:4]))
    if _beside("_foretold").cuda_started():
        return "an import started CUDA, which does not survive a fork"
    return ""


def _beside(name: str) -> Any:
    module = sys.modules.get("qdoctor_kernel_" + name)
    if module is None:
        path = Path(_HERE, name + ".py")
        spec = importlib.util.spec_from_file_location("qdoctor_kernel_" + name, str(path))
        module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        sys.modules[spec.name] = module  # type: ignore[union-attr]
        spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def main(arguments: List[str]) -> int:
    """``PLAN.json``: become its first link; 2 when the call itself is wrong."""
    if len(arguments) != 1:
        sys.stderr.write("usage: _zygote.py PLAN.json\n")
        return 2
    for name in ("_forked", "_orphan"):
        _beside(name)  # while nothing that is imported can stand in its way
    plan = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    plan["open"] = [spec["fd"] for spec in plan["links"]]
    Link(plan, 0, _beside("_foretold").Foretold(plan["capabilities"])).live()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
