"""The zygote with real processes and small packages that stand in for the heavy ones."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qdoctor.model import Observation
from qdoctor.probes import catalog
from qdoctor.probes.engine import carry_out
from qdoctor.probes.plan import Step
from qdoctor.probes.room import Room
from qdoctor.probes.runner import Patient

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux")

KERNEL = """
PROBE = {{"name": {name!r}, "title": "Looks around", "needs": [], "modes": ["run"], "seconds": 20,
         "memory_mib": 512, "quick": True, "variants": ["only"], "imports": {imports!r}}}

def run(request):
    import json, os, sys
    {body}
    control = os.path.dirname(os.environ["TMPDIR"])
    caches = [os.environ[name] for name in ("TRITON_CACHE_DIR", "CUDA_CACHE_PATH")]
    heavy = ("torch", "triton", "bitsandbytes")
    seen = {{
        "modules": sorted(name for name in sys.modules if name in heavy),
        "session": os.getsid(0) == os.getpid(), "parent": os.getppid(), "pid": os.getpid(),
        "environ": dict(os.environ), "cwd": os.getcwd(), "stdin": sys.stdin.read(),
        "inside": [os.path.dirname(folder) == control for folder in caches],
        "shown": open("/proc/self/environ", "rb").read().decode(errors="replace"),
        "descriptors": sorted(map(int, os.listdir("/proc/self/fd"))),
    }}
    yield {{"outcome": "passed", "variant": "only", "path_taken": json.dumps(seen)}}
"""

Probed = Callable[..., list[Observation]]


@pytest.fixture
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH with an empty torch, triton and bitsandbytes."""
    folder = tmp_path_factory.mktemp("packages")
    for name in ("torch", "triton", "bitsandbytes"):
        (folder / f"{name}.py").write_text("")
    return folder


