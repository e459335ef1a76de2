"""Whoever asks for probes may be killed (by a job's limit, for want of memory): nothing runs on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.probes.conftest import carriers

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

ENGINE = """
import os, signal, sys
from pathlib import Path
from qdoctor.probes import catalog, engine
from qdoctor.probes.patient import Patient
from qdoctor.probes.plan import Step
from qdoctor.probes.room import Room
signal.signal(signal.SIGINT, signal.default_int_handler)
engine.room.here = lambda: Room(8, side_by_side=True)
steps = [Step(kernel, "run") for kernel in catalog.read(Path(sys.argv[1]))]
engine.carry_out(steps, Patient(sys.executable, dict(os.environ)), lambda _: None)
"""
KERNEL = """
PROBE = {{"name": {name!r}, "title": {name!r}, "needs": [], "modes": ["run"], "seconds": 300,
         "memory_mib": 512, "quick": True, "variants": ["only"], "imports": {imports!r}}}

def run(request):
    import time
    open({sign!r}, "w").close()
    time.sleep({seconds})
    yield {{"outcome": "passed"}}
"""
ROUTES = {
    "light": [],
    "torch": ["torch"],
    "another": ["torch"],
    "brief": ["torch"],
    "triton": ["torch", "triton"],
    "bitsandbytes": ["torch", "triton", "bitsandbytes"],
}


class Asker:
    """A process that runs probes which never end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.mark = uuid.uuid4().hex
        for name in ("kernels", "packages", "signs", "tmp"):
            (folder / name).mkdir()
        self.packages = folder / "packages"
        for name in ("torch", "triton", "bitsandbytes"):
            (self.packages / f"{name}.py").write_text("")

    def killed(self, awaited: list[str], *probes: str, by: int = signal.SIGKILL) -> None:
        """Kill it once all that is awaited has begun; stopped before, it does not hear the end of
        what is brief.
        """
        signs = self._folder / "signs"
        for name in probes:
            seconds = 0.5 if name == "brief" else 600
            text = KERNEL.format(
                name=name, imports=ROUTES[name], sign=str(signs / name), seconds=seconds
            )
            (self._folder / "kernels" / f"{name}.py").write_text(text)
        home = str(Path(__file__).parents[2])
        environ = {
            **os.environ,
            "QDOCTOR_TEST_MARK": self.mark,
            "PYTHONPATH": os.pathsep.join([str(self.packages), home]),
            "TMPDIR": str(self._folder / "tmp"),
        }
        argv = [sys.executable, "-c", ENGINE, str(self._folder / "kernels")]
        with subprocess.Popen(argv, env=environ) as asker:
            until = time.monotonic() + 60
            while not (begun := all((signs / name).exists() for name in awaited)):
                if time.monotonic() > until or asker.poll() is not None:
                    break
                time.sleep(0.02)
            if "brief" in awaited:
                asker.send_signal(signal.SIGSTOP)
                time.sleep(1.5)
            asker.send_signal(by if begun else signal.SIGKILL)
        assert begun

    def left(self) -> list[int]:
        """Whoever of its processes still runs after a while."""
        until = time.monotonic() + 20
        while (found := carriers(self.mark)) and time.monotonic() < until:
            time.sleep(0.05)
        return found


@pytest.fixture
def asker(tmp_path: Path) -> Iterator[Asker]:
    made = Asker(tmp_path)
    yield made
    for pid in carriers(made.mark):
        os.kill(pid, signal.SIGKILL)


def test_its_probes_end_too(asker: Asker) -> None:
    lasting = [name for name in ROUTES if name != "brief"]
    asker.killed(lasting, *lasting)
    assert asker.left() == []


def test_what_it_was_told_and_did_not_hear_changes_nothing(asker: Asker) -> None:
    asker.killed(["torch", "brief"], "torch", "brief")
    assert asker.left() == []


def test_a_process_that_forks_ends_its_probes_before_others_end_it(asker: Asker) -> None:
    (asker.packages / "triton.py").write_text(
        "import os, time\nreal = os.killpg\n"
        "def killpg(*words):\n    time.sleep(0.3)\n    real(*words)\nos.killpg = killpg\n"
    )
    asker.killed(["torch", "triton"], "torch", "triton")
    assert asker.left() == []


def test_an_import_that_hangs_ends_too(asker: Asker, tmp_path: Path) -> None:
    sign = tmp_path / "signs" / "importing"
    (asker.packages / "torch.py").write_text(
        f"import time\nopen({str(sign)!r}, 'w').close()\ntime.sleep(600)\n"
    )
    asker.killed(["importing"], "torch", "triton")
    assert asker.left() == []


def test_who_is_interrupted_before_it_hears_of_a_fork_ends_what_was_forked(asker: Asker) -> None:
    (asker.packages / "torch.py").write_text(
        "import os, time\nreal = os.fork\n"
        "def fork():\n    pid = real()\n    time.sleep(600 if pid else 0)\n    return pid\n"
        "os.fork = fork\n"
    )
    asker.killed(["another"], "another", "torch", by=signal.SIGINT)
    assert asker.left() == []
