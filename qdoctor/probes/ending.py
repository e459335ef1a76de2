"""How a child ended, as an observation: the outcomes that only its parent can see."""

from __future__ import annotations

import errno
import re
import signal
from typing import TYPE_CHECKING

import msgspec

from qdoctor.probes.answer import printable

if TYPE_CHECKING:
    from typing import TypeAlias

    from qdoctor.model import OutcomeKind
    from qdoctor.process import Ended

    _Found: TypeAlias = tuple[OutcomeKind, str, str]  # outcome, code, text

_DUMP = re.compile(
    r"Fatal Python error: |(Current t|T)hread 0x|Extension modules: |<no Python frame>"
    r"|Current thread's C stack trace"
)
"""Lines of a faulthandler dump (CPython, Python/traceback.c) that do not say what went wrong."""

_FRAME = re.compile(r'\s+File "(?P<file>.*)", line (?P<line>\d+) in (?P<name>.*)')

_LINES = 8
_INJECTED = "injected: "
"""How a line of the failure injector begins (kernels/_inject.py): it is never left out."""

_NTSTATUS = {
    0xC0000005: "access violation",
    0xC000001D: "illegal instruction",
    0xC0000094: "integer division by zero",
    0xC00000FD: "stack overflow",
    0xC0000135: "a DLL was not found",
    0xC0000139: "an entry point was not found in a DLL",
    0xC0000142: "a DLL could not be initialized",
    0xC0000374: "heap corruption",
    0xC0000409: "stack buffer overrun, or abort",
}
"""Exit codes of crashed Windows processes (Microsoft, [MS-ERREF] 2.3.1, NTSTATUS values)."""
_NTSTATUS_ERRORS = 0xC0000000  # from here on the severity bits say error


class Fate(msgspec.Struct, frozen=True):
    """An outcome, its code and its text, without the probe it belongs to."""

    outcome: OutcomeKind
    code: str
    detail: str
    evidence: list[str]


def fate(ended: Ended, phase: str, *, answered: bool) -> Fate | None:
    """Say what the end of a child means; None where a child that answered just ended."""
    found = _bound_broken(ended) or _crash(ended) or _exit(ended, answered=answered)
    if found is None:
        return None
    outcome, code, text = found
    lines = _lines(ended.stderr)
    when = "after it had answered" if answered else f"while {phase}" if phase else ""
    said = decisive(lines)
    detail = f"{text} {when}".strip() + (f": {said}" if said and outcome != "timed-out" else "")
    return Fate(outcome, code, detail, _evidence(lines))


def refused(error: OSError) -> Fate:
    """Say what the system refused a probe before it could begin."""
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        text = f"could not be started: {error}; raise `ulimit -n`, or ask from another process"
        return Fate("failed", "not-started", text, [])
    full = error.errno in {errno.ENOSPC, getattr(errno, "EDQUOT", None)}
    advice = "a folder with room" if full else "a writable folder"
    text = f"no control folder: {error}; set TMPDIR to {advice}"
    return Fate("failed", "no-control-folder", text, [])


def decisive(lines: list[str]) -> str:
    """Return the line of stderr that says most: the last one that is not part of a stack dump."""
    telling = [line for line in lines if not _DUMP.match(line) and not line[:1].isspace()]
    fatal = [line for line in lines if line.startswith("Fatal Python error: ")]
    return printable((telling or fatal or [""])[-1])[:400]


def _bound_broken(ended: Ended) -> _Found | None:
    if ended.start_error is not None:
        return "failed", "not-started", f"could not be started: {ended.start_error}"
    if ended.timed_out:
        return "timed-out", "timed-out", f"stopped after {ended.seconds:.0f} s"
    if ended.over_memory:
        return "failed", "memory-limit", f"stopped at {ended.peak_mib or 0:.0f} MiB of memory"
    if ended.over_disk:
        return "failed", "disk-limit", "stopped for filling its control folder"
    return None


def _crash(ended: Ended) -> _Found | None:
    if ended.signal is not None:
        name, words = _signal_words(ended.signal)
        return "crashed", name.lower(), f"{name} ({words})"
    code = ended.returncode
    if code is not None and code & 0xFFFFFFFF >= _NTSTATUS_ERRORS and code not in range(256):
        words = _NTSTATUS.get(code & 0xFFFFFFFF, "a Windows exception")
        return "crashed", f"{code & 0xFFFFFFFF:#010x}", f"{words} ({code & 0xFFFFFFFF:#010x})"
    return None


def _signal_words(number: int) -> tuple[str, str]:
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal-{number}", "unknown signal"
    words = (signal.strsignal(number) or "signal").lower()
    if name == "SIGKILL":
        words += " from outside, as happens when the machine's or container's memory runs out"
    return name, words


def _exit(ended: Ended, *, answered: bool) -> _Found | None:
    if answered:
        if ended.returncode in {0, None}:
            return None
        return "failed", "bad-exit", f"exit status {ended.returncode}"
    if ended.returncode is None:
        return "failed", "no-answer", "ended without an answer"
    return "failed", "no-answer", f"ended with exit status {ended.returncode} and no answer"


def _lines(stderr: bytes) -> list[str]:
    return [line for line in stderr.decode(errors="replace").splitlines() if line.strip()]


def _evidence(lines: list[str]) -> list[str]:
    """The innermost Python frame of a crash, then the last lines of stderr beside the dump."""
    frame = next((found for line in lines if (found := _FRAME.match(line))), None)
    where = [f"{frame['file']}:{frame['line']} in {frame['name']}"] if frame else []
    said = [line for line in lines if not _DUMP.match(line) and not _FRAME.match(line)]
    made = [line for line in said[:-_LINES] if line.startswith(_INJECTED)]
    return [printable(text)[:400] for text in [*where, *made, *said[-_LINES:]]]
