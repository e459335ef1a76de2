"""Turns a child forked from the zygote into what a fresh interpreter running the harness would be.

Part of ``_zygote.py``: Python 3.8 syntax, standard library only.
"""

# ruff: noqa: ANN401 - modules of the examined interpreter have no types

from __future__ import annotations

import atexit
import contextlib
import ctypes
import faulthandler
import fcntl
import importlib.util
import json
import os
import resource
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, Callable, Dict, List

UNFIT = 97
"""Exit status of a child that found itself unlike a fresh interpreter before it had begun."""


def become_probe(control: Path, descriptors: List[int], foretold: Any) -> None:
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
