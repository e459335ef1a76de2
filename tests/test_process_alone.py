"""Processes of processes of their own: what a failing test must not do to the whole run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from tests.probes.conftest import carriers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
MARK = "QDOCTOR_TEST_MARK"


def test_what_a_thread_looks_after_ends_with_this_process(tmp_path: Path) -> None:
    mark, sign = uuid.uuid4().hex, tmp_path / "sign"
    code = f"""if True:
        import pathlib, sys, threading, time
        from qdoctor import process
        asleep = "open({str(sign)!r}, 'w').close(); import time; time.sleep(600)"
        def run():
            process.run([sys.executable, "-c", asleep], seconds=600)
        threading.Thread(target=run, daemon=True).start()
        while not pathlib.Path({str(sign)!r}).exists():
            time.sleep(0.01)
    """
    environ = {**os.environ, MARK: mark, "PYTHONPATH": str(Path(__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], env=environ, timeout=60, check=True)
    until = time.monotonic() + 20
    while carriers(mark) and time.monotonic() < until:
        time.sleep(0.02)
    assert carriers(mark) == []


def test_a_proc_of_another_namespace_is_not_gone_by() -> None:
    """There our numbers are somebody else's, and theirs would be sent our signals."""
    code = (
        "from qdoctor import process\nfrom qdoctor.choosing import lock\n"
        "print(process.HAS_PROC, lock.identity().split()[0])"
    )
    apart = ["unshare", "--pid", "--fork"]
    if shutil.which("unshare") is None or subprocess.run([*apart, "true"], check=False).returncode:
        pytest.skip("no namespaces of one's own here")
    found = subprocess.run(
        [*apart, sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == "False ?\n"


def test_a_child_that_nobody_has_named_yet_is_ended_and_nobody_else() -> None:
    # In a session of its own: a failing test should not end the whole run.
    code = """if True:
        import os, subprocess, sys
        from qdoctor import process
        made = process.before_fork()
        environ = {**os.environ, process.mark_name(made.mark): "1"}
        asleep = [sys.executable, "-c", "print(1, flush=True); import time; time.sleep(600)"]
        ours, other = (
            subprocess.Popen(asleep, env=env, stdout=subprocess.PIPE) for env in (environ, None)
        )
        for each in (ours, other):
            each.stdout.readline()
        made.family.end(force=True)
        print(ours.wait(), other.poll(), made.family.alive())
        other.kill()
        other.wait()
    """
    found = subprocess.run(
        [sys.executable, "-c", code],
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (found.returncode, found.stdout) == (0, "-9 None False\n"), found.stderr
