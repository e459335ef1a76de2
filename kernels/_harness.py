"""Run one kernel in the examined interpreter and leave its answer in a file.

``python -B _harness.py KERNEL.py CONTROL_DIR`` reads CONTROL_DIR/request.json and writes
CONTROL_DIR/result.json by a temporary name, so that a result that exists is complete. Standard
output belongs to whatever the kernel imports: nothing is read from it. ``phase`` says what was
under way and ``partial.json`` holds the outcomes reached so far, for the reader of a crash.
"""

# ruff: noqa: ANN401 - modules and any JSON value

from __future__ import annotations

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - before any import
if sys.path and os.path.abspath(sys.path[0] or ".") == _HERE:  # noqa: PTH100
    del sys.path[0]  # a file of ours must never shadow a module of theirs

import faulthandler  # noqa: E402 - the path comes first
import importlib.util  # noqa: E402
import json  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any, Callable, Dict, List, Optional  # noqa: E402


def load(path: str) -> Any:
    """Import one source file by its path, without its folder being on ``sys.path``."""
    name = "qdoctor_kernel_" + Path(path).stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("not a Python source file: " + path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


outcomes = load(str(Path(_HERE, "_outcomes.py")))
_alone = load(str(Path(_HERE, "_alone.py")))


def run_kernel(
    path: str,
    request: Dict[str, Any],
    phase: Callable[[str], None],
    keep: Callable[[List[Dict[str, Any]]], None],
    inject: Callable[[str, List[Dict[str, Any]]], List[Dict[str, Any]]] = lambda _, reached: (
        reached
    ),
) -> List[Dict[str, Any]]:
    """Every outcome of the kernel at ``path``; what it raises becomes its last one."""
    reached: List[Dict[str, Any]] = []
    kernel: Any = None
    try:
        phase("loading " + Path(path).name)
        inject("load", reached)
        kernel = load(path)
        kernel.phase = phase
        inject("run", reached)
        for one in kernel.run(request):
            reached.append(_with_doubts(one))
            keep(reached)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, it is the answer
        ran = request.get("mode") != "compile"
        variant = _only_one_left(getattr(kernel, "PROBE", {}), reached)
        reached.append(outcomes.from_error(error, ran=ran, variant=variant))
    return reached


def _with_doubts(one: Dict[str, Any]) -> Dict[str, Any]:
    """Add to an outcome what makes its times doubtful."""
    if isinstance(one, dict) and _alone.disturbed and "milliseconds" in one.get("numbers", {}):
        one["evidence"] = [*one.get("evidence", []), *_alone.disturbed]
        _alone.disturbed.clear()
    return one


def _only_one_left(header: Dict[str, Any], reached: List[Dict[str, Any]]) -> Optional[str]:
    """Name the variant that an error belongs to, where only one has not answered yet."""
    answered = [one.get("variant") for one in reached]
    left = [name for name in header.get("variants", ()) if name not in answered]
    return left[0] if len(left) == 1 else None


def write(path: Path, value: Any) -> None:
    """Write JSON under a temporary name, then rename: a reader sees all of it or none."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(value, allow_nan=False), encoding="utf-8")
    part.replace(path)


def main(arguments: List[str]) -> int:
    """``KERNEL.py CONTROL_DIR`` -> exit status; 2 when the call itself is wrong."""
    if len(arguments) != len(("KERNEL.py", "CONTROL_DIR")):
        sys.stderr.write("usage: _harness.py KERNEL.py CONTROL_DIR\n")
        return 2
    path, control = arguments[0], Path(arguments[1])
    faulthandler.enable()  # the stack of a crash goes to stderr
    try:
        request = json.loads((control / "request.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.stderr.write("cannot read the request: {}\n".format(error))
        return 2

    def phase(text: str) -> None:
        (control / "phase").write_text(text, encoding="utf-8")

    def keep(reached: List[Dict[str, Any]]) -> None:
        write(control / "partial.json", {"outcomes": reached})

    def inject(stage: str, reached: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
        if "QDOCTOR_INJECT" not in os.environ:
            return reached
        harm = sys.modules.get("qdoctor_kernel__inject") or load(str(Path(_HERE, "_inject.py")))
        changed = harm.at(stage, Path(path).stem, control, reached)
        return list(changed)

    _alone.join(request.get("gate"), control)
    reached = inject("answer", run_kernel(path, request, phase, keep, inject))
    write(control / "result.json", {"outcomes": reached})
    inject("end", reached)
    return 0


def by_hand(path: str) -> int:
    """``python kernels/KERNEL.py [--compile SM ...]``: print the outcomes; 1 unless all is well."""
    words = sys.argv[1:]
    compiling = words[:1] == ["--compile"]
    request = {"mode": "compile", "sms": words[1:]} if compiling else {"mode": "run", "device": 0}
    started = time.perf_counter()
    found = run_kernel(path, request, lambda _text: None, lambda _reached: None)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    sys.stdout.write("{:.2f} s\n".format(time.perf_counter() - started))
    return int(any(one["outcome"] not in ("passed", "skipped") for one in found))


if __name__ == "__main__":
    load(str(Path(_HERE, "_orphan.py"))).end_with_parent()
    raise SystemExit(main(sys.argv[1:]))
