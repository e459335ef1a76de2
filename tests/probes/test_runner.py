from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from qdoctor.model import Facts, Gpu, Target
from qdoctor.probes import catalog, observe
from qdoctor.probes.engine import Interrupted
from qdoctor.probes.plan import Skip, Step
from qdoctor.probes.room import Room
from qdoctor.probes.runner import Patient, _patient, carry_out, child_environ
from qdoctor.shipped import kernels_folder

HERE = Target(kind="interpreter", chosen_by="test", python=sys.executable)


def step(patients: Path, name: str) -> Step:
    path = patients / f"{name}.py"
    return Step(catalog.Kernel(path, catalog.read_header(path)), "run", device=0)


def quiet(_: str) -> None:
    return


def me() -> Patient:
    return Patient(sys.executable, os.environ)


def test_the_environment_is_the_patients_but_offline_and_out_of_the_home(tmp_path: Path) -> None:
    theirs = {
        "PYTHONPATH": "lib",
        "TRITON_CACHE_DIR": "/home/me",
        "HF_HUB_OFFLINE": "0",
        "HOME": "/h",
    }
    made = child_environ(theirs, tmp_path)
    assert (made["PYTHONPATH"], made["HOME"]) == ("lib", "/h")
    assert (made["HF_HUB_OFFLINE"], made["TRANSFORMERS_OFFLINE"]) == ("1", "1")
    for name in ("TRITON_CACHE_DIR", "CUDA_CACHE_PATH", "TORCHINDUCTOR_CACHE_DIR", "TMPDIR"):
        assert Path(made[name]).parent == tmp_path


def test_the_patients_own_cuda_loading_is_kept(tmp_path: Path) -> None:
    assert child_environ({}, tmp_path)["CUDA_MODULE_LOADING"] == "LAZY"
    made = child_environ({"CUDA_MODULE_LOADING": "EAGER"}, tmp_path)
    assert made["CUDA_MODULE_LOADING"] == "EAGER"