@pytest.fixture
def probed(
    packages: Path,
    tmp_path_factory: pytest.TempPathFactory,
    clean_world: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Probed:
    """Run kernels of these names and imports for real, side by side."""
    monkeypatch.setattr("qdoctor.probes.room.here", lambda: Room(4, side_by_side=True))
    kernels = tmp_path_factory.mktemp("kernels")

    def run(
        wanted: dict[str, list[str]],
        body: str = "",
        capabilities: tuple[tuple[int, int], ...] = (),
        **environ: str,
    ) -> list[Observation]:
        for name, imports in wanted.items():
            text = KERNEL.format(name=name, imports=imports, body=body)
            (kernels / f"{name}.py").write_text(text)
        steps = [Step(kernel, "run", device=0) for kernel in catalog.read(kernels)]
        mine = {"QDOCTOR_TEST_MARK": clean_world, "PYTHONPATH": str(packages)}
        whole = {**os.environ, **mine, **environ}
        patient = Patient(sys.executable, whole, capabilities=capabilities)
        return carry_out(steps, patient, lambda _: None)

    return run


def told(seen: Observation) -> dict[str, Any]:
    assert seen.outcome == "passed", seen
    value: dict[str, Any] = json.loads(seen.path_taken or "")
    return value


BOTH = {"first": ["torch"], "second": ["torch"]}
ALL = {"first": ["torch"], "second": ["torch", "triton"], "third": ["torch", "bitsandbytes"]}


def test_probes_are_forked_from_a_process_that_has_imported_what_they_want(probed: Probed) -> None:
    first, second, third = map(told, probed(ALL))
    assert first["modules"] == ["torch"]
    assert second["modules"] == ["torch", "triton"]
    assert third["modules"] == ["bitsandbytes", "torch", "triton"]
    assert len({one["parent"] for one in (first, second, third)}) == 3


def test_a_forked_probe_finds_what_a_fresh_one_would(probed: Probed) -> None:
    first, second = map(told, probed(BOTH, OWN="as it was"))
    assert (first["session"], first["cwd"], first["stdin"]) == (True, str(Path.cwd()), "")
    assert first["inside"] == [True, True]
    assert first["environ"]["OWN"] == "as it was"
    assert "PYTORCH_NVML_BASED_CUDA_CHECK" not in first["environ"]
    assert first["environ"]["TMPDIR"] != second["environ"]["TMPDIR"]
    assert len(first["descriptors"]) <= 5  # 0, 1, 2, the folder just listed


def test_files_that_an_import_opens_stay_open(probed: Probed, packages: Path) -> None:
    """Sockets that a process lets go of must not be closed twice: their numbers come again."""
    opens = "import os\nkept = [os.open(os.devnull, os.O_RDONLY) for _ in range(16)]\n"
    for name in ("torch", "triton", "bitsandbytes"):
        (packages / f"{name}.py").write_text(opens)
    body = "[os.fstat(n) for m in list(sys.modules.values()) for n in getattr(m, 'kept', [])]"
    for one in probed(ALL, body):
        assert told(one)["modules"]
        assert one.evidence == []


def test_every_child_carries_a_mark_of_its_own(probed: Probed) -> None:
    marks = []
    for one in map(told, probed(BOTH)):
        (own,) = [name for name in one["environ"] if name.startswith("QDOCTOR_CHILD_")]
        assert f"{own}=1" in one["shown"].split("\0")
        marks.append(own)
    assert len(set(marks)) == 2


def test_nothing_of_a_forked_probe_is_said_to_have_run_elsewhere(probed: Probed) -> None:
    assert [one.evidence for one in probed(BOTH)] == [[], []]
    for one in probed(BOTH):
        assert one.numbers["seconds"] > 0
        assert one.numbers["peak_mib"] >= 0


IMPORTS = {
    "raises": ("raise ImportError('libcudart.so.12: cannot open')", "failed: ImportError: libcud"),
    "exits": ("raise SystemExit(3)", "failed: SystemExit: 3"),
    "leaves": ("import os; os._exit(0)", "ended the process"),
    "crashes": ("import ctypes; ctypes.string_at(0)", "ended in SIGSEGV"),
    "closes everything": ("import os; os.closerange(0, 256)", "ended the process"),
    "starts a thread": (
        "import threading as t, time; t.Thread(target=time.sleep, args=(9,), name='pool').start()",
        "an import started threads (pool)",
    ),
    "hangs": ("import time; time.sleep(600)", "took more than 1 s"),
    "hangs deaf": (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)",
        "took more than 1 s",
    ),
}

# Of a link that ends, its silence may be heard before its status on a busy machine.
HEARD_ELSE = {
    "crashes": ("ended the process",),
    "hangs": ("ended in SIGKILL", "ended the process"),
    "hangs deaf": ("ended in SIGKILL", "ended the process"),
}


@pytest.mark.parametrize("where", ["torch", "bitsandbytes"])
@pytest.mark.parametrize("what", IMPORTS)
def test_a_bad_import_sends_its_probes_to_fresh_interpreters_that_say_why(
    probed: Probed, packages: Path, monkeypatch: pytest.MonkeyPatch, what: str, where: str
) -> None:
    code, why = IMPORTS[what]
    if "time.sleep(600)" in code:  # the others end by themselves, later on a busy machine
        monkeypatch.setattr("qdoctor.probes.zygote._IMPORT_SECONDS", 1.0)
    (packages / f"{where}.py").write_text(code)
    first, second, third = probed(ALL)
    for one in (first, second, third):
        assert one.outcome == "passed", one  # they import nothing themselves
    for one in (first, second, third) if where == "torch" else (third,):
        assert len(one.evidence) == 1
        assert one.evidence[0].startswith("ran in a fresh interpreter: ")
        assert any(text in one.evidence[0] for text in (why, *HEARD_ELSE.get(what, ())))
    if where == "bitsandbytes":
        assert (first.evidence, second.evidence) == ([], [])
        assert told(third)["modules"] == []


