"""The engine with the real torch and triton of this environment, on the CPU: slow, so few."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

import pytest

from qdoctor.probes import catalog
from qdoctor.probes.engine import carry_out
from qdoctor.probes.plan import Step
from qdoctor.probes.room import Room
from qdoctor.probes.runner import Patient

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux"),
    pytest.mark.skipif(
        not (find_spec("torch") and find_spec("triton")), reason="torch and triton are not here"
    ),
]


def test_real_kernels_are_forked_and_leave_nothing_in_the_home(
    tmp_path_factory: pytest.TempPathFactory, clean_world: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qdoctor.probes.room.here", lambda: Room(2, side_by_side=True))
    home = tmp_path_factory.mktemp("home")
    kernels = {kernel.name: kernel for kernel in catalog.read()}
    steps = [
        Step(kernels["half_gemm"], "run"),
        Step(kernels["triton_libdevice"], "compile", sms=("8.0", "9.0")),
    ]
    environ = {
        **os.environ,
        "QDOCTOR_TEST_MARK": clean_world,
        "HOME": str(home),
        "CUDA_VISIBLE_DEVICES": "",
    }
    seen = carry_out(steps, Patient(sys.executable, environ), lambda _: None)
    assert [(one.probe, one.outcome) for one in seen] == [
        ("half_gemm", "passed"),
        ("triton_libdevice", "passed"),
        ("triton_libdevice", "passed"),
    ]
    assert not any("fresh interpreter" in text for one in seen for text in one.evidence)
    assert [path for path in home.rglob("*") if path.is_file()] == []
    assert all(one.numbers["milliseconds"] > 0 for one in seen if one.probe == "half_gemm")


LISTS = """
import importlib.util, os
PROBE = {{"name": {name!r}, "title": "Lists its cache", "needs": [], "modes": ["compile"],
         "seconds": 100, "memory_mib": 8192, "quick": True, "variants": ["llrint"],
         "imports": ["torch", "triton"], "sms": ["8.0"]}}

def run(request):
    spec = importlib.util.spec_from_file_location("real", {path!r})
    real = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(real)
    for one in real.run(request):
        yield dict(one, path_taken=" ".join(os.listdir(os.environ["TRITON_CACHE_DIR"])))
"""


def test_triton_compiles_anew_though_it_was_imported_before_the_fork(
    clean_world: str, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Its cache is the child's own folder, which the environment names after the import."""
    assert clean_world
    monkeypatch.setattr("qdoctor.probes.room.here", lambda: Room(2, side_by_side=True))
    real = next(kernel for kernel in catalog.read() if kernel.name == "triton_libdevice")
    folder = tmp_path_factory.mktemp("kernels")
    for name in ("first", "second"):
        (folder / f"{name}.py").write_text(LISTS.format(name=name, path=str(real.path)))
    steps = [Step(kernel, "compile", sms=("8.0",)) for kernel in catalog.read(folder)]
    for seen in carry_out(steps, Patient(sys.executable, os.environ), lambda _: None):
        assert seen.outcome == "passed", seen
        assert seen.path_taken