WITNESS = """
PROBE = {"name": "witness", "title": "Tells what it sees", "needs": [], "modes": ["run"],
         "seconds": 20, "memory_mib": 512, "quick": True, "variants": ["only"]}

def run(request):
    import json, os, stat, sys
    control = os.path.dirname(os.environ["TMPDIR"])
    seen = {"request": request, "path": sys.path, "bytecode": sys.dont_write_bytecode,
            "mode": stat.S_IMODE(os.stat(control).st_mode), "cwd": os.getcwd(),
            "stdin": sys.stdin.read(), "session": os.getsid(0) == os.getpid()}
    yield {"outcome": "passed", "variant": "only", "evidence": [json.dumps(seen)]}
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX sessions and modes")
def test_what_a_probe_finds_around_it(
    tmp_path_factory: pytest.TempPathFactory, clean_world: str
) -> None:
    assert clean_world
    path = tmp_path_factory.mktemp("kernels") / "witness.py"
    path.write_text(WITNESS)
    witness = Step(catalog.Kernel(path, catalog.read_header(path)), "compile", sms=("7.0",))
    environ = {**os.environ, "PYTHONPATH": "somewhere/relative"}
    (seen,) = carry_out([witness], Patient(sys.executable, environ, "12.4"), quiet)
    assert list(path.parent.iterdir()) == [path]  # no bytecode beside it
    told = json.loads(seen.evidence[0])
    assert Path(told["request"].pop("gate")).name == "gate"
    theirs = told["request"].pop("environ")  # where theirs differs from the child's
    assert {"TMPDIR", "TRITON_CACHE_DIR"} <= theirs.keys()
    assert theirs["TRITON_CACHE_DIR"] == environ.get("TRITON_CACHE_DIR")
    assert told["request"] == {
        "mode": "compile",
        "device": None,
        "sms": ["7.0"],
        "torch_cuda": "12.4",
    }
    assert str(kernels_folder()) not in told["path"]
    assert any(entry.endswith("somewhere/relative") for entry in told["path"])
    assert (told["bytecode"], told["mode"], told["stdin"]) == (True, 0o700, "")
    assert (told["cwd"], told["session"]) == (str(Path.cwd()), True)
    assert seen.device == "sm_70"


def test_a_compiler_that_crashes_for_one_sm_is_asked_for_each_alone(
    patients: Path, clean_world: str
) -> None:
    assert clean_world
    one = step(patients, "aborts_for_one_sm")
    sms = one.kernel.header.sms
    seen = carry_out([Step(one.kernel, "compile", sms=sms, note="not run: why")], me(), quiet)
    assert [(each.device, each.outcome, each.ran) for each in seen] == [
        ("sm_70", "passed", False),
        ("sm_80", "crashed", False),
        ("sm_90", "passed", False),
    ]
    assert "LLVM ERROR: Cannot select" in seen[1].detail
    assert all("not run: why" in each.evidence for each in seen)


def test_progress_is_told_before_each_child_and_not_for_what_is_skipped(patients: Path) -> None:
    told: list[str] = []
    passes = step(patients, "passes")
    carry_out([Skip(passes.kernel, "level", "why"), passes], me(), told.append)
    assert told == ["Answers as it should.: running on cuda:0"]


@pytest.mark.parametrize("python", ["/nowhere/python", "/", ""])
def test_an_interpreter_that_does_not_start_is_an_outcome(patients: Path, python: str) -> None:
    (seen,) = carry_out([step(patients, "passes")], Patient(python, os.environ), quiet)
    assert (seen.outcome, seen.code) == ("failed", "not-started")
    assert "could not be started" in seen.detail


def test_an_interpreter_that_is_to_be_looked_into_at_its_end_ends_all_the_same(
    patients: Path,
) -> None:
    """PYTHONINSPECT makes any exit a traceback and a failure."""
    patient = Patient(sys.executable, {**os.environ, "PYTHONINSPECT": "1"})
    seen = carry_out([step(patients, "passes")], patient, quiet)
    assert [(one.outcome, one.code) for one in seen] == [("passed", None)]


def test_a_warning_is_no_failure_though_the_variable_makes_it_an_error(patients: Path) -> None:
    patient = Patient(sys.executable, {**os.environ, "PYTHONWARNINGS": "error"})
    (seen,) = carry_out([step(patients, "warns")], patient, quiet)
    assert (seen.outcome, seen.code) == ("passed", None)


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_an_interpreter_that_is_none_is_an_outcome(patients: Path, tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho 'Python 3.11.7'\necho 'no such option' >&2\nexit 1\n")
    fake.chmod(0o755)
    (seen,) = carry_out([step(patients, "passes")], Patient(str(fake), os.environ), quiet)
    assert (seen.outcome, seen.code) == ("failed", "no-answer")
    assert "no such option" in seen.detail


def test_without_a_place_for_the_control_folder(
    patients: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    (seen,) = carry_out([step(patients, "passes")], me(), quiet)
    assert (seen.outcome, seen.code) == ("failed", "no-control-folder")
    assert "TMPDIR" in seen.detail


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_interrupt_keeps_what_is_known(
    patients: Path, clean_world: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qdoctor.probes.room.here", lambda: Room(1, side_by_side=False))
    steps = [step(patients, name) for name in ("passes", "starts_slowly", "raises")]
    patient = Patient(sys.executable, {**os.environ, "QDOCTOR_TEST_MARK": clean_world})

    def progress(text: str) -> None:
        if "while" in text:
            timer.start()

    timer = threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(Interrupted) as ended:
            carry_out(steps, patient, progress)
    finally:
        timer.cancel()
        if timer.ident is not None:
            timer.join()  # later on, its signal would end the whole run
        signal.signal(signal.SIGINT, before)
    assert [(one.probe, one.outcome, one.code) for one in ended.value.seen] == [
        ("passes", "passed", None),
        ("starts_slowly", "skipped", "interrupted"),
        ("raises", "skipped", "interrupted"),
    ]


def test_the_same_question_has_the_same_answer_in_the_same_order() -> None:
    facts = Facts(gpus=[], packages={"torch": "", "triton": ""})
    first = observe(HERE, facts, level="quick", environ=os.environ)
    assert first == observe(HERE, facts, level="quick", environ=os.environ)
    assert list(dict.fromkeys(one.probe for one in first)) == list(catalog.names())
    assert {one.outcome for one in first} == {"skipped"}


def test_nothing_runs_on_a_described_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qdoctor.process.run", None)
    seen = observe(Target(kind="described", chosen_by="test"), Facts(), level="full")
    assert {(one.outcome, one.code) for one in seen} == {("skipped", "described")}


def test_a_real_kernel_compiles_without_a_gpu() -> None:
    has = subprocess.run([sys.executable, "-c", "import triton"], capture_output=True, check=False)
    if has.returncode:
        pytest.skip("triton is not installed here")
    environ = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    seen = observe(
        HERE,
        Facts(gpus=[]),
        level="quick",
        compile_for=["sm_90"],
        environ=environ,
        asked=["triton_libdevice"],
    )
    (one,) = [each for each in seen if each.probe == "triton_libdevice"]
    assert (one.outcome, one.device, one.ran) == ("passed", "sm_90", False)
    assert "not run: no GPU is here" in one.evidence


GPUS = [Gpu(index=0, sm="9.0", memory_mib=81559), Gpu(index=1, sm="7.5", memory_mib=16384)]


@pytest.mark.parametrize(
    ("gpus", "capabilities", "memory"),
    [
        (None, (), ()),
        ([], (), ()),
        (GPUS, ((9, 0), (7, 5)), (81559, 16384)),
        ([GPUS[0], Gpu(index=1, name="unheard of")], (), (81559, 0)),
        (
            [Gpu(vendor="amd", arch="gfx1101"), Gpu(sm="8.6", visible=False), GPUS[1]],
            ((7, 5),),
            (16384,),
        ),
    ],
)
def test_what_the_engine_is_told_of_the_gpus(
    gpus: list[Gpu] | None, capabilities: tuple[object, ...], memory: tuple[int, ...]
) -> None:
    patient = _patient("python", {}, Facts(gpus=gpus))
    assert (patient.capabilities, patient.gpu_mib) == (capabilities, memory)


def test_the_engine_is_told_which_gpus_take_one_process_only() -> None:
    modes = (None, "Default", "Exclusive_Process", "Exclusive_Thread", "Prohibited")
    gpus = [Gpu(index=at, compute_mode=mode) for at, mode in enumerate(modes)]
    patient = _patient("python", {}, Facts(gpus=gpus))
    assert patient.exclusive == (False, False, True, True, False)
