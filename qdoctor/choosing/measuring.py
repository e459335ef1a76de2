"""Measures the candidates in child processes of the examined interpreter, which alone load torch.

One child measures all of them, in turn. What crashes, hangs or takes the device with it costs only
itself: the file ``now`` names who was at work, and another child goes on without it where the last
one had got to.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from qdoctor import process
from qdoctor.choosing.measured import HALF, Measured, figures
from qdoctor.choosing.reasons import shape as named_shape
from qdoctor.model import SelectedFor, Shape, Timed
from qdoctor.probes.answer import printable, read_bytes
from qdoctor.probes.ending import fate, refused
from qdoctor.probes.patient import FOLDER_MIB, child_environ
from qdoctor.shipped import kernels_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_CHILD = Path(__file__).with_name("measured_child.py")
_PACKAGE = Path(__file__).resolve().parent.parent / "__init__.py"
_LARGEST = 4 << 20  # bytes of an answer
_MEMORY_MIB = 16384
_IMPORT_SECONDS = 120.0
_STALL_SECONDS = 40.0
"""No step of a candidate takes as long: quantizing one layer, compiling its kernels, one call."""
_CRAMPED = "the device had little memory free: operands may have come from its cache, too fast"
_DISTURBED = (
    "other programs had the cores while it was measured, so times are uncertain: measure again "
    "when they are done (--refresh)"
)
_UNSTEADY = (
    "the times of {names} spread by up to {most:.0f} %, so they are uncertain: something else may "
    "have run meanwhile (then measure again, --refresh), or calls this short vary by themselves"
)
_MOST_LOST = 6
"""So many candidates may take their process with them; then what is left is not measured."""


class Wish(msgspec.Struct, frozen=True):
    """What to measure: ``seconds`` of work after everything is imported; ``half`` among them."""

    backends: tuple[str, ...]
    shapes: list[Shape]
    device: str
    training: bool = False
    seconds: float = 10.0
    counts: list[int] | None = None


class _Cell(msgspec.Struct, frozen=True):
    at: int
    backend: str
    timed: Timed


class _Answer(msgspec.Struct, frozen=True):
    cells: list[_Cell] = []
    failed: dict[str, str] = {}
    broken: str | None = None
    culprit: str | None = None
    device: SelectedFor | None = None
    shapes_done: int = 0
    elapsed: float = 0.0
    starting: float | None = None
    done: bool = False
    cramped: bool = False


class _Work:
    """What is known so far, and what is left to do."""

    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        others = [name for name in wish.backends if name != HALF]
        self.left = [HALF, *others]
        self.cells: dict[tuple[str, int], Timed] = {}
        self.failed: dict[str, str] = {}
        self.device = SelectedFor()
        self.first = 0
        self.seconds = wish.seconds
        self.starting = 0.0
        self.cramped = False

    def take(self, answer: _Answer, lasted: float) -> None:
        """Take over what a child found that lasted so many seconds."""
        for cell in answer.cells:
            self.cells[cell.backend, cell.at] = _tidy(cell.timed)
        for name, why in answer.failed.items():
            self.lose(name, printable(why))
        self.device = answer.device or self.device
        self.first = max(self.first, answer.shapes_done)
        self.seconds -= answer.elapsed
        self.starting += lasted if answer.starting is None else min(answer.starting, lasted)
        self.cramped |= answer.cramped

    def lose(self, name: str, why: str) -> None:
        self.failed.setdefault(name, why)
        if name in self.left:
            self.left.remove(name)


def measure(
    wish: Wish,
    python: str,
    environ: Mapping[str, str],
    progress: Callable[[str], None] = lambda _: None,
) -> Measured:
    """Time the wished backends at the wished shapes; never raises for what a candidate does.

    Where half itself cannot be measured, ``failed`` says of it why, and nothing else was measured.
    """
    began = time.monotonic()
    work = _Work(wish)
    names = ", ".join(work.left)
    shapes = f"{len(wish.shapes)} shape{'s' * (len(wish.shapes) > 1)}"
    progress(f"measuring {names} at {shapes} on {wish.device}")
    for _ in range(_MOST_LOST + 1):
        again = _tried(work, python, environ)
        if not again or HALF in work.failed or work.seconds <= 0:
            break
        progress(f"measuring on without {', '.join(work.failed)}")
    return _measured(work, time.monotonic() - began)


def _tried(work: _Work, python: str, environ: Mapping[str, str]) -> bool:
    """Do as ``_one_child`` does; what the system refuses is why half cannot be measured."""
    try:
        return _one_child(work, python, environ)
    except OSError as error:
        work.lose(HALF, printable(refused(error).detail))
        return False


def _one_child(work: _Work, python: str, environ: Mapping[str, str]) -> bool:
    """Let one child measure what is left; True where another should go on after it."""
    with tempfile.TemporaryDirectory(prefix="qdoctor-", ignore_cleanup_errors=True) as folder:
        control = Path(folder)
        _prepare(control, work)
        began = time.monotonic()
        started = process.start(
            [python, "-B", str(_CHILD), folder],
            process.Bounds(float("inf"), _MEMORY_MIB, control, FOLDER_MIB),
            env=child_environ(environ, control),
        )
        if isinstance(started, process.Ended):
            work.lose(HALF, f"{python} could not be started: {started.start_error}")
            return False
        ended, stalled = _watched(started, control)
        answer = _read(control / "measured.json")
        backend, doing = _now(control)
    work.take(answer, time.monotonic() - began)
    if answer.done and answer.broken is None:
        return False
    why = answer.broken or stalled or _how(ended, backend, doing)
    at_work = "" if answer.done else backend  # it ended by itself, whoever was at work last
    work.lose(answer.culprit or at_work or HALF, printable(why))
    return answer.culprit is not None or not answer.done


def _prepare(control: Path, work: _Work) -> None:
    (control / "tmp").mkdir()
    wish = work.wish
    request = {
        "package": str(_PACKAGE),
        "outcomes": str(kernels_folder() / "_outcomes.py"),
        "orphan": str(kernels_folder() / "_orphan.py"),
        "backends": work.left,
        "shapes": wish.shapes,
        "device": wish.device,
        "training": wish.training,
        "seconds": work.seconds,
        "first": work.first,
    }
    (control / "request.json").write_text(json.dumps(request), encoding="utf-8")


def _watched(child: process.Child, control: Path) -> tuple[process.Ended, str]:
    """See a child to its end; one that says nothing new for too long is stopped, and why is said.

    What it says is a few bytes that are read once in a while: watching costs it nothing.
    """
    said, since = b"", time.monotonic()
    try:
        while (ended := child.poll()) is None:
            now = _now_bytes(control)
            if now != said:
                said, since = now, time.monotonic()
            backend, doing = _now(control)
            limit = _STALL_SECONDS if backend else _IMPORT_SECONDS
            if time.monotonic() - since > limit:
                child.kill()
                return (
                    process.Ended(),
                    f"it hung while {doing or 'starting'}: stopped after {limit:.0f} s",
                )
            child.wait()
    except BaseException:
        child.kill()
        raise
    return ended, ""


def _now_bytes(control: Path) -> bytes:
    try:
        return read_bytes(control / "now", 4096)
    except (OSError, ValueError):
        return b""


def _now(control: Path) -> tuple[str, str]:
    """Who is at work, ``""`` for none of the candidates, and at what."""
    line = _now_bytes(control).partition(b"\n")[0]
    try:
        _, backend, doing = msgspec.json.decode(line, type=tuple[int, str, str])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "", ""
    return printable(backend), printable(doing)


def _how(ended: process.Ended, backend: str, doing: str) -> str:
    found = fate(ended, doing, answered=False)
    text = found.detail if found else "ended without an answer"
    return f"{backend}: {text}" if backend else text


def _read(path: Path) -> _Answer:
    try:
        return msgspec.json.decode(read_bytes(path, _LARGEST), type=_Answer)
    except (OSError, ValueError, msgspec.DecodeError, RecursionError):
        return _Answer()


def _tidy(timed: Timed) -> Timed:
    def text(words: str | None) -> str | None:
        return None if words is None else printable(words)[:400]

    return msgspec.structs.replace(timed, unknown=text(timed.unknown), left=text(timed.left))


def _measured(work: _Work, seconds: float) -> Measured:
    wish = work.wish
    timed = {
        name: [_cell(work, name, at) for at in range(len(wish.shapes))]
        for name in (HALF, *(name for name in wish.backends if name != HALF))
    }
    for name, cells in timed.items():
        if name != HALF:
            timed[name] = [
                _as_half(own, half) for own, half in zip(cells, timed[HALF], strict=True)
            ]
    made = Measured(
        shapes=wish.shapes,
        timed=timed,
        failed=work.failed,
        counts=wish.counts,
        device=work.device,
        seconds=round(seconds, 3),
        starting_seconds=round(work.starting, 3),
    )
    return msgspec.structs.replace(made, notes=_notes(work, made))


def _cell(work: _Work, name: str, at: int) -> Timed:
    rows, depth, columns = work.wish.shapes[at]
    over = f"the budget of {work.wish.seconds:g} s was over"
    unknown = work.failed.get(name, over)
    return work.cells.get((name, at), Timed(rows, depth, columns, unknown=unknown))


def _as_half(own: Timed, half: Timed) -> Timed:
    """Give a layer that the backend leaves alone the figures of half."""
    if own.left is None or half.milliseconds is None:
        return own
    return msgspec.structs.replace(half, left=own.left)


def _notes(work: _Work, made: Measured) -> list[str]:
    """Say which shapes half itself has no figures for, and why; and what flatters the figures."""
    if HALF in work.failed:
        return []
    return [
        *([_CRAMPED] if work.cramped else []),
        *_unsteady(made),
        *(
            f"not measured at {named_shape(one)}: {one.unknown}"
            for one in made.timed[HALF]
            if one.milliseconds is None
        ),
    ]


def _unsteady(made: Measured) -> list[str]:
    """Say that other programs had the cores, or whose times look as if something had run."""
    if any(one.disturbed for cells in made.timed.values() for one in cells):
        return [_DISTURBED]
    known = {name: figures(made, name) for name in made.timed}
    wide = {name: 100 * own.spread for name, own in known.items() if own and own.unsteady}
    told = _UNSTEADY.format(names=", ".join(wide), most=max(wide.values())) if wide else ""
    return [told] if told else []