def test_whoever_asks_may_have_a_thousand_files_open(probed: Probed) -> None:
    """As a server has: select(2) takes no number from 1024 on."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 2048
    if hard != resource.RLIM_INFINITY and hard < most:
        pytest.skip("as many files may not be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    kept = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        assert [one.evidence for one in probed(BOTH)] == [[], []]
    finally:
        for each in kept:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_an_import_that_prints_megabytes_disturbs_nothing(probed: Probed, packages: Path) -> None:
    code = "import sys\nfor s in (sys.stdout, sys.stderr): s.write('{}' * 1500000); s.flush()\n"
    (packages / "torch.py").write_text(code)
    assert [one.evidence for one in probed(BOTH)] == [[], []]


def test_a_process_that_an_import_leaves_behind_is_stopped(probed: Probed, packages: Path) -> None:
    code = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(600)\n"
    (packages / "torch.py").write_text(code)
    assert [one.outcome for one in probed(BOTH)] == ["passed", "passed"]  # clean_world looks


def test_a_stray_of_a_forked_probe_is_stopped(probed: Probed) -> None:
    body = "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True)"
    assert [one.outcome for one in probed(BOTH, body)] == ["passed", "passed"]


ENDS = {
    "crashes": ("import ctypes; ctypes.string_at(0)", ("crashed", "sigsegv")),
    "says nothing": ("os._exit(0)", ("failed", "no-answer")),
}


@pytest.mark.parametrize("what", ENDS)
def test_a_forked_probe_that_ends_badly_is_asked_again_in_a_fresh_interpreter(
    probed: Probed, what: str
) -> None:
    body, end = ENDS[what]
    for one in probed(BOTH, body):
        assert (one.outcome, one.code) == end
        assert "forked from a process that had imported for all, it " in one.evidence[-1]


def test_what_only_a_fork_breaks_is_not_blamed_on_the_kernel(probed: Probed) -> None:
    body = "'torch' in sys.modules and os.kill(os.getpid(), 11)"
    for one in probed(BOTH, body):
        assert one.outcome == "passed"
        assert "it SIGSEGV (segmentation fault)" in one.evidence[-1]


TORCH = """
import types
def properties(device):
    cuda._initialized = True
    return types.SimpleNamespace(major=9, minor=0, name="a GPU")
