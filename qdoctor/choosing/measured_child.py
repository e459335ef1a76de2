"""Measures the candidates; runs in the examined interpreter, started by path with a folder.

``python -B measured_child.py CONTROL_DIR`` reads CONTROL_DIR/request.json, writes what it has after
each shape to CONTROL_DIR/measured.json, and says in CONTROL_DIR/now what is under way: a crash or a
hang is the fault of whoever is named there. Nothing is read from its output. Python 3.8 syntax.
"""

# ruff: noqa: ANN401 - modules and any JSON value

from __future__ import annotations

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - before any import
if sys.path and os.path.abspath(sys.path[0] or ".") == _HERE:  # noqa: PTH100
    del sys.path[0]  # a file of ours must never shadow a module of theirs

import faulthandler  # noqa: E402 - the path comes first
import importlib  # noqa: E402
import importlib.util  # noqa: E402
import json  # noqa: E402
import mmap  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any, Dict, List, Optional  # noqa: E402

NOW_BYTES = 512
STARTED = time.monotonic()


class Now:
    """What is under way, in a file that the parent reads after a crash; writing costs no call."""

    def __init__(self, control: Path) -> None:
        """Map ``control``/now."""
        path = control / "now"
        path.write_bytes(bytes(NOW_BYTES))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), NOW_BYTES)
        self._count = 0

    def say(self, backend: str, doing: str) -> None:
        """Name who is at work at what; a number beside it shows that it goes on."""
        self._count += 1
        text = json.dumps([self._count, backend, doing]).encode("ascii")[: NOW_BYTES - 1]
        self._map[: len(text) + 1] = text + b"\n"


class Answer:
    """What has been measured, kept in a file as it grows."""

    def __init__(self, control: Path, shapes: List[List[int]]) -> None:
        """Begin with nothing known of any shape."""
        self._path, self._shapes = control / "measured.json", shapes
        self.found: Dict[str, Any] = {
            "cells": [], "failed": {}, "broken": None, "culprit": None, "device": None,
            "shapes_done": 0, "elapsed": 0.0, "starting": None, "done": False, "preparing": {},
            "cramped": False,
        }  # fmt: skip
        self._begun: Optional[float] = None
        self._of_shape: List[Dict[str, Any]] = []

    def begin(self) -> None:
        """Let the time count from here."""
        self._begun = time.monotonic()
        self.found["starting"] = self._begun - STARTED
        self.keep()

    def cell(self, at: int, backend: str, **figures: Any) -> None:
        """Add the figures of a backend at the shape number ``at``; they count once it is done."""
        rows, depth, columns = self._shapes[at]
        size = {"rows": rows, "depth": depth, "columns": columns}
        self._of_shape.append({"at": at, "backend": backend, "timed": {**size, **figures}})

    def shape_done(self, at: int) -> None:
        """Make the figures of the shape number ``at`` count, and keep all."""
        self.found["cells"] += self._of_shape
        self.found["shapes_done"] = at + 1
        self._of_shape = []
        self.keep()

    def keep(self) -> None:
        """Write all of it under a temporary name, then rename."""
        if self._begun is not None:
            self.found["elapsed"] = time.monotonic() - self._begun
        part = self._path.with_name("measured.json.part")
        part.write_text(json.dumps(self.found, allow_nan=False), encoding="utf-8")
        part.replace(self._path)


class DeviceLost(Exception):  # noqa: N818 - it names what happened to the device
    """What a backend did to the device; nothing runs on it in this process any more."""

    def __init__(self, backend: str, why: str) -> None:
        """``backend`` was at work; ``why`` is what it raised."""
        super().__init__(why)
        self.backend, self.why = backend, why


