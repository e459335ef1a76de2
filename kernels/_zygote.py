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
output: that belongs to whatever is imported. While packages are imported, questions that would
start CUDA are answered from what the driver told the engine; every child holds those answers
against its own GPU before it goes on, and gives up (status UNFIT) where they differ.

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
import atexit  # noqa: E402
import contextlib  # noqa: E402
import ctypes  # noqa: E402
import faulthandler  # noqa: E402
import fcntl  # noqa: E402
import gc  # noqa: E402
import importlib  # noqa: E402
import importlib.util  # noqa: E402
import json  # noqa: E402
import resource  # noqa: E402
import select  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
import traceback  # noqa: E402
import warnings  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any, Callable, Dict, List, Optional, Tuple  # noqa: E402

UNFIT = 97
"""Exit status of a child that found itself unlike a fresh interpreter before it had begun."""
_NOT_INITIALIZED = 3
"""CUDA_ERROR_NOT_INITIALIZED (CUDA driver API): what every call but cuInit answers before it."""
_POLL_SECONDS = 0.01
_IDLE_SECONDS = 0.05
_PACKET = 1 << 16


class Foretold:
    """What imports asked of the GPU, and what they were told without CUDA being started."""

    def __init__(self, capabilities: List[List[int]]) -> None:
        self.capabilities = capabilities
        self.told = {}  # type: Dict[int, Tuple[int, int]]
        self.available = None  # type: Optional[bool]
        self.speaking = False
        self._properties = None  # type: Any
        self._is_available = None  # type: Any

    def begin(self, torch: Any) -> None:
        """Answer for ``torch.cuda`` from here on. Needs what every torch with CUDA has."""
        cuda = getattr(torch, "cuda", None)
        if cuda is None or not hasattr(cuda, "get_device_properties"):
            return
        self._properties, self._is_available = cuda.get_device_properties, cuda.is_available
        self.speaking = True
        cuda.get_device_properties, cuda.is_available = self.properties, self.is_available

    def properties(self, device: Any = None) -> Any:
        """Stand in for torch.cuda.get_device_properties."""
        if not self.speaking:
            return self._properties() if device is None else self._properties(device)
        number = 0 if device is None else getattr(device, "idx", getattr(device, "index", device))
        if not isinstance(number, int) or not 0 <= number < len(self.capabilities):
            return self._properties(device)
        major, minor = self.capabilities[number]
        self.told[number] = (major, minor)
        return _Properties(self._properties, number, major, minor)

    def is_available(self) -> bool:
        """Stand in for torch.cuda.is_available; before CUDA starts torch asks NVML."""
        answer = bool(self._is_available())
        if self.speaking:
            self.available = answer
        return answer

    def end(self) -> None:
        """Let torch answer for itself again."""
        if self._properties is None:
            return
        self.speaking = False
        cuda = sys.modules["torch"].cuda
        if cuda.get_device_properties == self.properties:
            cuda.get_device_properties = self._properties
        if cuda.is_available == self.is_available:
            cuda.is_available = self._is_available

    def held_true(self) -> bool:
        """Whether the GPU says what was foretold; starts CUDA where anything was."""
        if self.available is not None and bool(self._is_available()) != self.available:
            return False
        for number, told in self.told.items():
            found = self._properties(number)
            if (found.major, found.minor) != told:
                return False
        return True


class _Properties:
    """A device's properties: two are known; whoever asks for another starts CUDA after all."""

    def __init__(self, ask: Any, number: int, major: int, minor: int) -> None:
        self._ask, self._number, self.major, self.minor = ask, number, major, minor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ask(self._number), name)


class Link:
    """One process of the chain: what it has imported, whom it has forked."""

    def __init__(self, plan: Dict[str, Any], number: int, foretold: Foretold) -> None:
        self.plan, self.number, self.foretold = plan, number, foretold
        self.spec = plan["links"][number]
        self.socket = socket.socket(fileno=self.spec["fd"])
        self.children = {}  # type: Dict[int, bool]  # True: its end was told
        self.links = []  # type: List[int]

    def live(self) -> None:
        """Import, fork the links after this one, say how it went, then serve."""
        self.say(pid=os.getpid())
        began = time.perf_counter()
        why = self._import()
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
            if at not in kept:
                with contextlib.suppress(OSError):  # long closed
                    os.close(spec["fd"])

    def say(self, **message: Any) -> None:
        """Send one packet; without an engine there is nothing left to do."""
        try:
            self.socket.sendall(json.dumps(message).encode())
        except OSError:
            self._die()

    def serve(self) -> None:
        """Fork what is asked for until the engine goes away."""
        while True:
            readable, _, _ = select.select([self.socket], [], [], self._patience())
            if readable:
                data, descriptors = self._receive()
                if not data:
                    self._die()
                self._obey(json.loads(data.decode()), descriptors)
            self._tell_ends()

    def _patience(self) -> Optional[float]:
        if not all(self.children.values()):
            return _POLL_SECONDS
        return _IDLE_SECONDS if self.links else None

    def _receive(self) -> Tuple[bytes, List[int]]:
        found = array.array("i")
        room = socket.CMSG_LEN(2 * found.itemsize)
        data, ancillary, _, _ = self.socket.recvmsg(_PACKET, room)
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                found.frombytes(payload[: len(payload) - len(payload) % found.itemsize])
        return data, list(found)

    def _obey(self, message: Dict[str, Any], descriptors: List[int]) -> None:
        if "collect" in message:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(message["collect"], 0 if self.children.get(message["collect"]) else 1)
            self.children.pop(message["collect"], None)
            return
        pid = fork()
        if not pid:
            self.socket.close()
            become_probe(Path(message["fork"]), descriptors, self.foretold)
        for descriptor in descriptors:
            os.close(descriptor)
        self.children[pid] = False
        self.say(forked=pid, folder=message["fork"])

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
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                self.links.remove(pid)
                self.say(lost=pid, signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else None)

    def _die(self) -> None:
        """End what was forked, collect it, and go."""
        for pid in self.children:
            end(os.killpg, pid)
        for pid in [*self.links, *self.children]:
            if pid in self.links:
                end(os.kill, pid)
            with contextlib.suppress(OSError):
                os.waitpid(pid, 0)
        os._exit(0)


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
    if cuda_started():
        return "an import started CUDA, which does not survive a fork"
    return ""