cuda = types.SimpleNamespace(
    get_device_properties=properties, is_available=lambda: True, _initialized=False
)
"""
ASKS = (
    "import torch\nassert torch.cuda.is_available()\ncard = torch.cuda.get_device_properties(0)\n"
)


def test_imports_may_ask_what_the_driver_told_and_it_is_held_true(
    probed: Probed, packages: Path
) -> None:
    (packages / "torch.py").write_text(TORCH)
    (packages / "bitsandbytes.py").write_text(ASKS + "assert (card.major, card.minor) == (9, 0)\n")
    third = probed(ALL, capabilities=((9, 0),))[2]
    assert told(third)["modules"] == ["bitsandbytes", "torch", "triton"]
    assert third.evidence == []


def test_a_child_whose_gpu_is_another_than_foretold_gives_up_for_a_fresh_one(
    probed: Probed, packages: Path
) -> None:
    (packages / "torch.py").write_text(TORCH)
    (packages / "bitsandbytes.py").write_text(ASKS + "assert card.major\n")
    third = probed(ALL, capabilities=((8, 0),))[2]
    assert told(third)["modules"] == []
    assert "the driver answered otherwise than it had before CUDA was started" in third.evidence[0]


@pytest.mark.parametrize("more", ["card.name", "torch.cuda.get_device_properties(1)"])
def test_an_import_that_asks_more_starts_cuda_and_cannot_be_shared(
    probed: Probed, packages: Path, more: str
) -> None:
    (packages / "torch.py").write_text(TORCH)
    (packages / "bitsandbytes.py").write_text(ASKS + more)
    first, second, third = probed(ALL, capabilities=((9, 0),))
    assert (first.evidence, second.evidence) == ([], [])
    assert told(third)["modules"] == []
    assert "an import started CUDA, which does not survive a fork" in third.evidence[0]


@pytest.mark.parametrize(("status", "started"), [(0, True), (100, True), (3, False)])
def test_the_driver_itself_is_asked_whether_cuda_was_started(
    probed: Probed, packages: Path, status: int, *, started: bool
) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler here")
    source, library = packages / "fake.c", packages / "libcuda.so.1"
    source.write_text(f"int cuDeviceGetCount(int *count) {{ *count = 1; return {status}; }}\n")
    subprocess.run([compiler, "-shared", "-o", str(library), str(source)], check=True)
    (packages / "torch.py").write_text(f"import ctypes\nctypes.CDLL({str(library)!r})\n")
    for one in probed(BOTH):
        assert (told(one)["modules"] == []) is started
        assert any("an import started CUDA" in text for text in one.evidence) is started


def test_one_probe_alone_is_not_worth_a_zygote(probed: Probed) -> None:
    (seen,) = probed({"first": ["torch"]})
    assert told(seen)["modules"] == []
    assert seen.evidence == []


def test_where_nothing_can_be_forked_every_observation_says_so(
    probed: Probed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr("qdoctor.process.HAS_PROC", False)
    monkeypatch.setattr("qdoctor._family.HAS_PROC", False)
    monkeypatch.setattr("qdoctor._pipes.sys.platform", "darwin")
    for one in probed(BOTH):
        assert one.evidence == [
            "ran in a fresh interpreter: processes are not forked on this platform"
        ]


def test_a_link_is_killed_while_its_probes_run(probed: Probed) -> None:
    # Only a link is killed. Its number is read once: a link that the other probe has killed
    # meanwhile leaves this one to somebody who is to be spared.
    killed = (
        r"""exec("parent = os.getppid()\ntry:\n with open('/proc/%d/cmdline' % parent, 'rb') as"""
        r""" line:\n  b'_zygote.py' in line.read() and os.kill(parent, 9)"""
        r"""\nexcept OSError: pass")"""
    )
    for one in probed(BOTH, f"if 'torch' in sys.modules: {killed}; import time; time.sleep(0.3)"):
        assert one.outcome == "passed"


def test_a_link_that_dies_in_place_of_forking_costs_nobody_else_his_life(
    probed: Probed, packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, groups = os.killpg, []

    def killpg(group: int, number: int) -> None:
        groups.append(group)
        if group not in (0, os.getpgrp()):  # a failing test should not end the whole run
            real(group, number)

    monkeypatch.setattr(os, "killpg", killpg)
    (packages / "torch.py").write_text(
        "import os\n"
        "if b'_zygote.py' in open('/proc/self/cmdline', 'rb').read():\n"
        "    os.fork = lambda: os.kill(os.getpid(), 9)\n"
    )
    for one in probed(BOTH):
        assert one.outcome == "passed"
        assert "importing torch once for all probes ended" in one.evidence[-1]
    assert not {0, os.getpgrp()} & set(groups)


@pytest.mark.parametrize("where", ["socket.socketpair", "pathlib.Path.write_text"])
def test_a_process_to_fork_from_that_cannot_be_had_is_a_reason(
    probed: Probed, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """For want of descriptors, of room in the folder."""
    real = Path.write_text

    def write_text(path: Path, *words: Any, **more: Any) -> int:  # noqa: ANN401
        if path.name == "plan.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, *words, **more)

    def socketpair(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(where, socketpair if where.startswith("socket") else write_text)
    why = "Too many open files" if where.startswith("socket") else "No space left on device"
    for one in probed(BOTH):
        assert told(one)["modules"] == []
        assert one.evidence == [f"ran in a fresh interpreter: it could not be started: {why}"]