class Session:
    """One run over the shapes that are left, with the backends that are left."""

    def __init__(self, request: Dict[str, Any], answer: Answer, now: Now) -> None:
        """Load our package from where it lies, without its folder coming onto the path."""
        self.request, self.answer, self.now = request, answer, now
        self.outcomes = _load("qdoctor_kernel__outcomes", request["outcomes"])
        _load("qdoctor", request["package"])

    def run(self) -> None:
        """Measure shape after shape until the time is over."""
        self.now.say("", "importing torch")
        torch = importlib.import_module("torch")
        from qdoctor.choosing import bench as benches
        from qdoctor.choosing import timing

        self.now.say("", "starting the device")
        bench = benches.Bench(torch, self.request["device"], self.request["training"])
        self.answer.found["device"] = _device(torch, bench)
        kinds = self._kinds()
        self.answer.begin()
        until = time.monotonic() + self.request["seconds"]
        shapes = self.request["shapes"]
        for at in range(self.request["first"], len(shapes)):
            if time.monotonic() > until or not self._shape(timing, bench, kinds, at, until):
                return
            self.answer.shape_done(at)

    def _kinds(self) -> Dict[str, Any]:
        from qdoctor import backends

        kinds = {}
        for name in self.request["backends"]:
            self.now.say(name, "being imported")
            try:
                kinds[name] = backends.named(name)
            except Exception as error:  # noqa: BLE001 - an import may fail in any way
                self.answer.found["failed"][name] = self._why(error)
        self.answer.keep()
        return kinds

    def _shape(self, timing: Any, bench: Any, kinds: Dict[str, Any], at: int, until: float) -> bool:
        """Measure all at the shape number ``at``; False where the time was over before.

        Half a shape is none: who comes last would lack it and not be compared at all. The first
        shape is seen to its end, whatever it takes.
        """
        shape = tuple(self.request["shapes"][at])
        now = time.monotonic()  # compiling counts: what it takes later on is not known yet
        share = now + max(0.0, until - now) / (len(self.request["shapes"]) - at)
        field: List[Any] = []
        try:
            linear = bench.linear(shape)
            for number, kind in enumerate(kinds.values()):
                if at > 0 and time.monotonic() > until:
                    return False
                one = self._prepared(timing, bench, kind, linear, at, len(kinds) - number - 1)
                if one is not None:
                    field.append(one)
            for name, error in timing.race(bench, field, share, self.now.say):
                self._unknown(bench, at, name, error)
        except DeviceLost:
            raise
        except Exception as error:  # the layer that all replace has no room
            if self._found(error)["code"] != "out-of-memory":
                raise
            for name in kinds:
                self.answer.cell(at, name, unknown=self._why(error))
            field = []
        for one in field:
            self.answer.cell(at, one.name, **one.cell())
        field.clear()
        bench.forget()
        self.answer.found["cramped"] |= bench.cramped
        return True

    def _prepared(  # noqa: PLR0913, PLR0917 - of one file
        self, timing: Any, bench: Any, kind: Any, linear: Any, at: int, others: int
    ) -> Optional[Any]:
        self.now.say(kind.name, "being prepared")
        begun = time.monotonic()
        try:
            left = kind.why_not(linear, training=self.request["training"])
            if left:
                self.answer.cell(at, kind.name, left=left)
                return None
            shape = tuple(self.request["shapes"][at])
            return timing.prepared(bench, kind, linear, shape, others)
        except Exception as error:  # noqa: BLE001 - whatever a backend raises is its result
            self._unknown(bench, at, kind.name, error)
            return None
        finally:
            took = round(time.monotonic() - begun, 3)
            self.answer.found["preparing"].setdefault(kind.name, []).append(took)

    def _unknown(self, bench: Any, at: int, name: str, error: BaseException) -> None:
        """Say why a backend has no figures here; stop where it took the device with it."""
        why = self._why(error)
        self.answer.cell(at, name, unknown=why)
        bench.forget()
        try:
            bench.wait()
        except Exception as lost:
            raise DeviceLost(name, why) from lost

    def _found(self, error: BaseException) -> Any:
        return self.outcomes.from_error(error, device=self.request["device"])

    def _why(self, error: BaseException) -> str:
        if type(error).__name__ == "BackendUnavailable":
            return str(error)[:400]
        found = self._found(error)
        code = "" if found["code"] == "failed" else found["code"] + ": "
        return str(code + found["detail"])[:400]


def _device(torch: Any, bench: Any) -> Dict[str, Any]:
    if not bench.on_gpu:
        return {"name": "the CPU", "sm": None}
    major, minor = torch.cuda.get_device_capability(bench.device)
    return {
        "name": torch.cuda.get_device_name(bench.device),
        "sm": "{}.{}".format(major, minor),
    }


def _load(name: str, path: str) -> Any:
    """Import one source file by its path; a package's parts are then found beside it."""
    folder = [os.path.dirname(path)] if name == "qdoctor" else None  # noqa: PTH120
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=folder)
    if spec is None or spec.loader is None:
        raise ImportError("not a Python source file: " + path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def main(arguments: List[str]) -> int:
    """``CONTROL_DIR`` -> exit status; 2 when the call itself is wrong."""
    if len(arguments) != 1:
        sys.stderr.write("usage: measured_child.py CONTROL_DIR\n")
        return 2
    control = Path(arguments[0])
    faulthandler.enable()  # the stack of a crash goes to stderr
    request = json.loads((control / "request.json").read_text(encoding="utf-8"))
    _load("qdoctor_kernel__orphan", request["orphan"]).end_with_parent()
    now, answer = Now(control), Answer(control, request["shapes"])
    session = Session(request, answer, now)
    try:
        session.run()
    except DeviceLost as lost:
        answer.found["culprit"], answer.found["broken"] = lost.backend, lost.why
    except Exception as error:  # noqa: BLE001 - the answer says so
        answer.found["broken"] = session._why(error)  # noqa: SLF001 - of this file
    answer.found["done"] = True
    answer.keep()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