def cuda_started() -> bool:
    """Whether this process has called cuInit; asks the driver, and only where it is loaded."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if getattr(cuda, "_initialized", False):
        return True
    try:
        maps = Path("/proc/self/maps").read_text(errors="replace")
    except OSError:
        return True  # it cannot be told, so it is not taken for granted
    places = {line.split(None, 5)[-1] for line in maps.splitlines() if "/libcuda.so" in line}
    for place in places:
        try:
            status = ctypes.CDLL(place).cuDeviceGetCount(ctypes.byref(ctypes.c_int()))
        except (OSError, AttributeError):
            return True
        if status != _NOT_INITIALIZED:
            return True
    return False


def become_probe(control: Path, descriptors: List[int], foretold: Foretold) -> None:
    """Turn the forked child into what a fresh interpreter running the harness would be."""
    os.setsid()
    start = json.loads((control / "start.json").read_text(encoding="utf-8"))
    remark(start["mark"])
    silence = os.open(os.devnull, os.O_RDONLY)
    given = [silence, *descriptors]
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 10) for descriptor in given]
    for descriptor in given:
        os.close(descriptor)
    for target, descriptor in enumerate(high):
        os.dup2(descriptor, target)
        os.close(descriptor)
    restrain(start["file_bytes"])
    put_environment(start["environ"])
    foretold.end()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    faulthandler.enable()
    if not foretold.held_true():
        os._exit(UNFIT)
    leave(lambda: _harness(start["harness"]).main([start["kernel"], str(control)]))


def leave(main: Callable[[], int]) -> None:
    """Run ``main`` to its end and exit as a program does, but without taking Python apart.

    Freeing every object that was imported would copy the memory that is shared with the zygote,
    for a second and more. What libraries registered to be done at exit is done.
    """
    status = 1
    try:
        status = main()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001 - what ends a program with a traceback
        traceback.print_exc()
    for last in (getattr(threading, "_shutdown", None), getattr(atexit, "_run_exitfuncs", None)):
        if last is not None:
            last()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    ctypes.PyDLL(None).exit(status)  # exit(3): destructors of libraries run, and may crash


def remark(mark: str) -> None:
    """Write the child's own mark where the kernel shows its environment (/proc/PID/environ).

    The engine's mark there says who belongs to whom; forked children would all show the zygote's.
    """
    prefix = b"QDOCTOR_CHILD_"
    with contextlib.suppress(
        OSError, ValueError, IndexError
    ):  # its group and session are known all the same
        fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        begin, end = int(fields[47]), int(fields[48])  # env_start, env_end: proc_pid_stat(5)
        at = ctypes.string_at(begin, end - begin).rfind(prefix) if begin else -1
        if at >= 0:
            ctypes.memmove(begin + at + len(prefix), mark.encode(), len(mark))


def restrain(file_bytes: int) -> None:
    """No core file, no file beyond the folder's bound, and the first to go when memory is out."""
    for what, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, file_bytes)):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(what, (most, most))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def put_environment(environ: Dict[str, str]) -> None:
    """Make the environment what it would be in a fresh child, and forget what was read from it."""
    for name in [name for name in os.environ if name not in environ]:
        del os.environ[name]
    os.environ.update(environ)
    tempfile = sys.modules.get("tempfile")
    if tempfile is not None:
        tempfile.tempdir = None  # type: ignore[attr-defined]


def _harness(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("qdoctor_kernel__harness", path)
    if spec is None or spec.loader is None:
        raise ImportError("not a Python source file: " + path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def main(arguments: List[str]) -> int:
    """``PLAN.json``: become its first link; 2 when the call itself is wrong."""
    if len(arguments) != 1:
        sys.stderr.write("usage: _zygote.py PLAN.json\n")
        return 2
    plan = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    Link(plan, 0, Foretold(plan["capabilities"])).live()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
