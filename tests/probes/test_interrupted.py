"""An interrupt while probes run: all of it ends, with what is known."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.probes.test_engine import KERNEL

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

INTERRUPTED = """
import json, os, signal, sys, time
from pathlib import Path
from qdoctor.probes import catalog, engine
from qdoctor.probes.plan import Step
from qdoctor.probes.patient import Patient
from qdoctor.probes.room import Room
signal.signal(signal.SIGINT, signal.default_int_handler)
engine.room.here = lambda: Room(4, side_by_side=True)
steps = [Step(kernel, "run", device=0) for kernel in catalog.read(Path(sys.argv[1]))]
patient = Patient(sys.executable, dict(os.environ))
try:
    engine.carry_out(steps, patient, lambda text: print(text, flush=True))
except engine.Interrupted as ended:
    told = [(one.probe, one.outcome, one.code) for one in ended.seen]
    print(json.dumps(told), flush=True)
"""
DEAF = """
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.fork()
    open({sign!r}, "w").close()
    time.sleep(600)
"""


@pytest.mark.parametrize("imports", [[], ["torch"]], ids=["while probes run", "while importing"])
def test_an_interrupt_ends_everything_with_what_is_known(
    tmp_path_factory: pytest.TempPathFactory, clean_world: str, tmp_path: Path, imports: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("kernels")
    sign = folder / "sign"
    deaf = DEAF.format(sign=str(sign))
    for name, body in {"a": "yield passed()", "b": deaf, "c": deaf}.items():
        text = KERNEL.format(name=name, body=body)
        wants = f'"imports": {imports if name != "a" else []}, "variants"'
        (folder / f"{name}.py").write_text(text.replace('"variants"', wants))
    packages = tmp_path_factory.mktemp("packages")
    (packages / "torch.py").write_text("import os, time" + deaf.replace("\n    ", "\n"))
    environ = {
        **os.environ,
        "QDOCTOR_TEST_MARK": clean_world,
        "PYTHONPATH": os.pathsep.join([str(packages), str(Path(__file__).parents[2])]),
        "TMPDIR": str(tmp_path),
    }
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(folder)],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    until = time.monotonic() + 20
    while not sign.exists() and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.5)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert err == b""
    assert json.loads(out.decode().splitlines()[-1]) == [
        ["a", "passed", None],
        ["b", "skipped", "interrupted"],
        ["c", "skipped", "interrupted"],
    ]
